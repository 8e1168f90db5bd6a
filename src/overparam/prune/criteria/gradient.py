"""Gradient: weights whose removal would change the loss matter."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from overparam.prune.criteria.base import CRITERIA
from overparam.prune.evidence import Evidence


@CRITERIA.named("gradient")
@dataclass(frozen=True)
class Gradient:
    """First-order loss change when the weight is set to zero, |w * dL/dw|; of untrained weights, SNIP.

    ``snip`` is another name for it: the connection sensitivity |dL/dc| of a switch c = 1 on each weight is just this,
    and pruning by it before training is SNIP, on one mini-batch or, with less noise, on more (``batches``).

    The score is in units of the loss in every tensor, so tensors can be ranked together. A weight or a
    gradient of exactly zero scores 0. Half precision is multiplied in float32, where small products do not
    vanish. The gradient is that of one random training mini-batch, noisy labels included, with the model in
    train mode.

    References: He et al., ICML 2022, https://arxiv.org/abs/2206.08684 (the "gradient" criterion of their code);
    Lee, Ajanthan & Torr, ICLR 2019, https://arxiv.org/abs/1810.02340 (SNIP, eq. 6, before its normalisation)
    """

    def __call__(self, seen: Evidence) -> dict[str, Tensor]:
        """Return |w * dL/dw| for every tensor; raises :class:`SpecError` where a gradient is missing."""
        scores = {}
        for name, weight in seen.weights.items():
            dtype = torch.promote_types(weight.dtype, torch.float32)
            scores[name] = (weight.to(dtype) * seen.gradient(name).to(dtype)).abs()
        return scores


CRITERIA.register("snip", Gradient)
