"""``overparam scan``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from overparam.cli.asked import complain, run_or_tell, study_for
from overparam.cli.options import (
    DataOption,
    DeviceOption,
    EngineOption,
    SetOption,
    StoreOption,
    StudyArgument,
    SweepOption,
)
from overparam.cli.root import app
from overparam.files import check_writable
from overparam.terminal import clear_errors, say, show


@app.command(short_help="Prune each layer alone: which layer bears how much.")
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
