"""Networks under each kind of constraint, those of one's own too."""

from __future__ import annotations

from collections.abc import Callable

import torch
from own_constraint import Signs
from torch import Tensor

from overparam import Checkpoint
from overparam.constraints import SRSTE, Constraint, Frozen, Masked, Quantised, Supermask, Uniform
from overparam.prune import NofM
from overparam.streams import torch_stream
from overparam.worlds import WorldData
from small import CONV, begin, built, images

DATA: WorldData = built(images())


def drawn(weight: Tensor, purpose: str) -> Tensor:
    return torch.rand(weight.shape, generator=torch_stream(0, purpose, *weight.shape))


def half(weight: Tensor) -> Tensor:
    return drawn(weight, "mask") < 0.5


def all_of(weight: Tensor) -> Tensor:
    return torch.ones_like(weight, dtype=torch.bool)


CASES: dict[str, Callable[[Tensor], Constraint]] = {
    "masked": lambda weight: Masked(half(weight)),
    "frozen": lambda weight: Frozen(half(weight), drawn(weight, "values") - 0.5),
    "frozen, all kept": lambda weight: Frozen(all_of(weight), weight),
    "supermask": lambda weight: Supermask(0.1 * drawn(weight, "scores"), weight, 0.4),
    "supermask, drawn": lambda weight: Supermask(drawn(weight, "scores") - 0.5, weight, rescale="count"),
    "supermask, weights too": lambda w: Supermask(0.1 * drawn(w, "scores"), w, 0.4, True, "variance"),
    "supermask, sigmoid": lambda w: Supermask(drawn(w, "scores") - 0.5, w, gate="sigmoid", temperature=0.5),
    "supermask, concrete": lambda w: Supermask(
        drawn(w, "scores") - 0.5, w, rescale="variance", gate="concrete", l0=1e-3
    ),
    "supermask, bernoulli to a density": lambda w: Supermask(0.1 * drawn(w, "scores"), w, 0.4, gate="bernoulli"),
    "quantised": lambda weight: Quantised(weight, all_of(weight), Uniform(4)),
    "quantised, pruned": lambda weight: Quantised(weight, half(weight), Uniform(3)),
    "sr-ste": lambda weight: Masked(all_of(weight)) if weight.shape[1] % 2 else SRSTE(weight, NofM(1, 2), 0.1),
    "of one's own": Signs,
}
KINDS = {"masked", "frozen", "supermask", "quantised", "sr-ste"}


def start(case: str) -> Checkpoint:
    """A network with batch norm and dropout, all its weights under constraints of the case."""
    init = begin(CONV, DATA)
    return init.constrained({name: CASES[case](init.state[name]) for name in init.masks})
