"""What the criteria share that keep the outputs of each layer close."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from torch import Tensor

from overparam.prune.criteria.base import Later
from overparam.prune.layer_problem import LayerProblem
from overparam.prune.masks import Masks
from overparam.prune.surgeon import refit

Rows = Callable[..., Tensor]


def relative_costs(problems: Sequence[LayerProblem], costs: Rows) -> Later:
    """Return ``costs(curvature, weights, alive)`` of each layer's rows, as a share of what its outputs have.

    So layers can be ranked together: a score is the relative error of a layer's outputs.
    """

    def take() -> dict[str, Tensor]:
        found: dict[str, Tensor] = {}
        for each in problems:
            share = 1 / each.energy if each.energy else 0.0
            found |= {name: cost * share for name, cost in each.each_group(costs, each.alive).items()}
        return found

    return Later([name for each in problems for name in each.names], take)


def moved(problems: Sequence[LayerProblem], move: Rows = refit) -> Callable[[Masks], Mapping[str, Tensor]]:
    """Return what gives ``move(curvature, weights, kept)`` of each layer's rows under masks."""

    def values(masks: Masks) -> dict[str, Tensor]:
        found: dict[str, Tensor] = {}
        for each in problems:
            if each.name in masks:
                found |= each.each_group(move, each.rows(masks))
        return found

    return values
