"""Rewiring: in each layer weak connections go and as many grow elsewhere, so density stays what it is."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import Field
from torch import Tensor

from overparam.prune import CRITERIA, Evidence, Scores, count_kept, keep_top
from overparam.prune.masks import Masks
from overparam.spec import spec
from overparam.train.events.base import EVENTS, Event, Moment


@EVENTS.named("rewire")
@spec
class Rewire(Event):
    """Drop a share of each layer's weights and grow as many; what was just dropped may grow again.

    Args:
        drop: the criterion by which the lowest-scored weights go.
        grow: the criterion by which the highest-scored of those that are not there come.
        fraction: share of a layer's weights that is exchanged at first, in [0, 1), rounded down.
        decay: ``cosine``, down to none at the end, or ``constant``.

    Example:
        {rewire: {grow: random, fraction: 0.2, every: 1ep}}
    """

    drop: Annotated[Any, CRITERIA] = "magnitude"
    grow: Annotated[Any, CRITERIA] = "random"
    fraction: Annotated[float, Field(ge=0, lt=1)] = 0.3
    decay: Literal["cosine", "constant"] = "cosine"

    def masks(self, seen: Evidence, masks: Masks, moment: Moment) -> dict[str, Tensor]:
        """Exchange weights layer by layer."""
        weak, strong = (Scores.of(CRITERIA.resolve(criterion)(seen)).alone() for criterion in (self.drop, self.grow))
        share = self.fraction * (0.5 * (1 + math.cos(math.pi * moment.progress)) if self.decay == "cosine" else 1.0)
        made = {}
        for name, mask in masks.items():
            kept = count_kept({name: mask})
            moved = min(int(share * kept), mask.numel() - kept)
            stay = keep_top(weak, {name: mask}, kept - moved, allow_empty=True)[name]
            grown = keep_top(strong, {name: ~stay}, moved, allow_empty=True)[name]
            made[name] = stay | grown
        return made
