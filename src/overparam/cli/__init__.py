"""The command line. Heavy imports stand inside the commands, so that help and completion answer at once."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import Annotated

import typer

from overparam.cli.asked import complain, print_table, results_for, run_or_tell, study_for
from overparam.cli.options import (
    DataOption,
    DeviceOption,
    EngineOption,
    ResultsArgument,
    SetOption,
    StoreOption,
    StudyArgument,
    SweepOption,
)
from overparam.files import check_writable
from overparam.signals import Stopped, obey
from overparam.terminal import clear_errors, open_standard_streams, say, say_exactly, show, tell

app = typer.Typer(
    name="overparam",
    help="Find how many parameters a network really needs, and how generalization changes on the way there.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,  # rich would take longer to import than all the rest of the help
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

KINDS = (
    *("datasets", "networks", "criteria", "scopes", "patterns", "steps", "probes"),
    *("losses", "optimisers", "schedules", "events", "constraints", "studies", "results"),
)


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        say(f"overparam {version('overparam')}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_version, help="Say which version this is, and exit.")
    ] = False,
) -> None:
    """What stands before a command."""


@app.command()
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
    log: Annotated[Path | None, typer.Option(help="Append every event to this file, a JSON object a line.")] = None,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Run failed steps again.")] = False,
) -> None:
    """Run a study. What the store has already is not run again: running again is resuming."""
    with clear_errors():
        from overparam.lab import LogReporter, reporter_for

        chosen = study_for(study, set_, sweep, data)
        for option, path in (("--log", log), ("--report", report)):
            if path is not None:
                check_writable(path, option)
        reporter = reporter_for(sys.stderr)
        if log is not None:
            reporter = LogReporter(reporter, log)
        try:
            results = run_or_tell(chosen, store, jobs, threads, engine, device, reporter, retry_failed)
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


@app.command()
def table(
    study: ResultsArgument,
    set_: SetOption = None,
    sweep: SweepOption = None,
    store: StoreOption = Path("runs"),
    data: DataOption = None,
    format: Annotated[str, typer.Option("--format", help="text, csv, json or parquet.")] = "text",
    out: Annotated[Path | None, typer.Option(help="Write to this file instead of the screen.")] = None,
    layers: Annotated[bool, typer.Option("--layers", help="One row per layer.")] = False,
    curves: Annotated[bool, typer.Option("--curves", help="One row per epoch or evaluated iteration.")] = False,
    save: Annotated[
        Path | None, typer.Option(help="Write the numbers of a finished study to this file, to be kept (JSON).")
    ] = None,
) -> None:
    """Print a study's results: means as text, or every checkpoint as csv, json or parquet."""
    with clear_errors():
        from overparam.errors import SpecError
        from overparam.report import export

        if format not in ("text", "csv", "json", "parquet"):
            raise SpecError(f"--format must be text, csv, json or parquet, got {format!r}")
        if format == "parquet" and out is None:
            raise SpecError("--format parquet needs --out FILE, since it is not text")
        chosen = [option for option, is_given in (("--layers", layers), ("--curves", curves)) if is_given]
        if len(chosen) > 1:
            raise SpecError("--layers and --curves are two tables; ask for one of them")
        if format == "text" and (chosen or out is not None):
            raise SpecError(f"{chosen[0] if chosen else '--out'} needs --format csv, json or parquet")
        results = results_for(study, set_, sweep, store, data)
        if save is not None:
            from overparam.lab.keep import keep

            say(str(keep(results, save)))
            return
        frame = results.layers if layers else results.curves if curves else results.frame
        if format == "text":
            print_table(results)
        elif out is None:
            say_exactly(str(export(frame, format)))
        else:
            check_writable(out, "--out")
            export(frame, format, out)
            say(str(out))
        complain(results)


@app.command()
def report(
    study: ResultsArgument,
    set_: SetOption = None,
    sweep: SweepOption = None,
    store: StoreOption = Path("runs"),
    data: DataOption = None,
    out: Annotated[Path | None, typer.Option(help="The page; default: STUDY.html.")] = None,
    charts: Annotated[Path | None, typer.Option(help="Also write the charts as PNG and SVG into this folder.")] = None,
) -> None:
    """Write one self-contained HTML page with the curves, the phases and the claims."""
    with clear_errors():
        from overparam.errors import StoreError

        results = results_for(study, set_, sweep, store, data)
        if not len(results.frame):
            raise StoreError(f"study {results.name!r} has no finished checkpoint yet; run it first")
        other = "@" in study or set_ or sweep  # of which the page does not take the place of the study's own
        goal = out or Path(f"{results.name}@{results.revision}.html" if other else f"{results.name}.html")
        check_writable(goal, "--out")
        say(str(results.report(goal).resolve()))
        for path in results.charts(charts) if charts is not None else ():
            say(str(path))
        complain(results)


