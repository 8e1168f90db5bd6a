"""WoodFisher: Optimal Brain Surgeon in blocks of weights, by gradients of single examples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from overparam.prune.criteria.base import CRITERIA, Scores
from overparam.prune.evidence import Evidence
from overparam.prune.masks import Masks
from overparam.spec import spec


@CRITERIA.named("woodfisher")
@spec
class WoodFisher:
    """Second-order loss change when the weight goes and its block makes up for it, w^2 / 2 / (F^-1)_qq.

    F is the empirical Fisher matrix, the mean of ``g g'`` over gradients of single examples, in blocks along each
    tensor. What stays of a block moves by the sum of what each single deletion asks for, as in the published code.
    With N examples only N x N matrices are inverted (Woodbury), so a block costs no more than its weights.

    Args:
        block: weights of a tensor, in the order of their positions, that make up for each other.
        damping: added to the diagonal; the paper's experiments have 1e-5.

    Reference: Singh & Alistarh, NeurIPS 2020, arXiv:2004.14340

    Example:
        {woodfisher: {block: 100}}
    """

    block: Annotated[int, Field(ge=1)] = 1000
    damping: Annotated[float, Field(gt=0)] = 1e-5

    def __call__(self, seen: Evidence) -> Scores:
        """Return rises of the loss, and the moved values."""
        rows = [*seen.roots("fisher")]
        alive = {name: seen.alive(name).to(weight.device) for name, weight in seen.weights.items()}
        blocks = {
            name: [
                _Block(*part, self.damping)
                for part in zip(
                    torch.split(weight.flatten().double(), self.block),
                    torch.split(torch.cat([each[name] for each in rows]) * alive[name].flatten(), self.block, 1),
                    strict=True,
                )
            ]
            for name, weight in seen.weights.items()
        }

        def values(masks: Masks) -> Mapping[str, Tensor]:
            return {
                name: _joined(
                    [
                        block.without(~kept)
                        for block, kept in zip(each, torch.split(masks[name].flatten(), self.block), strict=True)
                    ],
                    seen.weights[name],
                )
                for name, each in blocks.items()
            }

        scores = {name: _joined([block.rises() for block in each], seen.weights[name]) for name, each in blocks.items()}
        return Scores(scores, values)


def _joined(parts: Sequence[Tensor], like: Tensor) -> Tensor:
    return torch.cat([*parts, like.new_zeros(0, dtype=torch.float64)]).reshape(like.shape)


@dataclass(frozen=True)
class _Block:
    """Weights ``(d,)`` under the curvature ``R'R + damping``, of R ``(examples, d)``."""

    weights: Tensor
    root: Tensor
    damping: float

    @cached_property
    def _factor(self) -> Tensor:
        inner = self.root @ self.root.mT
        inner.diagonal().add_(self.damping)
        factor: Tensor = torch.linalg.cholesky(inner)
        return factor

    @cached_property
    def _diagonal(self) -> Tensor:
        """The diagonal of the inverse."""
        half: Tensor = torch.linalg.solve_triangular(self._factor, self.root, upper=False)
        return (1 - half.square().sum(0)).clamp(min=torch.finfo(torch.float64).eps) / self.damping

    def rises(self) -> Tensor:
        return self.weights.square() / (2 * self._diagonal)

    def without(self, gone: Tensor) -> Tensor:
        """Return the weights after the deletions in ``gone``, whose updates are added up."""
        pushes = torch.where(gone.to(self.weights.device), -self.weights / self._diagonal, 0.0)
        inner = torch.cholesky_solve((self.root @ pushes)[:, None], self._factor)[:, 0]
        return self.weights + (pushes - self.root.mT @ inner) / self.damping
