"""SparseGPT: columns go from left to right, and those to the right make up for what went."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor

from overparam.prune.criteria.base import CRITERIA, Scores
from overparam.prune.criteria.layer_wise import moved, relative_costs
from overparam.prune.evidence import Evidence
from overparam.prune.layer_problem import layer_problems
from overparam.prune.surgeon import from_left_to_right, inverse
from overparam.spec import spec


@CRITERIA.named("sparsegpt")
@spec
class SparseGPT:
    """Rise of the layer's output error when the weight goes and its row to the right makes up for it.

    That is w^2 / 2 over the first element of the inverse of the columns from its own on, a share of the mean square of
    the layer's outputs. What stays is moved in one sweep over the columns, whose inverses serve all rows: the fast
    member of the family. All scores are of the weights as they were, whatever the pattern (the published code chooses
    each block of columns after those before it have moved it).

    Args:
        of: another criterion that chooses the weights instead, such as ``magnitude``.
        damping: of the second moments of the inputs, as a share of their mean diagonal.
        block: columns whose errors are handed on together; it changes nothing but the time.

    Reference: Frantar & Alistarh, ICML 2023, arXiv:2301.00774

    Example:
        {sparsegpt: {of: magnitude, block: 64}}
    """

    of: Annotated[Any, CRITERIA] = None
    damping: Annotated[float, Field(ge=0)] = 0.01
    block: Annotated[int, Field(ge=1)] = 128

    def __call__(self, seen: Evidence) -> Scores:
        """Return relative rises, or what the other criterion gives, and the moved values."""
        problems = layer_problems(seen, self.damping)
        scores = (
            relative_costs(problems, _costs) if self.of is None else Scores.of(CRITERIA.resolve(self.of)(seen)).each()
        )
        return Scores(scores, moved(problems, partial(from_left_to_right, block=self.block)))


def _costs(curvature: Tensor, weights: Tensor, alive: Tensor) -> Tensor:
    upper: Tensor = torch.linalg.cholesky(inverse(curvature), upper=True)
    return weights.square() / (2 * upper.diagonal().square())
