"""``overparam table``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from overparam.cli.asked import complain, is_json, print_contrast, print_layers, print_table, results_for
from overparam.cli.completing import one_of
from overparam.cli.options import DataOption, ResultsArgument, SetOption, StoreOption, SweepOption
from overparam.cli.root import app
from overparam.files import check_writable, write_file
from overparam.terminal import clear_errors, say, say_exactly, tell

MEANS = ("text", "latex", "markdown")
"""Forms that have means; the others have every checkpoint."""
FORMS = (*MEANS, "csv", "json", "parquet")
NO_LAYERS = (
    "no probe of this study measures layers; add one that does, such as density, to its probes "
    "(`overparam list probes` has them) and run it again: only what is new is computed"
)


@app.command(short_help="Print results: as text, or every checkpoint as csv or json.")
def table(
    study: ResultsArgument,
    set_: SetOption = None,
    sweep: SweepOption = None,
    store: StoreOption = Path("runs"),
    data: DataOption = None,
    format: Annotated[
        str,
        typer.Option(
            "--format",
            metavar="FORM",
            help="text, latex, markdown, csv, json or parquet.",
            autocompletion=one_of(*FORMS),
        ),
    ] = "text",
    out: Annotated[Path | None, typer.Option(help="Write to this file instead of the screen.")] = None,
    layers: Annotated[bool, typer.Option("--layers", help="One row per layer.")] = False,
    curves: Annotated[bool, typer.Option("--curves", help="One row per epoch or evaluated iteration.")] = False,
    compare: Annotated[bool, typer.Option("--compare", help="Arms against each other, paired by seeds.")] = False,
    x: Annotated[str | None, typer.Option(metavar="COLUMN", help="Of --compare: over what; default: the axis.")] = None,
    y: Annotated[str | None, typer.Option(metavar="COLUMN", help="Of --compare: what; default: test accuracy.")] = None,
    save: Annotated[
        Path | None, typer.Option(help="Write the numbers of a finished study to this file, to be kept (JSON).")
    ] = None,
) -> None:
    """Print a study's results: means as text, LaTeX or Markdown, or every checkpoint as csv, json or parquet."""
    with clear_errors():
        from overparam.errors import SpecError
        from overparam.report import export

        is_json(format, FORMS)
        if format == "parquet" and out is None:
            raise SpecError("--format parquet needs --out FILE, since it is not text")
        asked = {"--layers": layers, "--curves": curves, "--compare": compare}
        chosen = [option for option, given in asked.items() if given]
        if len(chosen) > 1:
            raise SpecError(f"{' and '.join(chosen)} are tables of their own; ask for one of them")
        if format in MEANS and (curves or (chosen and format != "text")):
            raise SpecError(f"{chosen[0]} needs --format csv, json or parquet")
        if (x or y) and not compare:
            raise SpecError(f"{'--x' if x else '--y'} says what is compared; give --compare too")
        if format == "text" and out is not None:
            raise SpecError("--out needs --format latex, markdown, csv, json or parquet")
        results = results_for(study, set_, sweep, store, data)
        if save is not None:
            from overparam.lab.keep import keep

            say(str(keep(results, save)))
            return
        contrast = results.compare(y, x) if compare else None
        frame = (
            contrast.frame if contrast else results.layers if layers else results.curves if curves else results.frame
        )
        if format == "text" and contrast:
            print_contrast(contrast)
        elif format == "text":
            (print_layers if layers else print_table)(results)
        elif out is None:
            say_exactly(results.typeset(format) if format in MEANS else str(export(frame, format)))
        else:
            check_writable(out, "--out")
            if format in MEANS:
                write_file(out, results.typeset(format))
            else:
                export(frame, format, out)
            say(str(out))
        if layers and frame.is_empty() and len(results.frame):
            tell(NO_LAYERS)
        complain(results)
