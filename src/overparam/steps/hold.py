"""The step that says at which values pruned weights are held."""

from dataclasses import replace
from typing import ClassVar, Literal

import torch
from torch import Tensor

from overparam.checkpoint import Checkpoint
from overparam.constraints import Constraint, Frozen, Masked
from overparam.spec import spec
from overparam.steps.base import STEPS, Context, Outcome
from overparam.steps.constrain import Constrain
from overparam.streams import torch_stream

At = Literal["zero", "initial", "present", "zero-if-toward", "zero-if-away", "zero-at-random"]


@STEPS.named("hold")
@spec
class Hold(Constrain):
    """Hold pruned weights, and those that later steps prune, at zero, at their initial or at their present values.

    They are not moved by anything that follows: training, rewinding or a new initialisation. Without this step they are
    held at zero.

    Reference: Zhou et al. 2019, "Deconstructing Lottery Tickets", arXiv:1905.01067, section 4 (mask-0 actions).

    Args:
        at: ``zero``; ``initial`` (the values that the chain began with); ``present`` (those at this step). ``zero``
            also ends any other constraint: what is kept now, and no more, is trained as it is. The rest is said of the
            weights that were pruned since the training before, as by ``[train, prune, {hold: ...}]``, and leaves those
            pruned earlier where they are held: ``zero-if-toward``: at 0 what that training had moved toward zero, the
            others at their initial values; ``zero-if-away``: the reverse; ``zero-at-random``: as many at 0 as by
            ``zero-if-toward``, whichever. What is pruned later is then held at its initial value.

    Example:
        {hold: {at: initial}}
    """

    kind: ClassVar[str] = "hold"
    quick: ClassVar[bool] = True
    main: ClassVar[str | None] = "at"

    at: At = "initial"

    def references(self) -> tuple[str, ...]:
        """Return the initialisation, and the training before, where they are needed."""
        if self.at in ("zero", "present"):
            return ()
        return ("init",) if self.at == "initial" else ("init", "previous")

    def run(self, start: Checkpoint, context: Context) -> Outcome:
        """Return ``start`` with pruned weights held; with ``zero``, what was frozen whole is free again."""
        if self.at == "zero":
            left = start.masks.keys() | self.spared(context)
            start = replace(start, constraints={n: each for n, each in start.constraints.items() if n in left})
        return super().run(start, context)

    def constraint(self, name: str, start: Checkpoint, context: Context) -> Constraint:
        """Return a plain mask, or one whose pruned weights are frozen."""
        if self.at == "zero":
            return Masked(start.masks[name])
        if self.at == "present":
            return Frozen(start.masks[name], start.state[name])
        first = context.given["init"].checkpoint.state[name]
        if self.at != "initial":
            first = self._just_pruned(name, first, start, context)
        return Frozen(start.masks[name], first)

    def _just_pruned(self, name: str, first: Tensor, start: Checkpoint, context: Context) -> Tensor:
        """Return the initial values, but zeros among those just pruned, and what was pruned before as it is held."""
        before, mask = context.given["previous"].checkpoint, start.masks[name]
        pruned = before.masks[name] & ~mask
        zero = pruned & toward_zero(first, before.state[name])
        if self.at == "zero-if-away":
            zero = pruned & ~zero
        elif self.at == "zero-at-random":
            stream = torch_stream(context.seed, self.kind, start.count(self.kind), name)
            drawn = torch.randperm(int(pruned.sum()), generator=stream) < int(zero.sum())
            zero = pruned.masked_scatter(pruned, drawn)
        return torch.where(mask | pruned, first.masked_fill(zero, 0), start.state[name])


def toward_zero(first: Tensor, last: Tensor) -> Tensor:
    """Return which weights are nearer to zero last than first."""
    return last.abs() < first.abs()
