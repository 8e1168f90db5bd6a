"""What curves are mainly of: how well a task is done, as accuracy or, where there is none, as loss; or any column."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from overparam.report.arms import Arm
from overparam.report.panels import ACCURACY, LOSS, Panel
from overparam.report.turning import LEAST
from overparam.report.words import percent, plain_number, points, three_digits

MORE = ("accuracy", "r2")
"""Of columns whose name ends so, more is better."""

LESS = (
    *("loss", "soft_error", "bits", "seconds", "seconds_before", "bytes", "kept", "weights", "parameters", "density"),
    *("multiply_adds", "multiply_adds_effective", "latency_dense", "latency_sparse"),
)
"""Of these, less is."""


@dataclass(frozen=True)
class Measure:
    """One number that tells how well a task is done.

    Attributes:
        column: of the results table.
        panel: which draws it.
        write: how a value is told.
        change: how a difference of two is told.
        unit: of differences, with a space before it.
        sign: 1 where more is better, -1 where less is, 0 where nobody has said.
        share: whether it lies in [0, 1].
    """

    column: str
    panel: Panel
    write: Callable[[float | None], str]
    change: Callable[[float | None], str]
    unit: str
    sign: int
    share: bool

    @property
    def metric(self) -> str:
        """Its name behind that of a split."""
        return self.column.removeprefix("test_")

    @property
    def title(self) -> str:
        """What it is called at the beginning of a sentence."""
        return self.column.replace("_", " ").capitalize()

    @property
    def superlative(self) -> str:
        """What the best value is called."""
        return "best" if self.sign > 0 else "least"

    def clearly(self, better: float, other: float) -> bool:
        """Tell whether one value is better than another by so much that it is worth telling."""
        return self.sign * (better - other) >= (LEAST if self.share else LEAST * abs(other))


ACCURATE = Measure("test_accuracy", ACCURACY, percent, points, " points", 1, share=True)
LOSSY = Measure("test_loss", LOSS, three_digits, three_digits, "", -1, share=False)


def measure_of(arms: Iterable[Arm]) -> Measure:
    """Return what is measured of some arm: accuracy, or loss where no arm has one."""
    shown = list(arms)
    lossy = any(arm.has("test_loss") for arm in shown) and not any(arm.has("test_accuracy") for arm in shown)
    return LOSSY if lossy else ACCURATE


def measure_for(column: str) -> Measure:
    """Return the measure of any column; which way is better is told by its name, or not known."""
    known = next((each for each in (ACCURATE, LOSSY) if each.column == column), None)
    if known is not None:
        return known
    share = "accuracy" in column or "soft_error" in column
    write = percent if share else plain_number
    words = column.replace("_", " ")
    panel = Panel(column, words.capitalize(), {column: words}, "~%" if share else "~g", write, 170)
    return Measure(column, panel, write, points if share else plain_number, " points" * share, _sign(column), share)


def _sign(column: str) -> int:
    name = column.removesuffix("_clean_part").removesuffix("_noisy_part").removesuffix("_clean")
    return next((sign for sign, ends in ((1, MORE), (-1, LESS)) if name.endswith(ends)), 0)
