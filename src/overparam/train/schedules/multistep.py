"""Multistep: drops at milestones."""

from typing import Annotated

from pydantic import Field

from overparam.errors import SpecError
from overparam.length import Length
from overparam.spec import spec
from overparam.train.schedules.base import SCHEDULES


@SCHEDULES.named("multistep")
@spec
class Multistep:
    """``gamma`` to the power of the milestones that are reached, which increase; a bare number means epochs.

    Args:
        milestones: points of the training, such as 30 (epochs), ``30ep`` or ``5000it``, at least one.
        gamma: the factor at each of them.

    Example:
        {multistep: {milestones: [30, 45], gamma: 0.1}}
    """

    milestones: Annotated[tuple[Length, ...], Field(min_length=1)]
    gamma: Annotated[float, Field(gt=0)] = 0.1

    def __call__(self, iteration: int, total: int, per_epoch: int) -> float:
        """Return the factor; raises :class:`SpecError` for milestones that do not increase."""
        drops = [milestone.iterations(per_epoch) for milestone in self.milestones]
        if drops != sorted(set(drops)):
            given = ", ".join(map(str, self.milestones))
            raise SpecError(f"milestones must increase, got {given} (at {per_epoch} iterations an epoch)")
        return float(self.gamma ** sum(iteration >= drop for drop in drops))
