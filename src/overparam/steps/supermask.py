"""The step from which on training learns which weights are kept, and not the weights."""

import math
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from overparam import constraints
from overparam.checkpoint import Checkpoint
from overparam.constraints import Constraint, Frozen
from overparam.constraints.supermask import Gate, Rescale, check_gate
from overparam.errors import SpecError
from overparam.spec import spec
from overparam.steps.base import STEPS, Context, Outcome
from overparam.steps.constrain import Constrain
from overparam.streams import torch_stream


@STEPS.named("supermask")
@spec
class Supermask(Constrain):
    """Learn a mask: the trainings that follow move a score for each weight and leave the weights as they are.

    The step ``hold: zero`` ends it and keeps the mask. See :class:`overparam.constraints.Supermask` for the gates.

    Args:
        density: share of each tensor that is kept, in (0, 1], those with the highest scores. Without it a mask
            is drawn in each iteration, with the chance ``sigmoid(score)`` for each weight.
        train_weights: whether weights are trained as well as scores.
        rescale: what is kept is multiplied by n / k (``count``) or its root (``variance``), k of n being kept.
        others: whether biases, norms and all else that cannot be pruned is ``frozen`` or ``trained``.
        gate: ``bernoulli``, ``top-k``, ``sigmoid`` or ``concrete``; None: ``top-k`` with a density, else ``bernoulli``.
        temperature: of ``sigmoid`` and ``concrete``.
        l0: penalty on the expected number of kept weights.
        score: what all scores start at, ``sigmoid(score)`` being a weight's chance; None: they start uniform in plus
            and minus ``1 / sqrt(inputs)``, drawn from a stream of their own. ``top-k`` cannot tell equal scores apart.

    Example:
        {supermask: {density: 0.5, rescale: variance}}
    """

    kind: ClassVar[str] = "supermask"
    version: ClassVar[int] = 2  # 2: gates; a chance of exactly a half is kept
    quick: ClassVar[bool] = True
    main: ClassVar[str | None] = "density"

    density: Annotated[float, Field(gt=0, le=1)] | None = None
    train_weights: bool = False
    rescale: Rescale | None = None
    others: Literal["frozen", "trained"] = "frozen"
    gate: Gate | None = None
    temperature: Annotated[float, Field(gt=0)] = 2 / 3
    l0: float = 0.0
    score: float | None = None

    def __post_init__(self) -> None:
        check_gate(self.gate, self.density, self.l0)

    def constraint(self, name: str, start: Checkpoint, context: Context) -> Constraint:
        """Return the weight under new scores."""
        weight = start.constraints[name].beneath(start.state[name])
        if not bool(start.masks[name].all()):
            raise SpecError(f"supermask: {name!r} is pruned already, and scores choose from all weights; redense first")
        own = (self.density, self.train_weights, self.rescale, self.gate, self.temperature, self.l0)
        return constraints.Supermask(self._scores(name, weight, start, context), weight, *own)

    def _scores(self, name: str, weight: Tensor, start: Checkpoint, context: Context) -> Tensor:
        if self.score is not None:
            return torch.full_like(weight, self.score)
        bound = 1 / math.sqrt(max(1, weight[:1].numel()))
        stream = torch_stream(context.seed, "supermask", start.count(self.kind), name)
        return torch.empty_like(weight).uniform_(-bound, bound, generator=stream)

    def run(self, start: Checkpoint, context: Context) -> Outcome:
        """Return ``start`` under its supermask."""
        if self.others == "frozen":
            rest = [name for name in start.roles if name not in start.constraints]
            start = start.constrained({name: Frozen(None, start.state[name]) for name in rest})
        return Outcome(super().run(start, context).checkpoint)
