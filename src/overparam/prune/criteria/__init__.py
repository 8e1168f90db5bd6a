"""Criteria: which weights matter. Each is a small frozen object; evidence goes in, scores come out."""

from __future__ import annotations

from collections.abc import Callable

from overparam.content import import_path
from overparam.errors import SpecError
from overparam.prune.criteria.base import Criterion
from overparam.prune.criteria.gradient import Gradient
from overparam.prune.criteria.magnitude import Magnitude
from overparam.prune.criteria.random import Random
from overparam.registry import Registry

CRITERIA: Registry[Callable[..., Criterion]] = Registry("criterion")
CRITERIA.register("magnitude", Magnitude)
CRITERIA.register("gradient", Gradient)
CRITERIA.register("random", Random)


def criterion_named(given: str | Criterion) -> Criterion:
    """Return the criterion that ``given`` means: a registered name, ``package.module:name``, or the object itself."""
    if isinstance(given, str):
        if ":" not in given:
            return CRITERIA.get(given)()
        found = import_path(given, "criterion")
        return criterion_named(found() if isinstance(found, type) else found)
    if isinstance(given, type) or not isinstance(given, Criterion):
        raise SpecError(
            f"criterion must be one of {', '.join(CRITERIA)}, or an object with 'needs' that maps "
            f"Evidence to scores, such as Magnitude(); got {given!r}"
        )
    return given


__all__ = ["CRITERIA", "Criterion", "Gradient", "Magnitude", "Random", "criterion_named"]
