"""The steps that go back: weights to an earlier checkpoint, or the learning-rate schedule alone."""

import dataclasses
from collections.abc import Mapping
from typing import ClassVar

from overparam.checkpoint import Checkpoint
from overparam.length import START, Length, is_length
from overparam.spec import spec
from overparam.steps.base import STEPS, Context, Outcome, Step


@STEPS.named("rewind")
@spec
class Rewind(Step):
    """Set the kept weights back to earlier values, under the present mask.

    Args:
        to: ``init`` (the initialisation; Frankle & Carbin 2019), a point of the chain's first training such as
            ``500it`` or ``2ep`` (late rewinding; Frankle et al. 2020, arXiv:1912.05671), a step's label, or any other
            reference to a checkpoint of the same shapes, such as ``teacher/last``.

    The whole state goes back, batch-norm statistics included; the next training starts at that point of its
    schedule, with the optimiser's state empty.

    Example:
        {rewind: {to: 500it}}
    """

    kind: ClassVar[str] = "rewind"
    quick: ClassVar[bool] = True
    keeps_counts: ClassVar[bool] = True
    main: ClassVar[str | None] = "to"

    to: str = "init"

    def references(self) -> tuple[str, ...]:
        """Return the checkpoint rewound to."""
        return (self.to,)

    def traits(self) -> Mapping[str, str]:
        """Return how is retrained from here on."""
        return {"retraining": "rewind"}

    def run(self, start: Checkpoint, context: Context) -> Outcome:
        """Return ``start`` with the weights, bit for bit, of the checkpoint named by ``to``."""
        earlier = context.given[self.to].checkpoint
        return Outcome(dataclasses.replace(start.with_state(earlier.beneath()), position=earlier.position))


@STEPS.named("lr-rewind")
@spec
class LrRewind(Step):
    """Set the learning-rate schedule back and keep the weights (Renda, Frankle & Carbin 2020).

    Args:
        to: the point of the schedule at which the next training starts: ``init``, or such as ``500it`` or ``80ep``.

    Example:
        {lr-rewind: {to: 2ep}}
    """

    kind: ClassVar[str] = "lr-rewind"
    quick: ClassVar[bool] = True
    keeps_counts: ClassVar[bool] = True
    main: ClassVar[str | None] = "to"

    to: str = "init"

    def __post_init__(self) -> None:
        if self.to != "init" and not is_length(self.to):
            raise ValueError(f"to must be 'init' or a point of the schedule such as '500it' or '80ep', got {self.to!r}")

    def traits(self) -> Mapping[str, str]:
        """Return how is retrained from here on."""
        return {"retraining": "lr-rewind"}

    def run(self, start: Checkpoint, context: Context) -> Outcome:
        """Return ``start`` with another position in the schedule."""
        return Outcome(dataclasses.replace(start, position=START if self.to == "init" else Length.of(self.to)))
