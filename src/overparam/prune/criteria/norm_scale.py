"""Norm scale: units matter that their batch norm scales up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from overparam.errors import SpecError
from overparam.networks.units import Group
from overparam.prune.criteria.base import CRITERIA, Scores
from overparam.prune.evidence import Evidence


@CRITERIA.named("norm-scale")
@dataclass(frozen=True)
class NormScale:
    """Size of the batch norm's scale behind a unit, |gamma|; it scores whole units, not single weights.

    Where several norms stand behind units that go together it is their mean. Training with ``l1: {norm: ...}`` makes
    scales comparable (Network Slimming).

    Reference: Liu et al., ICCV 2017, https://arxiv.org/abs/1708.06519
    """

    def __call__(self, seen: Evidence) -> Scores:
        """Return the scores of units; they raise :class:`SpecError` for a unit without a norm that has scales."""
        return Scores({}, units=lambda group: _mean_scale(group, seen.parameters))


def _mean_scale(group: Group, parameters: Mapping[str, Tensor]) -> float:
    scales = [parameters.get(place.name) for place in sorted(group.channels)]
    found = [
        float(scale[place.position].abs())
        for place, scale in zip(sorted(group.channels), scales, strict=True)
        if scale is not None and scale.dim() == 1  # a depth-wise convolution has more
    ]
    if not found:
        path = min(group.outputs).path
        raise SpecError(
            f"criterion norm-scale: no batch norm with a scale stands behind {path!r}; exclude '{path}.weight', or "
            "take another criterion"
        )
    return sum(found) / len(found)
