"""Criteria that look at where a weight began and where it is: any function of its first and last value."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from overparam.prune.criteria.base import CRITERIA
from overparam.prune.criteria.magnitude import Magnitude
from overparam.prune.evidence import Evidence

CRITERIA.register("large-final", Magnitude)


class FirstAndLast(ABC):
    """Base of criteria that score a weight by a function of its initial and its present value.

    Scores are in the unit of the weights, or shares of a tensor, so that tensors can be ranked together; the paper
    ranks each layer by itself. Equal scores are told apart by place, as everywhere in overparam, where the paper draws.

    Reference: Zhou et al. 2019, "Deconstructing Lottery Tickets", https://arxiv.org/abs/1905.01067, Figure 2
    """

    def references(self) -> tuple[str, ...]:
        """Return that the initialisation is looked at."""
        return ("init",)

    def __call__(self, seen: Evidence) -> dict[str, Tensor]:
        """Return the scores of every tensor."""
        return {
            name: self._scored(seen.initial[name], weight, seen.alive(name)) for name, weight in seen.weights.items()
        }

    def _scored(self, first: Tensor, last: Tensor, alive: Tensor) -> Tensor:
        found = self.score(first[alive].to(last), last[alive])
        return last.new_zeros(last.shape, dtype=found.dtype).masked_scatter_(alive, found)

    @abstractmethod
    def score(self, first: Tensor, last: Tensor) -> Tensor:
        """Return scores, given the initial and present values of the weights of a tensor that are left (vectors)."""


@CRITERIA.named("small-final")
@dataclass(frozen=True)
class SmallFinal(FirstAndLast):
    """Minus the size of the weight, -|w|: the opposite of magnitude."""

    def score(self, first: Tensor, last: Tensor) -> Tensor:
        """Return -|w|."""
        return -last.abs()


@CRITERIA.named("large-init")
@dataclass(frozen=True)
class LargeInit(FirstAndLast):
    """Size of the weight before training, |w0|."""

    def score(self, first: Tensor, last: Tensor) -> Tensor:
        """Return |w0|."""
        return first.abs()


@CRITERIA.named("small-init")
@dataclass(frozen=True)
class SmallInit(FirstAndLast):
    """Minus the size of the weight before training, -|w0|."""

    def score(self, first: Tensor, last: Tensor) -> Tensor:
        """Return -|w0|."""
        return -first.abs()


@CRITERIA.named("large-init-large-final")
@dataclass(frozen=True)
class LargeInitLargeFinal(FirstAndLast):
    """The lower rank of |w| and |w0| in their tensor: large before and after training."""

    def score(self, first: Tensor, last: Tensor) -> Tensor:
        """Return the lower rank, a share of the weights left."""
        return torch.minimum(_rank(first.abs()), _rank(last.abs()))


@CRITERIA.named("small-init-small-final")
@dataclass(frozen=True)
class SmallInitSmallFinal(FirstAndLast):
    """Minus the higher rank of |w| and |w0| in their tensor: small before and after training."""

    def score(self, first: Tensor, last: Tensor) -> Tensor:
        """Return minus the higher rank, a share of the weights left."""
        return -torch.maximum(_rank(first.abs()), _rank(last.abs()))


@CRITERIA.named("magnitude-increase")
@dataclass(frozen=True)
class MagnitudeIncrease(FirstAndLast):
    """How much larger the weight has become, |w| - |w0|."""

    def score(self, first: Tensor, last: Tensor) -> Tensor:
        """Return |w| - |w0|."""
        return last.abs() - first.abs()


@CRITERIA.named("movement")
@dataclass(frozen=True)
class Movement(FirstAndLast):
    """How far the weight has moved, |w - w0|."""

    def score(self, first: Tensor, last: Tensor) -> Tensor:
        """Return |w - w0|."""
        return (last - first).abs()


@CRITERIA.named("large-final-same-sign")
@dataclass(frozen=True)
class LargeFinalSameSign(FirstAndLast):
    """Size of the weight where it has the sign that it began with, else 0."""

    def score(self, first: Tensor, last: Tensor) -> Tensor:
        """Return max(0, w sign(w0))."""
        return (last * first.sign()).clamp_min(0)


@CRITERIA.named("large-final-different-sign")
@dataclass(frozen=True)
class LargeFinalDifferentSign(FirstAndLast):
    """Size of the weight where its sign has changed, else 0: the control of large-final-same-sign."""

    def score(self, first: Tensor, last: Tensor) -> Tensor:
        """Return max(0, -w sign(w0))."""
        return (-last * first.sign()).clamp_min(0)


def _rank(values: Tensor) -> Tensor:
    """Return the share of the values that is smaller, or as large and earlier, in float64.

    The paper scales one of two magnitudes until as many lie above a threshold in both, which is the same order.
    """
    ranks = torch.empty(values.shape, dtype=torch.float64, device=values.device)
    ranks[values.argsort(stable=True)] = torch.linspace(0, 1, len(values) + 1, dtype=torch.float64)[:-1].to(ranks)
    return ranks
