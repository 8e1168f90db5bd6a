"""The step that begins again from values made of the initial ones: what of an initial value matters?"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
from torch import Tensor

from overparam.checkpoint import Checkpoint
from overparam.length import START
from overparam.spec import spec
from overparam.steps.base import STEPS, Context, Outcome, Step
from overparam.steps.hold import toward_zero
from overparam.streams import torch_stream

Values = Literal["rewind", "reinit", "reshuffle", "constant", "zero-if-toward"]


@STEPS.named("restart")
@spec
class Restart(Step):
    """Begin again from values made of the initial ones: permuted, constant or the same, with or without their signs.

    All else goes back to the initialisation, as by ``rewind``; the schedule starts anew, the masks stay.

    Reference: Zhou et al. 2019, "Deconstructing Lottery Tickets", arXiv:1905.01067, section 3 (mask-1 actions).

    Args:
        values: what kept weights become, in each tensor that can be pruned: ``rewind``: their initial values;
            ``reinit``: any of all the tensor's initial values, permuted (the distribution of a new initialisation);
            ``reshuffle``: the initial values of those that are kept, permuted among them; ``constant``: plus or minus
            the standard deviation of the tensor's initial values; ``zero-if-toward``: 0 for those that the training
            before has moved toward zero, their initial values for the others.
        signs: ``kept``: each weight has the sign that it had at first; ``drawn``: signs are permuted with the
            magnitudes, or drawn at random where nothing is permuted.
        rescale: multiply by n / k, k of the n weights of a tensor being kept.

    Example:
        {restart: {values: constant, signs: kept}}
    """

    kind: ClassVar[str] = "restart"
    quick: ClassVar[bool] = True
    keeps_counts: ClassVar[bool] = True
    main: ClassVar[str | None] = "values"

    values: Values = "rewind"
    signs: Literal["kept", "drawn"] = "kept"
    rescale: bool = False

    def references(self) -> tuple[str, ...]:
        """Return the initialisation, and the training before where it is looked at."""
        return ("init", "previous") if self.values == "zero-if-toward" else ("init",)

    def traits(self) -> Mapping[str, str]:
        """Return from which values is retrained from here on."""
        return {"retraining": f"{self.values}, signs {self.signs}"}

    def run(self, start: Checkpoint, context: Context) -> Outcome:
        """Return ``start``'s masks over the values; what is drawn has a stream of its own for each tensor."""
        counted, state = start.counted(self.kind), context.given["init"].checkpoint.beneath()
        for name, mask in start.masks.items():
            stream = torch_stream(context.seed, self.kind, counted.count(self.kind), name)
            made = self._made(state[name], mask, stream)
            if self.values == "zero-if-toward":
                last = context.given["previous"].checkpoint.state[name]
                made = made.masked_fill(toward_zero(state[name], last), 0)
            state[name] = made * (mask.numel() / max(1, int(mask.sum()))) if self.rescale else made
        return Outcome(dataclasses.replace(counted.with_state(state), position=START))

    def _made(self, first: Tensor, mask: Tensor, stream: torch.Generator) -> Tensor:
        """Return the new values of a whole tensor."""
        made = first.clone()
        if self.values == "constant":
            made = first.std(unbiased=False).copysign(first) if first.numel() else made
        elif self.values in ("reinit", "reshuffle"):
            among = torch.ones_like(mask) if self.values == "reinit" else mask
            made[among] = first[among][torch.randperm(int(among.sum()), generator=stream)]
        if self.signs == "kept":
            return made.copysign(first)
        if self.values in ("reinit", "reshuffle"):
            return made
        return made.copysign(torch.rand(made.shape, generator=stream) - 0.5)
