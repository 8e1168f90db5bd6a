"""``overparam report``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from overparam.cli.asked import complain, results_for
from overparam.cli.options import DataOption, ResultsArgument, SetOption, StoreOption, SweepOption
from overparam.cli.root import app
from overparam.files import check_writable
from overparam.terminal import clear_errors, say


@app.command(short_help="Write one HTML page: curves, phases, claims.")
def report(
    study: ResultsArgument,
    set_: SetOption = None,
    sweep: SweepOption = None,
    store: StoreOption = Path("runs"),
    data: DataOption = None,
    out: Annotated[Path | None, typer.Option(help="The page; default: STUDY.html.")] = None,
    charts: Annotated[
        Path | None, typer.Option(help="Also write the charts as PDF, PNG and SVG into this folder.")
    ] = None,
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
