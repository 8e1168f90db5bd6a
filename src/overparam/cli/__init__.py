"""The command line. Heavy imports stand inside the commands, so that help and completion answer at once."""

from __future__ import annotations

import os
import signal
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

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

if TYPE_CHECKING:
    from overparam.lab import Reporter, Results, Study

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

        chosen = _study(study, set_, sweep, data)
        for option, path in (("--log", log), ("--report", report)):
            if path is not None:
                check_writable(path, option)
        reporter = reporter_for(sys.stderr)
        if log is not None:
            reporter = LogReporter(reporter, log)
        try:
            results = _run(chosen, store, jobs, threads, engine, device, reporter, retry_failed)
        except (KeyboardInterrupt, Stopped) as stop:
            tell(f"\nstopped; every finished step of {chosen.name} is in {store}. Run the same command again to go on.")
            raise typer.Exit(stop.code if isinstance(stop, Stopped) else 130) from None
        tell(f"results of {results.shown}")
        shown = sys.stdout is not None  # closed, it does not fail what has been computed
        if shown:
            _print_table(results)
        line = f"next: overparam report {results.name} --store {store}"
        if len(results.frame) and report is not None:
            line = f"report: {results.report(report)}"
        if len(results.frame) and shown:
            say(line)
        _complain(results, notes=False)  # the run has told them when they came up


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
        results = _results(study, set_, sweep, store, data)
        if save is not None:
            from overparam.lab.keep import keep

            say(str(keep(results, save)))
            return
        frame = results.layers if layers else results.curves if curves else results.frame
        if format == "text":
            _print_table(results)
        elif out is None:
            say_exactly(str(export(frame, format)))
        else:
            check_writable(out, "--out")
            export(frame, format, out)
            say(str(out))
        _complain(results)


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

        results = _results(study, set_, sweep, store, data)
        if not len(results.frame):
            raise StoreError(f"study {results.name!r} has no finished checkpoint yet; run it first")
        other = "@" in study or set_ or sweep  # of which the page does not take the place of the study's own
        goal = out or Path(f"{results.name}@{results.revision}.html" if other else f"{results.name}.html")
        check_writable(goal, "--out")
        say(str(results.report(goal).resolve()))
        for path in results.charts(charts) if charts is not None else ():
            say(str(path))
        _complain(results)


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
            chosen = _study(study, set_, sweep, data)
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


def _run(
    study: Study,
    store: Path,
    jobs: int | None,
    threads: int | None,
    engine: str | None,
    device: str | None,
    reporter: Reporter,
    retry_failed: bool,
) -> Results:
    """Run a study; what failed of it stands in the results, for :func:`_complain` to say."""
    from overparam.errors import IncompleteWarning, RunError

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", IncompleteWarning)
        try:
            return study.run(
                store,
                jobs=jobs,
                threads=threads,
                engine=engine,
                device=device,
                reporter=reporter,
                retry_failed=retry_failed,
            )
        except RunError as error:
            results: Results = error.results
            return results


def _study(given: str, set_: list[str] | None, sweep: list[str] | None, data: str | None) -> Study:
    from overparam.errors import SpecError
    from overparam.lab import Study, built_in_studies, parse_yaml

    if data is not None:
        if not Path(data).is_dir():
            raise SpecError(f"--data {data!r} is not a folder")
        os.environ["OVERPARAM_DATA"] = os.pathsep.join(filter(None, [data, os.environ.get("OVERPARAM_DATA", "")]))
    if os.path.isdir(given) and given not in built_in_studies():
        raise SpecError(f"{given!r} is a folder; name the YAML file of a study in it")
    chosen = Study.from_file(given) if _is_file(given) else Study.named(given)
    changes = {path: parse_yaml(text, f"--set {path}") for path, text in _pairs(set_, "--set").items()}
    sweeps = {path: parse_yaml(f"[{text}]", f"--sweep {path}") for path, text in _pairs(sweep, "--sweep").items()}
    for path in changes.keys() & sweeps.keys():
        raise SpecError(f"{path} is given both to --set and to --sweep; give it to one of them")
    return chosen.with_changes(changes, sweeps)


def _is_file(given: str) -> bool:
    """Tell a path from a name: whatever is there and no folder, and what is called like a study file."""
    return given.endswith((".yaml", ".yml")) or (os.path.lexists(given) and not os.path.isdir(given))


def _pairs(given: list[str] | None, option: str) -> dict[str, str]:
    from overparam.errors import SpecError

    pairs: dict[str, str] = {}
    for text in given or []:
        path, equals, value = (part.strip() for part in text.partition("="))
        if not equals:
            raise SpecError(f"{option} {text!r} must have the form path=value, such as world.train_size=10000")
        if path in pairs:
            raise SpecError(f"{option} {path} is given twice; give it once")
        pairs[path] = value
    return pairs


def _results(given: str, set_: list[str] | None, sweep: list[str] | None, store: Path, data: str | None) -> Results:
    """Return the results that a command asks for, and say on stderr which they are."""
    from overparam.errors import SpecError
    from overparam.lab import Store, built_in_studies, load_results

    opened = Store(store, reading=True)
    if (set_ or sweep) and not _is_file(given) and given not in built_in_studies():
        raise SpecError(
            f"--set and --sweep change a study, and {given!r} only names results: give the path of its YAML file, or "
            "NAME@REVISION of what was run (`overparam list results` has them)"
        )
    if _is_file(given) or set_ or sweep:
        results = _study(given, set_, sweep, data).results(opened)
    else:
        name, _, revision = given.partition("@")
        results = load_results(opened, name, revision or None)
    tell(f"results of {results.shown}")
    return results


def _print_table(results: Results) -> None:
    from overparam.report import printed

    if not len(results.frame):
        say("no checkpoint is finished yet")
    for part in printed(results.sections()[0]) if len(results.frame) else ():
        show(part)


def _complain(results: Results, notes: bool = True) -> None:
    """Say on stderr what is wrong and what is missing, and end with exit code 1 if anything is missing."""
    from overparam.errors import counted

    for note in [*(results.notes if notes else ()), *results.remarks]:
        tell(f"note: {note}")
    for failure in results.failures:
        tell(f"failed: {failure}")
    if results.missing:
        advice = "--retry-failed runs again what failed" if results.failures else "run the study to compute them"
        tell(f"{counted(results.missing, 'row')} {'is' if results.missing == 1 else 'are'} missing; {advice}")
    if results.missing or results.failures:
        raise typer.Exit(1)


def main() -> None:
    """Entry point of the ``overparam`` command; once stopped, it ends in its own time, however often it is told."""
    obey()
    open_standard_streams()
    try:
        app()
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Python's own end would else give it its first meaning back