@app.command("list")
def list_(
    kind: Annotated[str, typer.Argument(help=f"One of: {', '.join(KINDS)}.", show_default=False, metavar="KIND")] = "",
    store: Annotated[Path, typer.Option(help="Folder of results, for `list results`.")] = Path("runs"),
) -> None:
    """List what there is, with one line on each."""
    with clear_errors():
        from overparam.errors import SpecError
        from overparam.registry import suggest

        if not kind:
            raise SpecError(f"name what to list: {', '.join(KINDS)}")
        if kind not in KINDS:
            raise SpecError(f"cannot list {kind!r}{suggest(kind, KINDS)} (known: {', '.join(KINDS)})")
        from overparam.listing import entries

        found = entries(kind, store)
        width = max((len(name) for name, _ in found), default=0)
        for name, line in found:
            say(f"{name:<{width}}  {line}")


@app.command()
def check(
    study: Annotated[
        str,
        typer.Argument(
            help="A study's name, or the path of a YAML file; with --verify it may be left out.",
            show_default=False,
            metavar="STUDY",
        ),
    ] = "",
    set_: SetOption = None,
    sweep: SweepOption = None,
    store: StoreOption = Path("runs"),
    engine: EngineOption = None,
    device: DeviceOption = None,
    data: DataOption = None,
    verify: Annotated[
        bool,
        typer.Option(
            "--verify",
            help="Read every stored byte of the study's results, or without a study of all results in the store; "
            "what is damaged is marked, and the next run computes it again.",
        ),
    ] = False,
) -> None:
    """Say what a study would run, how much of it is in the store, and what is wrong; trains nothing.

    Every step is tried in small, so what a run would refuse is told here.

    Ends with exit code 1 if something in the store is damaged.
    """
    with clear_errors():
        from overparam.errors import SpecError
        from overparam.lab import Store
        from overparam.lab.describe import stored_lines, study_lines, verified_lines
        from overparam.lab.store import is_store

        if study:
            chosen = study_for(study, set_, sweep, data)
            plan = chosen.checked(engine, device)
            for line in study_lines(chosen.name, len(chosen.experiments), plan):
                say(line)
            if not is_store(store):
                say(f"store {store}: not there yet, everything would be run")
                return
            lines, whole = stored_lines(plan, Store(store, reading=True), verify)
        elif verify:
            lines, whole = verified_lines(Store(store, reading=True))
        else:
            raise SpecError("name a study; only with --verify it may be left out, and all of the store is checked")
        for line in lines:
            say(line)
        if not whole:
            raise typer.Exit(1)


@app.command()
def scan(
    study: StudyArgument,
    set_: SetOption = None,
    sweep: SweepOption = None,
    store: StoreOption = Path("runs"),
    densities: Annotated[
        str, typer.Option(metavar="A,B,C", help="Densities that each layer is pruned to, falling.")
    ] = "0.5,0.3,0.2,0.1,0.05,0.02",
    criterion: Annotated[str, typer.Option(help="By what is pruned, as `prune.criterion`.")] = "magnitude",
    pattern: Annotated[str, typer.Option(help="What goes together, as `prune.pattern`.")] = "weights",
    tolerance: Annotated[float, typer.Option(help="Loss of accuracy that a layer may cause, a share.")] = 0.01,
    examples: Annotated[int | None, typer.Option(min=1, help="Examples that are looked at; default: all.")] = None,
    jobs: Annotated[int | None, typer.Option(min=1, help="Steps at a time; default: cores or chains.")] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Threads a job; default: cores / jobs.")] = None,
    engine: EngineOption = None,
    device: DeviceOption = None,
    data: DataOption = None,
    save: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="Write the chart (.png, .svg, .pdf) or the numbers (.csv, .parquet)."),
    ] = None,
) -> None:
    """Prune each layer of a study's network alone, without training it again: which layer bears how much.

    The network is trained as the study does before it first prunes, unless the store has it.
    """
    with clear_errors():
        from overparam.lab import parse_yaml, reporter_for
        from overparam.probes import Sensitivity
        from overparam.report import rich_table
        from overparam.scanning import Scan, check_suffix, study_of

        for path in save or ():
            check_suffix(path)
            check_writable(path, "--save")
        probe = Sensitivity(
            criterion=parse_yaml(criterion, "--criterion"),
            pattern=parse_yaml(pattern, "--pattern"),
            densities=parse_yaml(f"[{densities}]", "--densities"),
            tolerance=tolerance,
            examples=examples,
        )
        scanned = study_of(study_for(study, set_, sweep, data), probe)
        results = run_or_tell(scanned, store, jobs, threads, engine, device, reporter_for(sys.stderr), False)
        if results.complete:
            found = Scan.of(results, probe)
            show(rich_table(found.table()))
            show(found.sentence())
            for path in save or ():
                say(str(found.save(path)))
        complain(results, notes=False)


@app.command()
def doctor(
    threads: Annotated[int | None, typer.Option(min=1, help="Torch's threads; default: torch's own.")] = None,
) -> None:
    """Say what this machine is, what its sparse kernels use, and which layers are sparse by default."""
    with clear_errors():
        import torch
        from rich.text import Text

        from overparam.doctor import doctor as examine

        before = torch.get_num_threads()
        try:
            if threads is not None:
                torch.set_num_threads(threads)
            examine(say, lambda line: show(Text(line, style="bold")))
        finally:
            torch.set_num_threads(before)


def main() -> None:
    """Entry point of the ``overparam`` command; once stopped, it ends in its own time, however often it is told."""
    obey()
    open_standard_streams()
    try:
        app()
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Python's own end would else give it its first meaning back
