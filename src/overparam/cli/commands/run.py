"""``overparam run``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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

if TYPE_CHECKING:
    from overparam.lab import Results, Study


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
        if report is not None:
            check_writable(report, "--report")
        asked = None if log or engine or device or data else _question(study, set_, sweep, store)
        results = _answered(asked, store)
        if results is None:
            chosen = study_for(study, set_, sweep, data)
            results = _computed(chosen, store, jobs, threads, engine, device, log, retry_failed)
            _remember(asked, chosen, results)
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


def _question(study: str, set_: list[str] | None, sweep: list[str] | None, store: Path) -> str | None:
    """Return what is asked, if it can be that it was answered before; mistakes are told by who understands more."""
    from overparam.errors import OverparamError
    from overparam.lab.answered import question

    changes = [*(f"set {text}" for text in set_ or ()), *(f"sweep {text}" for text in sweep or ())]
    try:
        return question(study, changes, store)
    except OverparamError:
        return None


def _answered(asked: str | None, store: Path) -> Results | None:
    """Return the results of a run that has nothing to do, if that is known."""
    from overparam.lab.answered import answer
    from overparam.lab.store import is_store

    return answer(asked, store) if asked is not None and is_store(store) else None


def _remember(asked: str | None, study: Study, results: Results) -> None:
    from overparam.lab.answered import remember

    if asked is not None and not any(experiment.world.notes() for experiment in study.experiments):
        remember(asked, results)


def _computed(
    study: Study,
    store: Path,
    jobs: int | None,
    threads: int | None,
    engine: str | None,
    device: str | None,
    log: list[str] | None,
    retry_failed: bool,
) -> Results:
    """Run a study and say what happens."""
    from overparam.lab import parse_yaml, reporter_for
    from overparam.lab.logs import loggers_from

    logs = [parse_yaml(text, "--log") if text.startswith("{") else text for text in log or ()]
    loggers_from(logs, "--log")
    try:
        reporter = reporter_for(sys.stderr)
        return run_or_tell(study, store, jobs, threads, engine, device, reporter, retry_failed, logs)
    except (KeyboardInterrupt, Stopped) as stop:
        tell(f"\nstopped; every finished step of {study.name} is in {store}. Run the same command again to go on.")
        raise typer.Exit(stop.code if isinstance(stop, Stopped) else 130) from None
