"""``overparam get``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from overparam.cli import completing
from overparam.cli.options import StoreOption
from overparam.cli.root import app
from overparam.terminal import clear_errors, say, tell


@app.command()
def get(
    name: Annotated[
        str,
        typer.Argument(
            help="STUDY/ARM/SEED/LEVEL; a study alone lists the names of its checkpoints.",
            show_default=False,
            metavar="NAME",
            autocompletion=completing.results,
        ),
    ],
    store: StoreOption = Path("runs"),
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Write the weights here (.safetensors or .npz).", show_default=False),
    ] = None,
    masks: Annotated[bool, typer.Option("--masks", help="Write the masks instead of the weights.")] = False,
) -> None:
    """Find a trained network by name: say what it scores, or write its dense weights or masks as a file."""
    with clear_errors():
        from overparam.lab import load_results
        from overparam.lab.named import names, split_name

        if "/" not in name:
            results = load_results(store, name)
            tell(f"results of {results.shown}")
            for each in names(results):
                say(each)
            return
        study, place = split_name(name)
        found = load_results(store, study).at(**place)
        if out is None:
            say(repr(found))
        else:
            tell(repr(found))
            say(str(found.save(out, "masks" if masks else "weights")))
