"""``overparam claims``."""

from __future__ import annotations

import shutil
import textwrap
from dataclasses import asdict
from pathlib import Path

from overparam.cli.asked import complain, is_json, results_for, say_json
from overparam.cli.options import DataOption, FormOption, ResultsArgument, SetOption, StoreOption, SweepOption
from overparam.cli.root import app
from overparam.terminal import clear_errors, say, tell

MARGIN = "    "


@app.command(short_help="Test the claims of a study's paper on its results.")
def claims(
    study: ResultsArgument,
    set_: SetOption = None,
    sweep: SweepOption = None,
    store: StoreOption = Path("runs"),
    data: DataOption = None,
    format: FormOption = "text",
) -> None:
    """Test the claims of the study's paper on its results.

    Each is told with its verdict and the numbers behind it. One that is contradicted is a result, and no error.
    """
    with clear_errors():
        as_json = is_json(format)
        results = results_for(study, set_, sweep, store, data)
        verdicts = results.claims()
        if as_json:
            say_json([asdict(verdict) for verdict in verdicts])
        elif not verdicts:
            tell(f"{results.name} names no paper, so there are no claims to test (`paper: NAME` in a study names one)")
        for verdict in () if as_json else verdicts:
            say(f"{verdict.id} {verdict.verdict}")
            whose = "; ".join(source.short for source in verdict.sources)
            for told in (f"{verdict.sentence} ({whose})" if whose else verdict.sentence, verdict.explanation):
                width = shutil.get_terminal_size().columns
                say(textwrap.fill(told, width, initial_indent=MARGIN, subsequent_indent=MARGIN))
        complain(results)
