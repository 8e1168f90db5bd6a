"""The command line. Heavy imports stand inside the commands, so that help and completion answer at once."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from overparam.lab import Results, Study

app = typer.Typer(
    name="overparam",
    help="Find how many parameters a network really needs, and how generalization changes on the way there.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,  # rich would take longer to import than all the rest of the help
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

KINDS = ("datasets", "networks", "criteria", "scopes", "steps", "probes", "studies")

StudyArgument = Annotated[str, typer.Argument(help="A study's name, or the path of a YAML file.", show_default=False)]
StoreOption = Annotated[Path, typer.Option(help="Folder of results.")]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="PATH=VALUE", help="Set a value, e.g. world.train_size=10000."),
]
SweepOption = Annotated[
    list[str] | None,
    typer.Option("--sweep", metavar="PATH=A,B,C", help="Sweep over values, e.g. seed=0,1,2."),
]
DataOption = Annotated[
    str | None, typer.Option("--data", metavar="FOLDER", help="Where datasets are (or set OVERPARAM_DATA).")
]


@app.command()
def run(
    study: StudyArgument,
    set_: SetOption = None,
    sweep: SweepOption = None,
    store: StoreOption = Path("runs"),
    jobs: Annotated[int | None, typer.Option(min=1, help="Steps at a time; default: cores or chains.")] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Threads a job; default: cores / jobs.")] = None,
    engine: Annotated[
        str | None, typer.Option(help="auto, dense or sparse: what trainings compute with.", show_default=False)
    ] = None,
    data: DataOption = None,
    report: Annotated[Path | None, typer.Option(help="Write the report page here when done.")] = None,
    log: Annotated[Path | None, typer.Option(help="Append every event to this file, a JSON object a line.")] = None,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Run failed steps again.")] = False,
) -> None:
    """Run a study. What the store has already is not run again: running again is resuming."""
    with _clear_errors():
        from overparam.lab import LogReporter, reporter_for

        chosen = _study(study, set_, sweep, data)
        reporter = reporter_for(sys.stderr)
        if log is not None:
            _writable(log, "--log")
            reporter = LogReporter(reporter, log)
        if report is not None:
            _writable(report, "--report")
        try:
            results = chosen.run(
                store, jobs=jobs, threads=threads, engine=engine, reporter=reporter, retry_failed=retry_failed
            )
        except KeyboardInterrupt:
            typer.echo(
                f"\nstopped; every finished step of {chosen.name} is in {store}. Run the same command again to go on.",
                err=True,
            )
            raise typer.Exit(130) from None
        _print_table(results)
        if report is not None and len(results.frame):
            typer.echo(f"report: {results.report(report)}")
        else:
            typer.echo(f"next: overparam report {chosen.name} --store {store}")
        _complain(results, notes=False)  # the run has told them when they came up


@app.command()
def table(
    study: StudyArgument,
    store: StoreOption = Path("runs"),
    format: Annotated[str, typer.Option("--format", help="text, csv, json or parquet.")] = "text",
    out: Annotated[Path | None, typer.Option(help="Write to this file instead of the screen.")] = None,
    layers: Annotated[bool, typer.Option("--layers", help="One row per layer.")] = False,
) -> None:
    """Print a study's results: means as text, or every checkpoint as csv, json or parquet."""
    with _clear_errors():
        from overparam.errors import SpecError
        from overparam.report import export

        if format not in ("text", "csv", "json", "parquet"):
            raise SpecError(f"--format must be text, csv, json or parquet, got {format!r}")
        if format == "parquet" and out is None:
            raise SpecError("--format parquet needs --out FILE, since it is not text")
        results = _results(study, store)
        if format == "text":
            _print_table(results)
        else:
            frame = results.layers if layers else results.frame
            if out is not None:
                _writable(out, "--out")
                export(frame, format, out)
                typer.echo(str(out))
            else:
                typer.echo(export(frame, format), nl=False)
        _complain(results)


