"""Constant: the same rate throughout."""

from overparam.spec import spec
from overparam.train.schedules.base import SCHEDULES


@SCHEDULES.named("constant")
@spec
class Constant:
    """The same learning rate at every iteration."""

    def __call__(self, iteration: int, total: int, per_epoch: int) -> float:
        """Return 1."""
        return 1.0
