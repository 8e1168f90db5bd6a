"""``overparam figure``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from overparam.cli.asked import complain, results_for
from overparam.cli.options import DataOption, ResultsArgument, SetOption, StoreOption, SweepOption
from overparam.cli.root import app
from overparam.terminal import clear_errors, say


@app.command(short_help="Write charts for a paper, as PDF, PNG and SVG.")
def figure(
    study: ResultsArgument,
    charts: Annotated[
        list[str] | None,
        typer.Argument(
            help="Their names: comparison, an arm's, or an arm's with a panel (magnitude-loss); a wrong one lists "
            "those there are. Default: all that compare arms, and each arm's main one.",
            show_default=False,
            metavar="[CHART]...",
        ),
    ] = None,
    set_: SetOption = None,
    sweep: SweepOption = None,
    store: StoreOption = Path("runs"),
    data: DataOption = None,
    width: Annotated[
        str, typer.Option(help="single (3.25 inches), double (6.75), or a length such as 140mm or 5.5in.")
    ] = "single",
    points: Annotated[float, typer.Option(help="Size of the smallest type.")] = 8.0,
    format: Annotated[str, typer.Option("--format", metavar="A,B,C", help="Of pdf, png and svg.")] = "pdf,png,svg",
    out: Annotated[Path | None, typer.Option(help="Folder for the files; default: STUDY-figures.")] = None,
) -> None:
    """Write charts as wide as a paper's column, as PDF, PNG and SVG, with a LaTeX file that includes them."""
    with clear_errors():
        from overparam.errors import SpecError
        from overparam.report.sized import SUFFIXES, Page, write_figures

        suffixes = [f".{form.strip()}" for form in format.split(",")]
        if wrong := [suffix for suffix in suffixes if suffix not in SUFFIXES]:
            raise SpecError(f"--format must be of pdf, png and svg, got {wrong[0][1:]!r}")
        page = Page(width, points)
        results = results_for(study, set_, sweep, store, data)
        goal, title = out or Path(f"{results.name}-figures"), f"{results.name}@{results.revision}"
        for path in write_figures(results.sections()[0], goal, charts or (), page, suffixes, title):
            say(str(path))
        complain(results)
