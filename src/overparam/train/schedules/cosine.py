"""Cosine: down to 0 at the end."""

import math

from overparam.spec import spec
from overparam.train.schedules.base import SCHEDULES


@SCHEDULES.named("cosine")
@spec
class Cosine:
    """Half a cosine from 1 to 0 over the whole training (Loshchilov & Hutter, ICLR 2017, without restarts)."""

    def __call__(self, iteration: int, total: int, per_epoch: int) -> float:
        """Return ``(1 + cos(pi * iteration / total)) / 2``."""
        return 0.5 * (1 + math.cos(math.pi * min(iteration / total, 1.0)))
