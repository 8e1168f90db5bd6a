"""What several commands do: find the study or the results that are meant, run, print, and say what is missing."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from overparam.files import finite
from overparam.terminal import say, say_exactly, show, tell

if TYPE_CHECKING:
    from overparam.lab import Reporter, Results, Study
    from overparam.report.contrast import Contrast


def is_json(form: str, allowed: Sequence[str] = ("text", "json")) -> bool:
    """Tell whether ``--format`` asks for JSON; raises :class:`SpecError` for a form that the command has not."""
    if form not in allowed:
        from overparam.errors import SpecError

        raise SpecError(f"--format must be {', '.join(allowed[:-1])} or {allowed[-1]}, got {form!r}")
    return form == "json"


def say_json(value: Any) -> None:
    """Print mappings, lists, texts and numbers as one JSON document; what is no number (NaN) is null."""
    say_exactly(json.dumps(finite(value), indent=2, ensure_ascii=False, allow_nan=False, default=str) + "\n")


def run_or_tell(
    study: Study,
    store: Path,
    jobs: int | None,
    threads: int | None,
    engine: str | None,
    device: str | None,
    reporter: Reporter,
    retry_failed: bool,
    log: Sequence[Any] = (),
) -> Results:
    """Run a study; what failed of it stands in the results, for :func:`complain` to say."""
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
                log=list(log),
            )
        except RunError as error:
            results: Results = error.results
            return results


def study_for(given: str, set_: list[str] | None, sweep: list[str] | None, data: str | None) -> Study:
    """Return the study that a command names, with its changes and sweeps."""
    from overparam.errors import SpecError
    from overparam.lab import Study, built_in_studies, parse_yaml
    from overparam.lab.ranges import typed

    if data is not None:
        if not Path(data).is_dir():
            raise SpecError(f"--data {data!r} is not a folder")
        os.environ["OVERPARAM_DATA"] = os.pathsep.join(filter(None, [data, os.environ.get("OVERPARAM_DATA", "")]))
    if os.path.isdir(given) and given not in built_in_studies():
        raise SpecError(f"{given!r} is a folder; name the YAML file of a study in it")
    chosen = Study.from_file(given) if is_file(given) else Study.named(given)
    changes = {path: parse_yaml(text, f"--set {path}") for path, text in pairs(set_, "--set").items()}
    sweeps = {path: typed(text, f"--sweep {path}") for path, text in pairs(sweep, "--sweep").items()}
    for path in changes.keys() & sweeps.keys():
        raise SpecError(f"{path} is given both to --set and to --sweep; give it to one of them")
    return chosen.with_changes(changes, sweeps)


def is_file(given: str) -> bool:
    """Tell a path from a name: whatever is there and no folder, and what is called like a study file."""
    return given.endswith((".yaml", ".yml")) or (os.path.lexists(given) and not os.path.isdir(given))


def pairs(given: list[str] | None, option: str) -> dict[str, str]:
    """Return the values of an option that is given as path=value, by path."""
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


def results_for(given: str, set_: list[str] | None, sweep: list[str] | None, store: Path, data: str | None) -> Results:
    """Return the results that a command asks for, and say on stderr which they are."""
    from overparam.errors import SpecError
    from overparam.lab import Store, built_in_studies, load_results

    opened = Store(store, reading=True)
    if (set_ or sweep) and not is_file(given) and given not in built_in_studies():
        raise SpecError(
            f"--set and --sweep change a study, and {given!r} only names results: give the path of its YAML file, or "
            "NAME@REVISION of what was run (`overparam list results` has them)"
        )
    if is_file(given) or set_ or sweep:
        results = study_for(given, set_, sweep, data).results(opened)
    else:
        name, _, revision = given.partition("@")
        results = load_results(opened, name, revision or None)
    tell(f"results of {results.shown}")
    return results


def print_table(results: Results) -> None:
    """Print the tables of a study, what they say, and the claims that were tested."""
    from overparam.report import printed

    if not len(results.frame):
        say("no checkpoint is finished yet")
    for part in printed(results.sections()[0]) if len(results.frame) else ():
        show(part)


def print_contrast(contrast: Contrast) -> None:
    """Print arms against each other: a table for each condition, and what was found."""
    from overparam.report import rich_table

    for table in contrast.tables:
        show(rich_table(table))
    say(contrast.sentence)


def print_layers(results: Results) -> None:
    """Print what probes measured of each layer, a table for each arm."""
    from overparam.report import rich_table
    from overparam.report.layers import layer_tables

    if not len(results.frame):
        say("no checkpoint is finished yet")
    for table in layer_tables(results.layers, results.material.arms) if len(results.frame) else ():
        show(rich_table(table))


def complain(results: Results, notes: bool = True) -> None:
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
