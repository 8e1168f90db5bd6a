"""What a schedule is: the learning rate of each iteration, as a factor of ``lr``."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Protocol

from overparam.errors import SpecError, in_words
from overparam.registry import Registry


class Schedule(Protocol):
    """The factor of the learning rate, a pure function."""

    def __call__(self, iteration: int, total: int, per_epoch: int) -> float:
        """Return the factor, finite and >= 0, at ``iteration`` (0 is the first) of ``total``.

        One epoch has ``per_epoch`` iterations.
        """
        ...


SCHEDULES: Registry[Schedule] = Registry("schedule", "a function (iteration, total, per_epoch) -> factor of lr")


def learning_rate(schedule: Any, lr: float, total: int, per_epoch: int, warmup: int = 0) -> Callable[[int], float]:
    """Return the learning rate as a function of the iteration, 0 being the first.

    Args:
        schedule: what :data:`SCHEDULES` resolves.
        lr: the rate that the factors are of.
        total: iterations of the whole training.
        per_epoch: iterations of an epoch.
        warmup: iterations over which the rate rises linearly from 0 to its scheduled value.

    Raises:
        SpecError: a schedule that fails, or gives no finite number >= 0; also later, at the iteration that it fails at.
    """
    factor = SCHEDULES.resolve(schedule)

    def at(iteration: int) -> float:
        try:
            found = float(factor(iteration, total, per_epoch))
        except SpecError:
            raise
        except Exception as error:  # the user's own code may raise anything
            raise SpecError(f"schedule {SCHEDULES.label(schedule)} failed with {in_words(error)}") from error
        if not (math.isfinite(found) and found >= 0):
            raise SpecError(
                f"schedule {SCHEDULES.label(schedule)} must give a finite factor >= 0, got {found} at iteration "
                f"{iteration} of {total}"
            )
        rate = lr * found
        return rate * (iteration + 1) / warmup if iteration < warmup else rate

    at(0)
    return at