@app.command()
def report(
    study: StudyArgument,
    store: StoreOption = Path("runs"),
    out: Annotated[Path | None, typer.Option(help="The page; default: STUDY.html.")] = None,
    charts: Annotated[Path | None, typer.Option(help="Also write the charts as PNG and SVG into this folder.")] = None,
) -> None:
    """Write one self-contained HTML page with the curves, the phases and the claims."""
    with _clear_errors():
        from overparam.errors import StoreError
        from overparam.report import write_charts

        results = _results(study, store)
        if not len(results.frame):
            raise StoreError(f"study {results.name!r} has no finished checkpoint yet; run it first")
        goal = out or Path(f"{results.name}.html")
        _writable(goal, "--out")
        typer.echo(str(results.report(goal).resolve()))
        if charts is not None:
            for path in write_charts(results.frame, charts, missing=results.missing):
                typer.echo(str(path))
        _complain(results)


@app.command("list")
def list_(
    kind: Annotated[str, typer.Argument(help=f"One of: {', '.join(KINDS)}.", show_default=False)],
) -> None:
    """List what there is, with one line on each."""
    with _clear_errors():
        from overparam.errors import SpecError
        from overparam.registry import suggest

        if kind not in KINDS:
            raise SpecError(f"cannot list {kind!r}{suggest(kind, KINDS)} (known: {', '.join(KINDS)})")
        entries = _entries(kind)
        width = max(len(name) for name, _ in entries)
        for name, line in entries:
            typer.echo(f"{name:<{width}}  {line}")


@app.command()
def check(
    study: StudyArgument,
    set_: SetOption = None,
    sweep: SweepOption = None,
    store: StoreOption = Path("runs"),
    data: DataOption = None,
) -> None:
    """Say what a study would run, how much of it is in the store, and what is wrong; runs nothing."""
    with _clear_errors():
        from overparam.lab import Store, status

        chosen = _study(study, set_, sweep, data)
        plan = chosen.plan
        trainings = sum(node.step is not None and node.step.trains for node in plan.nodes.values())
        typer.echo(
            f"{chosen.name}: {len(chosen.experiments)} chains, {len(plan.nodes)} different steps "
            f"({trainings} trainings), {len(plan.rows)} rows, {len(plan.measurements)} measurements"
        )
        for place, world in enumerate(plan.worlds):
            built = world.build()
            noise = f", {built.noise_realised:.1%} wrong labels" if built.noise_realised else ""
            typer.echo(
                f"world {place + 1}: {len(built.train.labels)} training and {len(built.test.labels)} test examples, "
                f"{built.classes} classes, shape {tuple(built.input_shape)}{noise}"
            )
        inits = {(n.network, n.world): n for n in plan.nodes.values() if n.step is None}
        for node in inits.values():  # shows whether the network can be made for the data at all
            built = plan.worlds[node.world].build()
            plan.networks[node.network].build(built.input_shape, built.classes, node.seed)
        if not (store / "steps").exists():
            typer.echo(f"store {store}: not there yet, everything would be run")
            return
        opened = Store(store, reading=True)
        found = status(plan, opened)
        typer.echo(
            f"store {store}: {len(found.steps)} of {len(plan.nodes)} steps and {len(found.probes)} of "
            f"{len(plan.measurements)} measurements are there"
        )
        for fingerprint, reason in found.failures.items():
            typer.echo(f"failed before: {plan.nodes[fingerprint].title}: {reason} (--retry-failed runs it again)")
        for note in opened.notes:
            typer.echo(note)
        for _, _, damage in found.damaged:
            typer.echo(f"{damage}; a run sets it aside and computes it again")
        if found.damaged or opened.notes:
            raise typer.Exit(1)


@app.command()
def doctor(
    measure: Annotated[
        bool, typer.Option("--measure", help="Measure some usual layers that are not known yet; takes a minute.")
    ] = False,
    threads: Annotated[int | None, typer.Option(min=1, help="Torch's threads; default: torch's own.")] = None,
) -> None:
    """Say what this machine is, and below which densities its layers are faster sparse."""
    with _clear_errors():
        import torch

        from overparam.doctor import doctor as examine

        before = torch.get_num_threads()
        try:
            if threads is not None:
                torch.set_num_threads(threads)
            examine(typer.echo, lambda line: typer.secho(line, bold=True), measure)
        finally:
            torch.set_num_threads(before)


