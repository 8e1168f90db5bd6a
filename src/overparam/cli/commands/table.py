"""``overparam table``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from overparam.cli.asked import complain, print_table, results_for
from overparam.cli.options import DataOption, ResultsArgument, SetOption, StoreOption, SweepOption
from overparam.cli.root import app
from overparam.files import check_writable
from overparam.terminal import clear_errors, say, say_exactly


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
