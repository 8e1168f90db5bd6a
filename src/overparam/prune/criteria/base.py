"""What a criterion is."""

from __future__ import annotations

from typing import ClassVar, Protocol

from torch import Tensor

from overparam.prune.evidence import Evidence
from overparam.registry import Registry


class Criterion(Protocol):
    """Scores every weight it is shown; higher means "keep".

    It knows nothing of thresholds, tensors to skip or schedules. Only the order of the scores counts. They
    must be finite; those of tensors that are ranked together must be in the same unit.

    Attributes:
        needs: names of the optional fields of :class:`Evidence` that it reads, e.g. ``{"gradients"}``.
    """

    needs: ClassVar[frozenset[str]]

    def __call__(self, seen: Evidence) -> dict[str, Tensor]:
        """Return scores for each tensor of ``seen.weights``, shaped like it."""
        ...


CRITERIA: Registry[Criterion] = Registry("criterion", "a function or an object that maps Evidence to scores")