def _entries(kind: str) -> list[tuple[str, str]]:
    from overparam.lab import built_in_studies, parse_yaml
    from overparam.networks import NETWORKS
    from overparam.probes import PROBES
    from overparam.prune import CRITERIA, SCOPES
    from overparam.registry import Registry
    from overparam.steps import STEPS
    from overparam.worlds import DATASETS

    if kind == "studies":
        return [(n, str(parse_yaml(t, n).get("description", "")).strip()) for n, t in built_in_studies().items()]
    registries: dict[str, Registry[Any]] = {
        "datasets": DATASETS,
        "networks": NETWORKS,
        "criteria": CRITERIA,
        "scopes": SCOPES,
        "steps": STEPS,
        "probes": PROBES,
    }
    return [(name, registries[kind].summary(name)) for name in registries[kind]]


def _study(given: str, set_: list[str] | None, sweep: list[str] | None, data: str | None) -> Study:
    import os

    from overparam.errors import SpecError
    from overparam.lab import Study, parse_yaml

    if data is not None:
        if not Path(data).is_dir():
            raise SpecError(f"--data {data!r} is not a folder")
        os.environ["OVERPARAM_DATA"] = os.pathsep.join(filter(None, [data, os.environ.get("OVERPARAM_DATA", "")]))
    chosen = Study.from_file(given) if _is_file(given) else Study.named(given)
    changes = {path: parse_yaml(text, f"--set {path}") for path, text in _pairs(set_, "--set").items()}
    sweeps = {path: parse_yaml(f"[{text}]", f"--sweep {path}") for path, text in _pairs(sweep, "--sweep").items()}
    for path in changes.keys() & sweeps.keys():
        raise SpecError(f"{path} is given both to --set and to --sweep; give it to one of them")
    return chosen.with_changes(changes, sweeps)


def _is_file(given: str) -> bool:
    return given.endswith((".yaml", ".yml")) or Path(given).is_file()


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


def _results(given: str, store: Path) -> Results:
    from overparam.lab import Store, Study, load_results

    name = Study.from_file(given).name if _is_file(given) else given
    return load_results(Store(store, reading=True), name)


def _print_table(results: Results) -> None:
    from rich.console import Console

    from overparam.report import arms, find_phases, finding, lacking, rich_table

    if not len(results.frame):
        typer.echo("no checkpoint is finished yet")
        return
    console = Console()
    lacks = lacking(results.frame, results.missing)
    for arm in arms(results.frame):
        found = find_phases(arm, lacks)
        console.print(rich_table(arm, found))
        if found is not None:
            console.print(finding(found), highlight=False)
    for verdict in results.claims():
        if verdict.verdict != "not tested":
            console.print(f"{verdict.id} {verdict.verdict}: {verdict.sentence}", highlight=False)


def _complain(results: Results, notes: bool = True) -> None:
    """Say on stderr what is wrong and what is missing, and end with exit code 1 if anything is missing."""
    for note in results.notes if notes else ():
        typer.echo(f"note: {note}", err=True)
    for failure in results.failures:
        typer.echo(f"failed: {failure}", err=True)
    if results.missing:
        advice = "--retry-failed runs again what failed" if results.failures else "run the study to compute them"
        typer.echo(f"{results.missing} rows are missing; {advice}", err=True)
    if results.missing or results.failures:
        raise typer.Exit(1)


def _writable(path: Path, option: str) -> None:
    from overparam.errors import SpecError

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        known = path.exists()
        with path.open("a"):
            pass
        if not known:
            path.unlink()
    except OSError as error:
        raise SpecError(f"{option} {str(path)!r} cannot be written ({error.strerror})") from None


@contextmanager
def _clear_errors() -> Iterator[None]:
    """Turn our errors into one sentence on stderr and exit code 2."""
    from overparam.errors import OverparamError

    try:
        yield
    except OverparamError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from None
    except KeyboardInterrupt:
        typer.echo("stopped", err=True)
        raise typer.Exit(130) from None
    except BrokenPipeError:
        raise typer.Exit(0) from None


def main() -> None:
    """Entry point of the ``overparam`` command."""
    app()


if __name__ == "__main__":
    main()
