"""Pruning one layer: to keep its outputs close, given what it reads, is a quadratic problem in each row of weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from overparam.prune.evidence import Evidence
from overparam.prune.masks import Masks
from overparam.prune.surgeon import damped


@dataclass(frozen=True)
class LayerProblem:
    """A linear layer or convolution whose outputs are to stay close, ``|X (w - v)|^2 / n`` for each row ``w``.

    Attributes:
        name: of its weights.
        bias: the name of its bias, if that is scored, too: the last column then.
        shape: of its weights.
        weights: ``(groups, rows, d)``, float64; zero for inputs that are always zero.
        alive: bool, alike.
        curvature: ``(groups, d, d)``: second moments of the inputs, damped.
    """

    name: str
    bias: str | None
    shape: tuple[int, ...]
    weights: Tensor
    alive: Tensor
    curvature: Tensor

    @property
    def names(self) -> tuple[str, ...]:
        """The tensors that are scored."""
        return (self.name,) if self.bias is None else (self.name, self.bias)

    @property
    def energy(self) -> float:
        """Half the mean square of the layer's outputs, summed over outputs: what it would cost to delete it all."""
        return float((self.weights @ self.curvature * self.weights).sum()) / 2

    def named(self, rows: Tensor) -> dict[str, Tensor]:
        """Return ``(groups, rows, d)`` as tensors shaped like the layer's own, by name."""
        if self.bias is None:
            return {self.name: rows.reshape(self.shape)}
        return {self.name: rows[..., :-1].reshape(self.shape), self.bias: rows[..., -1].reshape(-1)}

    def rows(self, masks: Masks) -> Tensor:
        """Return the masks of the layer's tensors as ``(groups, rows, d)``."""
        return _rows(masks, self.name, self.bias, len(self.curvature)).to(self.weights.device)

    def each_group(self, take: Callable[..., Tensor], *others: Tensor) -> dict[str, Tensor]:
        """Return what ``take`` makes of curvature, weights and ``others`` of each group, by name."""
        groups = zip(self.curvature, self.weights, *others, strict=True)
        return self.named(torch.stack([take(*group) for group in groups]))


def layer_problems(seen: Evidence, damping: float) -> list[LayerProblem]:
    """Return the problems of all layers whose inputs are known, in the order of their names."""
    return [_problem(seen, name, damping) for name in sorted(seen.weights) if name in seen.moments]


def _problem(seen: Evidence, name: str, damping: float) -> LayerProblem:
    bias = f"{name.removesuffix('weight')}bias"
    moments = seen.moments[name]
    found = bias if bias in seen.weights else None
    if found is None:
        moments = moments[..., :-1, :-1]
    weights = _rows(seen.weights, name, found, len(moments)).double()
    dead = moments.diagonal(dim1=1, dim2=2) == 0
    alive = _rows({n: seen.alive(n) for n in (name, found) if n}, name, found, len(moments)).to(weights.device)
    return LayerProblem(
        name,
        found,
        tuple(seen.weights[name].shape),
        weights.masked_fill(dead[:, None] | ~alive, 0.0),
        alive,
        damped(moments, damping),
    )


def _rows(tensors: Mapping[str, Tensor], name: str, bias: str | None, groups: int) -> Tensor:
    rows = tensors[name].flatten(1)
    if bias is not None:
        rows = torch.cat([rows, tensors[bias][:, None]], 1)
    made: Tensor = torch.unflatten(rows, 0, (groups, -1))
    return made
