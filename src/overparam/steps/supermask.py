"""The step from which on training learns which weights are kept, and not the weights."""

import math
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field

from overparam import constraints
from overparam.checkpoint import Checkpoint
from overparam.constraints import Constraint, Frozen
from overparam.errors import SpecError
from overparam.spec import spec
from overparam.steps.base import STEPS, Context, Outcome
from overparam.steps.constrain import Constrain
from overparam.streams import torch_stream


@STEPS.named("supermask")
@spec
class Supermask(Constrain):
    """Learn a mask: the trainings that follow move a score for each weight and leave the weights as they are.

    Scores start uniform in plus and minus ``1 / sqrt(inputs)``, drawn from a stream of their own. The step
    ``hold: zero`` ends it and keeps the mask. See :class:`overparam.constraints.Supermask`.

    Args:
        density: share of each tensor that is kept, in (0, 1], those with the highest scores. Without it a mask
            is drawn in each iteration, with the chance ``sigmoid(score)`` for each weight.
        train_weights: whether weights are trained as well as scores.
        rescale: what is kept is multiplied by n / k (``count``) or its root (``variance``), k of n being kept.
        others: whether biases, norms and all else that cannot be pruned is ``frozen`` or ``trained``.
    """

    kind: ClassVar[str] = "supermask"
    main: ClassVar[str | None] = "density"

    density: Annotated[float, Field(gt=0, le=1)] | None = None
    train_weights: bool = False
    rescale: Literal["count", "variance"] | None = None
    others: Literal["frozen", "trained"] = "frozen"

    def constraint(self, name: str, start: Checkpoint, context: Context) -> Constraint:
        """Return the weight under new scores."""
        weight = start.constraints[name].beneath(start.state[name])
        if not bool(start.masks[name].all()):
            raise SpecError(f"supermask: {name!r} is pruned already, and scores choose from all weights; redense first")
        bound = 1 / math.sqrt(max(1, weight[:1].numel()))
        stream = torch_stream(context.seed, "supermask", start.count(self.kind), name)
        scores = torch.empty_like(weight).uniform_(-bound, bound, generator=stream)
        return constraints.Supermask(scores, weight, self.density, self.train_weights, self.rescale)

    def run(self, start: Checkpoint, context: Context) -> Outcome:
        """Return ``start`` under its supermask."""
        if self.others == "frozen":
            rest = [name for name in start.roles if name not in start.constraints]
            start = start.constrained({name: Frozen(None, start.state[name]) for name in rest})
        return Outcome(super().run(start, context).checkpoint)
