"""What several commands take."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from overparam.cli import completing

StudyArgument = Annotated[
    str,
    typer.Argument(
        help="A study's name, or the path of a YAML file.",
        show_default=False,
        metavar="STUDY",
        autocompletion=completing.studies,
    ),
]
ResultsArgument = Annotated[
    str,
    typer.Argument(
        help="The path of a YAML file: its own results. A study's name: the results of its newest revision. "
        "NAME@REVISION: those of another, as `overparam list results` has them.",
        show_default=False,
        metavar="STUDY",
        autocompletion=completing.results,
    ),
]
StoreOption = Annotated[Path, typer.Option(help="Folder of results.")]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="PATH=VALUE", help="Set a value, e.g. world.train_size=10000."),
]
SweepOption = Annotated[
    list[str] | None,
    typer.Option(
        "--sweep",
        metavar="PATH=VALUES",
        help="Sweep over values: seed=0,1,2 or seed=0..4 (with both ends), 0..100..10 by tens, "
        "train.lr=log(1e-3,1e-1,5) for five of equal ratios.",
    ),
]
EngineOption = Annotated[
    str | None,
    typer.Option(
        help="auto, dense or sparse: what trainings compute with.",
        show_default=False,
        autocompletion=completing.one_of("auto", "dense", "sparse"),
    ),
]
DeviceOption = Annotated[
    str | None,
    typer.Option(help="cpu, cuda, cuda:1, mps or auto: where trainings and measurements compute.", show_default=False),
]
DataOption = Annotated[
    str | None, typer.Option("--data", metavar="FOLDER", help="Where datasets are (or set OVERPARAM_DATA).")
]
FormOption = Annotated[
    str,
    typer.Option(
        "--format",
        metavar="FORM",
        help="text, or json for programs.",
        autocompletion=completing.one_of("text", "json"),
    ),
]
