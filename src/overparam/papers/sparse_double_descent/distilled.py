"""The claims of DSD2 (Quetu & Tartaglione, AAAI 2024, https://arxiv.org/abs/2303.01213) as tests.

A student that is pruned while it learns from a teacher, by 0.8 of the distillation loss at temperature 10, is said to
show no sparse double descent. Arms are told by the variant's name: no column says who taught.
"""

from __future__ import annotations

import polars as pl

from overparam.papers.sparse_double_descent.contrasts import named, noisy
from overparam.papers.sparse_double_descent.curves import double_descent, interval
from overparam.papers.sparse_double_descent.phases import ArmPhases, phases
from overparam.report.claims import Claim, Finding, Outcome, claim, judged, lacks, together
from overparam.report.paired import paired
from overparam.report.words import density, seeds

NEEDS = ("test_accuracy", "noise_rate", "variant")
PLAIN, SPARSE, DENSE = "plain", "from a sparse network", "from the dense network"
OPPOSITE: dict[Outcome, Outcome] = {"supported": "contradicted", "contradicted": "supported"}


@claim("DSD-1", "A student of a sparse network in its sweet phase shows no sparse double descent.", needs=NEEDS)
def sparse_teacher_removes_it(frame: pl.DataFrame) -> Finding:
    """Supported when the plain arm falls, rises and falls, and the student never rises by a point after a fall."""
    return _removed(frame, SPARSE)


@claim("DSD-2", "A student of the dense network shows no sparse double descent either.", needs=NEEDS)
def dense_teacher_removes_it(frame: pl.DataFrame) -> Finding:
    """Supported as DSD-1 is."""
    return _removed(frame, DENSE)


@claim("DSD-3", "A student of a sparse network is better where the plain network is worst.", needs=NEEDS)
def student_is_better_at_the_trough(frame: pl.DataFrame) -> Finding:
    """Supported when student minus plain, at the level at which the plain arm is worst, is above 0 seed by seed."""
    plain, student = (_arm(frame, name) for name in (PLAIN, SPARSE))
    if plain is None or student is None:
        return _lacking(SPARSE)
    trough = plain.shape.trough
    if trough is None:
        return Finding("inconclusive", "The plain arm has no turning point (fall and rise).")
    above = min(paired(student.arm, plain.arm), key=lambda each: abs(each.at - trough.density)).estimate
    text = f"Student minus plain is {above.text()} points at {density(trough.density)} density ({seeds(above.n)})"
    return judged(above, text, interval("above_plain_points", above, 100))


def _removed(frame: pl.DataFrame, teacher: str) -> Finding:
    plain, student = _arm(frame, PLAIN), _arm(frame, teacher)
    if plain is None or student is None:
        return _lacking(teacher)
    shown, left = double_descent(plain), double_descent(student)
    text = f"Plain: {shown.explanation}; {teacher}: {left.explanation}"
    return Finding(together([shown.outcome, OPPOSITE.get(left.outcome, left.outcome)]), text, left.numbers)


def _arm(frame: pl.DataFrame, name: str) -> ArmPhases | None:
    return next((one for one in noisy(phases(frame)) if named(one) == name), None)


def _lacking(teacher: str) -> Finding:
    return lacks(f"the variants {PLAIN!r} and {teacher!r}, with label noise")


CLAIMS: tuple[Claim, ...] = (sparse_teacher_removes_it, dense_teacher_removes_it, student_is_better_at_the_trough)
