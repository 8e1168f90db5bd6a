"""Gradual pruning: density falls to its goal while the network trains."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field
from torch import Tensor

from overparam.errors import SpecError
from overparam.prune import CRITERIA, SCOPES, Evidence, Scores, count_kept, exact_count, new_masks
from overparam.prune.masks import Masks, density
from overparam.spec import spec
from overparam.train.events.base import EVENTS, Event, Moment


@EVENTS.named("gradual")
@spec
class Gradual(Event):
    """Gradual magnitude pruning: the density falls by a power of the time that is left (Zhu & Gupta 2017).

    At progress p in [0, 1] it is ``density + (initial - density) * (1 - p) ** power``, or what it was, if that is less;
    nothing grows.

    Args:
        density: the goal, in (0, 1]; of the weights that are not excluded.
        initial: the density from which it comes.
        power: 3 in the paper, arXiv:1710.01878, equation 1.
        criterion, scope: as in ``prune``.

    Example:
        {gradual: {density: 0.1, start: 2ep, until: 20ep}}
    """

    density: Annotated[float, Field(gt=0, le=1)] = 0.1
    initial: Annotated[float, Field(gt=0, le=1)] = 1.0
    power: Annotated[float, Field(gt=0)] = 3.0
    criterion: Annotated[Any, CRITERIA] = "magnitude"
    scope: Annotated[Any, SCOPES] = "global"

    def masks(self, seen: Evidence, masks: Masks, moment: Moment) -> dict[str, Tensor]:
        """Prune to the density of the moment."""
        size, left = sum(mask.numel() for mask in masks.values()), count_kept(masks)
        if exact_count(self.density, size) > left:
            raise SpecError(f"event Gradual: density {self.density} is more than what is left, {left / size:.3g}")
        goal = self.density + (self.initial - self.density) * (1 - moment.progress) ** self.power
        if goal >= density(masks):
            return dict(masks)
        scores = Scores.of(CRITERIA.resolve(self.criterion)(seen)).alone()
        return new_masks(scores, masks, moment.roles, density=goal, scope=self.scope)
