"""The step that puts masks elsewhere: the control of every claim about which weights are kept."""

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from overparam.checkpoint import Checkpoint
from overparam.prune.groups import structure
from overparam.spec import spec
from overparam.steps.base import STEPS, Context, Outcome, Step
from overparam.streams import torch_stream


@STEPS.named("shuffle")
@spec
class Shuffle(Step):
    """Permute the mask within each layer: as many weights as before, in random places.

    A control of tickets and of pruning at initialisation: what is left of an advantage was in the densities of the
    layers. Weights are permuted one by one: whole units, heads and N:M are structure no more, which a note says. What
    comes back is zero until a ``rewind`` or ``reinit`` gives it a value, as one of them should after this.

    Reference: Frankle, Dziugaite, Roy & Carbin, ICLR 2021, "Pruning Neural Networks at Initialization: Why Are We
    Missing the Mark?", arXiv:2009.08576.
    """

    kind: ClassVar[str] = "shuffle"
    quick: ClassVar[bool] = True
    keeps_counts: ClassVar[bool] = True

    def traits(self) -> Mapping[str, str]:
        """Return that masks are not where a criterion put them."""
        return {"mask": "shuffled"}

    def run(self, start: Checkpoint, context: Context) -> Outcome:
        """Return ``start`` under permuted masks; each ``shuffle`` of a chain draws anew."""
        draw = start.count(self.kind)
        masks = {
            name: _permuted(mask, torch_stream(context.seed, "shuffle", draw, name))
            for name, mask in start.masks.items()
        }
        return Outcome(start.masked(masks).counted(self.kind), notes=_scattered(start.masks))


def _scattered(masks: Mapping[str, Tensor]) -> list[str]:
    """Say which masks had a structure."""
    found = {name: what for name, mask in masks.items() if (what := structure(mask))}
    if not found:
        return []
    each = ", ".join(f"{name!r} ({what})" for name, what in found.items())
    return [
        f"shuffle: single weights are permuted, so the pattern of {each} is gone: a control of the count alone; for "
        "one in the pattern, prune with criterion: random"
    ]


def _permuted(mask: Tensor, stream: torch.Generator) -> Tensor:
    return mask.flatten()[torch.randperm(mask.numel(), generator=stream)].reshape(mask.shape)
