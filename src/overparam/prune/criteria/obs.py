"""Optimal Brain Surgeon: what goes is made up for by all others, to second order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from overparam.errors import SpecError
from overparam.prune.criteria.base import CRITERIA, Later, Scores
from overparam.prune.evidence import Evidence
from overparam.prune.masks import Masks
from overparam.prune.roots import Kind
from overparam.prune.surgeon import eliminate, inverse, refit
from overparam.spec import spec

LARGEST = 10_000
"""Most weights whose curvature is held and inverted as one matrix: 800 megabytes."""


@CRITERIA.named("obs")
@spec
class OBS:
    """Second-order loss change when the weight goes and all others make up for it, w^2 / 2 / (H^-1)_qq.

    One weight after the other goes, each time the one that costs least, and the inverse follows exactly; a weight's
    score is the rise of the loss at its turn. What stays takes the values that are best for the masks, by the same
    curvature of the whole network. Biases take part if they are included.

    Args:
        curvature: ``gauss-newton``, or ``fisher``, the empirical one.
        damping: added to the diagonal, as the paper starts its recursion with 1e-8 to 1e-4.

    Reference: Hassibi & Stork, NIPS 1992 (Optimal Brain Surgeon)

    Example:
        {obs: {curvature: fisher, damping: 0.0001}}
    """

    curvature: Kind = "gauss-newton"
    damping: Annotated[float, Field(gt=0)] = 1e-6

    def __call__(self, seen: Evidence) -> Scores:
        """Return rises of the loss; raises :class:`SpecError` for more than 10,000 weights."""
        names = sorted(seen.weights)
        alive = {name: seen.alive(name).to(seen.weights[name].device).flatten() for name in names}
        whole = _flat(alive, names)
        if (count := int(whole.sum())) > LARGEST:
            raise SpecError(
                f"criterion obs inverts one matrix of all {count:,} weights, of which there can be {LARGEST:,}; "
                "exclude layers, or take one that goes by layers or blocks: exact-obs, sparsegpt, woodfisher"
            )
        parts = [torch.cat([rows[name][:, alive[name]] for name in names], 1) for rows in seen.roots(self.curvature)]
        curvature = torch.stack([part.mT @ part for part in parts]).sum(0)
        curvature.diagonal().add_(self.damping)
        weights = _flat(seen.weights, names)[whole].double()[None]

        def named(values: Tensor) -> dict[str, Tensor]:
            made = values.new_zeros(len(whole)).masked_scatter(whole, values)
            sizes = [seen.weights[name].numel() for name in names]
            return {n: p.reshape(seen.weights[n].shape) for n, p in zip(names, torch.split(made, sizes), strict=True)}

        def values(masks: Masks) -> Mapping[str, Tensor]:
            kept = _flat({name: masks[name].to(whole.device) for name in names}, names)[whole][None]
            return named(refit(curvature, weights, kept)[0])

        def rises() -> Mapping[str, Tensor]:
            return named(eliminate(inverse(curvature), weights, torch.ones_like(weights, dtype=torch.bool))[0])

        return Scores(Later(names, rises), values)


def _flat(tensors: Mapping[str, Tensor], names: list[str]) -> Tensor:
    return torch.cat([tensors[name].flatten() for name in names])
