"""What a scope is: it spreads a number of weights to keep over tensors; exactly that many stay in every scope."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import prod
from typing import Protocol, runtime_checkable

from overparam.errors import SpecError
from overparam.prune.counts import apportion
from overparam.registry import Registry


@dataclass(frozen=True)
class Counted:
    """What a scope may know of a tensor.

    Attributes:
        name: of the parameter.
        role: ``linear``, ``conv``, ``output``, ...
        shape: of the weight tensor, (outputs, inputs, *kernel).
        alive: number of weights not pruned yet.
        least: number of weights that must stay, 0 or 1.
        rate: how fast it is pruned, in [0, 1]: it loses ``rate * fraction`` of what it has.
    """

    name: str
    role: str
    shape: tuple[int, ...]
    alive: int
    least: int
    rate: Fraction = Fraction(1)

    @property
    def size(self) -> int:
        """Number of weights, pruned ones included."""
        return prod(self.shape)


@runtime_checkable
class Scope(Protocol):
    """Spreads a number of weights over tensors.

    It may have ``rates``, a mapping: rates in [0, 1] by role or parameter-name pattern, by which tensors are pruned
    slower; those that none matches have rate 1.
    """

    def quotas(self, tensors: Sequence[Counted], keep: int) -> Mapping[str, int] | None:
        """Return how many weights each tensor keeps, ``keep`` in all; None means one ranking over all.

        Each quota lies between the tensor's ``least`` and ``alive``; ``keep`` is between the sums of these.
        """
        ...


SCOPES: Registry[Scope] = Registry(
    "scope", "an object with a method quotas(tensors, keep)", lambda thing: isinstance(thing, Scope)
)


def rates_of(scope: Scope) -> Mapping[str, float]:
    """Return the rates of a scope; none where it states none."""
    return getattr(scope, "rates", {})


def checked_quotas(scope: Scope, tensors: Sequence[Counted], keep: int) -> Mapping[str, int] | None:
    """Return what ``scope`` gives each tensor; raises :class:`SpecError` if that is not ``keep`` within the bounds."""
    quotas = scope.quotas(tensors, keep)
    if quotas is None:
        return None
    name = type(scope).__name__
    if set(quotas) != {tensor.name for tensor in tensors}:
        raise SpecError(f"scope {name} must give a number to each of {', '.join(tensor.name for tensor in tensors)}")
    for tensor in tensors:
        quota = quotas[tensor.name]
        if not isinstance(quota, int) or not tensor.least <= quota <= tensor.alive:
            raise SpecError(
                f"scope {name} must keep between {tensor.least:,} and {tensor.alive:,} weights of {tensor.name!r}, "
                f"a whole number, got {quota!r}"
            )
    if sum(quotas.values()) != keep:
        raise SpecError(f"scope {name} must keep {keep:,} weights in all, got {sum(quotas.values()):,}")
    return quotas


def keep_in_proportion(tensors: Sequence[Counted], weight: Callable[[Counted], int], keep: int) -> dict[str, int]:
    """Keep in proportion to ``weight``; what a tensor cannot keep goes to the others."""
    return apportion(
        {tensor.name: weight(tensor) for tensor in tensors},
        {tensor.name: tensor.least for tensor in tensors},
        {tensor.name: tensor.alive for tensor in tensors},
        keep,
    )
