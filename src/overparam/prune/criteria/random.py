"""Random: the control; no weight matters more than another."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from overparam.networks.units import Group
from overparam.prune.criteria.base import CRITERIA, Scores
from overparam.prune.evidence import Evidence
from overparam.streams import torch_stream


@CRITERIA.named("random")
@dataclass(frozen=True)
class Random:
    """Uniform draw from [0, 1), whatever the weight.

    Each tensor has its own stream ``(seed, "prune", draw, tensor name)``: tensors of equal shape draw
    different numbers, and their order does not matter. The scores are float64 (ties are then as good as
    impossible), on the CPU.

    Reference: He et al., ICML 2022, https://arxiv.org/abs/2206.08684; unlike their code, where tensors of
    equal shape get equal scores.
    """

    def __call__(self, seen: Evidence) -> Scores:
        """Return uniform draws for every tensor."""
        scores = {
            name: torch.rand(
                weight.shape,
                generator=torch_stream(seen.seed, "prune", seen.draw, name),
                dtype=torch.float64,
            )
            for name, weight in seen.weights.items()
        }

        def unit(group: Group) -> float:
            first = min(group.outputs)
            generator = torch_stream(seen.seed, "prune", seen.draw, first.path, first.position)
            return float(torch.rand((), generator=generator, dtype=torch.float64))

        return Scores(scores, units=unit)
