"""``overparam run``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from overparam.cli.asked import complain, print_table, run_or_tell, study_for
from overparam.cli.options import (
    DataOption,
    DeviceOption,
    EngineOption,
    SetOption,
    StoreOption,
    StudyArgument,
    SweepOption,
)
from overparam.cli.root import app
from overparam.files import check_writable
from overparam.signals import Stopped
from overparam.terminal import clear_errors, say, tell


@app.command(short_help="Run a study; what is there already is not run again.")
def run(
    study: StudyArgument,
    set_: SetOption = None,
    sweep: SweepOption = None,
    store: StoreOption = Path("runs"),
    jobs: Annotated[int | None, typer.Option(min=1, help="Steps at a time; default: cores or chains.")] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Threads a job; default: cores / jobs.")] = None,
    engine: EngineOption = None,
    device: DeviceOption = None,
    data: DataOption = None,
    report: Annotated[Path | None, typer.Option(help="Write the report page here when done.")] = None,
    log: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KIND:TARGET",
            help="Tell each row as it comes in: csv:FILE, jsonl:FILE, tensorboard:FOLDER, wandb:PROJECT, mlflow:URI, "
            "or a logger with its fields as YAML. FILE alone: append every event to it, a JSON object a line.",
        ),
    ] = None,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Run failed steps again.")] = False,
) -> None:
    """Run a study. What the store has already is not run again: running again is resuming."""
    with clear_errors():
        from overparam.lab import parse_yaml, reporter_for
        from overparam.lab.logs import loggers_from

        chosen = study_for(study, set_, sweep, data)
        logs = [parse_yaml(text, "--log") if text.startswith("{") else text for text in log or ()]
        loggers_from(logs, "--log")
        if report is not None:
            check_writable(report, "--report")
        try:
            reporter = reporter_for(sys.stderr)
            results = run_or_tell(chosen, store, jobs, threads, engine, device, reporter, retry_failed, logs)
        except (KeyboardInterrupt, Stopped) as stop:
            tell(f"\nstopped; every finished step of {chosen.name} is in {store}. Run the same command again to go on.")
            raise typer.Exit(stop.code if isinstance(stop, Stopped) else 130) from None
        tell(f"results of {results.shown}")
        shown = sys.stdout is not None  # closed, it does not fail what has been computed
        if shown:
            print_table(results)
        line = f"next: overparam report {results.name} --store {store}"
        if len(results.frame) and report is not None:
            line = f"report: {results.report(report)}"
        if len(results.frame) and shown:
            say(line)
        complain(results, notes=False)  # the run has told them when they came up
