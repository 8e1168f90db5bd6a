"""Results that last: what of a finished study is committed, and whether it is of the study as it is now."""

from __future__ import annotations

from pathlib import Path

from overparam.errors import SpecError, StoreError
from overparam.lab.results import Results
from overparam.lab.specification import UNIMPORTANT, differences, specification
from overparam.lab.study import Study
from overparam.lab.study_files import built_in_studies
from overparam.papers.numbers import Numbers, save


def keep(results: Results, path: str | Path) -> Path:
    """Write the numbers of a finished study as a file that can be committed (:mod:`overparam.papers.numbers`).

    Raises:
        StoreError: rows are missing.
        SpecError: a study of this name comes with overparam, and these results are of another specification.
    """
    if not results.complete or results.failures:
        whole = len(results.frame) + results.missing
        raise StoreError(f"{len(results.frame)} of {whole} rows of study {results.name!r} are there; run it to the end")
    if results.name in built_in_studies():
        ours = Study.named(results.name).yaml()
        if specification(ours) != specification(results.spec):
            other = ", ".join(name for name in differences(ours, results.spec) if name.split(".")[0] not in UNIMPORTANT)
            raise SpecError(f"these results are of another specification of {results.name!r}: it differs in {other}")
    numbers = Numbers(
        results.name,
        results.about.edition,
        specification(results.spec),
        {name: told for name, told in results.facts.items() if name not in ("run", "results")},
        _seconds(results),
        results.frame,
    )
    return save(numbers, path)


def _seconds(results: Results) -> float:
    """Return the seconds of all trainings: of each row by the probe ``cost``, else as they are told of the whole."""
    if "seconds" in results.frame.columns:
        return float(results.frame["seconds"].sum())
    return float(results.facts.get("training time, all jobs", "0 s").split()[0])
