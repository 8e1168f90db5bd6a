"""``overparam claims``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from overparam.cli.asked import complain, is_json, results_for, say_json
from overparam.cli.options import DataOption, FormOption, ResultsArgument, SetOption, StoreOption, SweepOption
from overparam.cli.root import app
from overparam.terminal import clear_errors, show, tell


@app.command()
def claims(
    study: ResultsArgument,
    set_: SetOption = None,
    sweep: SweepOption = None,
    store: StoreOption = Path("runs"),
    data: DataOption = None,
    format: FormOption = "text",
) -> None:
    """Test the claims of the study's paper on its results: each with verdict, numbers, and why.

    A claim that is contradicted is a result, and no error.
    """
    with clear_errors():
        as_json = is_json(format)
        results = results_for(study, set_, sweep, store, data)
        verdicts = results.claims()
        if as_json:
            say_json([asdict(verdict) for verdict in verdicts])
        elif not verdicts:
            tell(f"study {results.name!r} names no paper, so there are no claims to test; `paper:` in it names one")
        for verdict in () if as_json else verdicts:
            show(f"{verdict.id} {verdict.verdict}: {verdict.sentence}")
            show(f"    {verdict.explanation}")
        complain(results)
