"""Learning-rate schedules: pure functions of the iteration."""

from __future__ import annotations

import math
from collections.abc import Callable

from overparam.errors import SpecError
from overparam.train.settings import TrainSettings

Schedule = Callable[[int], float]


def learning_rate(settings: TrainSettings, per_epoch: int) -> Schedule:
    """Return the learning rate as a function of the iteration (0 is the first), one epoch having ``per_epoch``.

    Raises :class:`SpecError` for milestones that do not increase.
    """
    total = settings.duration.iterations(per_epoch)
    drops = [milestone.iterations(per_epoch) for milestone in settings.milestones]
    if drops != sorted(set(drops)):
        given = ", ".join(map(str, settings.milestones))
        raise SpecError(f"train.milestones must increase, got {given} (at {per_epoch} iterations an epoch)")
    warmup = settings.warmup.iterations(per_epoch) if settings.warmup else 0

    def at(iteration: int) -> float:
        if settings.schedule == "cosine":
            rate = settings.lr * 0.5 * (1 + math.cos(math.pi * min(iteration / total, 1.0)))
        else:
            rate = settings.lr * settings.gamma ** sum(iteration >= drop for drop in drops)
        return rate * (iteration + 1) / warmup if iteration < warmup else rate

    return at
