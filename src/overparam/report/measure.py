"""What curves are mainly of: how well a task is done, as accuracy or, where there is none, as loss."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from overparam.report.arms import Arm
from overparam.report.panels import ACCURACY, LOSS, Panel
from overparam.report.turning import LEAST
from overparam.report.words import number, percent, points


@dataclass(frozen=True)
class Measure:
    """One number that tells how well a task is done.

    Attributes:
        metric: its name behind that of a split.
        panel: which draws it.
        write: how a value is told.
        change: how a difference of two is told.
        unit: of differences, with a space before it.
        sign: 1 where more is better, -1 where less is.
        share: whether it lies in [0, 1].
    """

    metric: str
    panel: Panel
    write: Callable[[float | None], str]
    change: Callable[[float | None], str]
    unit: str
    sign: int
    share: bool

    @property
    def column(self) -> str:
        """The column of the test set."""
        return f"test_{self.metric}"

    @property
    def title(self) -> str:
        """What it is called at the beginning of a sentence."""
        return f"Test {self.metric}"

    @property
    def superlative(self) -> str:
        """What the best value is called."""
        return "best" if self.sign > 0 else "least"

    def clearly(self, better: float, other: float) -> bool:
        """Tell whether one value is better than another by so much that it is worth telling."""
        return self.sign * (better - other) >= (LEAST if self.share else LEAST * abs(other))


ACCURATE = Measure("accuracy", ACCURACY, percent, points, " points", 1, share=True)
LOSSY = Measure("loss", LOSS, lambda value: number(value, 3), lambda value: number(value, 3), "", -1, share=False)


def measure_of(arms: Iterable[Arm]) -> Measure:
    """Return what is measured of some arm: accuracy, or loss where no arm has one."""
    shown = list(arms)
    lossy = any(arm.has("test_loss") for arm in shown) and not any(arm.has("test_accuracy") for arm in shown)
    return LOSSY if lossy else ACCURATE
