"""``overparam check``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from overparam.cli.asked import is_json, say_json, study_for
from overparam.cli.completing import studies
from overparam.cli.options import (
    DataOption,
    DeviceOption,
    EngineOption,
    FormOption,
    SetOption,
    StoreOption,
    SweepOption,
)
from overparam.cli.root import app
from overparam.terminal import clear_errors, say


@app.command(short_help="Say what would run, what is in the store, and what is wrong.")
def check(
    study: Annotated[
        str,
        typer.Argument(
            help="A study's name, or the path of a YAML file; with --verify it may be left out.",
            show_default=False,
            metavar="STUDY",
            autocompletion=studies,
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
    format: FormOption = "text",
) -> None:
    """Say what a study would run, how much of it is in the store, and what is wrong; trains nothing.

    Every step is tried in small, so what a run would refuse is told here.

    Ends with exit code 1 if something in the store is damaged.
    """
    with clear_errors():
        from overparam.errors import SpecError
        from overparam.lab import Store
        from overparam.lab.describe import (
            stored_facts,
            stored_lines,
            study_facts,
            study_lines,
            verified_facts,
            verified_lines,
        )
        from overparam.lab.store import is_store

        as_json = is_json(format)
        if study:
            chosen = study_for(study, set_, sweep, data)
            plan = chosen.checked(engine, device)
            facts = study_facts(chosen.name, len(chosen.experiments), plan)
            lines = [*study_lines(facts), f"store {store}: not there yet, everything would be run"]
            if is_store(store):
                facts |= stored_facts(plan, Store(store, reading=True), verify)
                lines[-1:] = stored_lines(facts)
        elif verify:
            facts = verified_facts(Store(store, reading=True))
            lines = verified_lines(facts)
        else:
            raise SpecError("name a study; only with --verify it may be left out, and all of the store is checked")
        if as_json:
            say_json(facts)
        for line in () if as_json else lines:
            say(line)
        if facts.get("damage"):
            raise typer.Exit(1)
