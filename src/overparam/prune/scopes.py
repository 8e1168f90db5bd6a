"""Scopes: how a number of weights to keep is spread over tensors; exactly that many stay in every scope."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from math import prod
from types import MappingProxyType
from typing import Annotated, ClassVar, Protocol, runtime_checkable

from pydantic import Field

from overparam.errors import SpecError
from overparam.prune.counts import apportion
from overparam.registry import Registry
from overparam.spec import spec


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
    """Spreads a number of weights over tensors."""

    @property
    def rates(self) -> Mapping[str, float]:
        """Rates in [0, 1] by role or parameter-name pattern; tensors that none matches have rate 1."""
        ...

    def quotas(self, tensors: Sequence[Counted], keep: int) -> dict[str, int] | None:
        """Return how many weights each tensor keeps, ``keep`` in all; None means one ranking over all.

        Each quota lies between the tensor's ``least`` and ``alive``; ``keep`` is between the sums of these.
        """
        ...


FULL_RATES: Mapping[str, float] = MappingProxyType({})  # every tensor is pruned at the full rate


def _apportion_kept(tensors: Sequence[Counted], weight: Callable[[Counted], int], keep: int) -> dict[str, int]:
    """Keep in proportion to ``weight``; what a tensor cannot keep goes to the others."""
    return apportion(
        {tensor.name: weight(tensor) for tensor in tensors},
        {tensor.name: tensor.least for tensor in tensors},
        {tensor.name: tensor.alive for tensor in tensors},
        keep,
    )


@spec
class Global:
    """One ranking over all tensors: the weakest weights go, wherever they are."""

    rates: ClassVar[Mapping[str, float]] = FULL_RATES

    def quotas(self, tensors: Sequence[Counted], keep: int) -> None:
        """None: the ranking decides."""
        return None


@spec
class PerLayer:
    """Every layer loses the same share of what it still has, or that share times its rate.

    With ``fraction`` f, the number of weights that go is f * sum(rate * alive), rounded once. Fractional
    parts go to the layers with the largest remainders (equal ones by name).

    Args:
        rates: relative speed in [0, 1] by role or parameter-name pattern; 1 where none matches. A pattern
            that matches a name goes before a role; of several, the last counts. ``{"output": 0.5}`` prunes
            the output layer at half the rate.

    Reference: Frankle & Carbin, ICLR 2019, https://arxiv.org/abs/1803.03635 (LeNet and Conv networks)
    """

    rates: Mapping[str, Annotated[float, Field(ge=0, le=1)]] = field(default_factory=dict)

    def quotas(self, tensors: Sequence[Counted], keep: int) -> dict[str, int]:
        """Take from every tensor in proportion to rate * alive."""
        gone = sum(tensor.alive for tensor in tensors) - keep
        spare = {tensor.name: tensor.alive - tensor.least for tensor in tensors}
        most = sum(spare[tensor.name] for tensor in tensors if tensor.rate)
        if gone > most:
            raise SpecError(
                f"cannot prune {gone:,} weights per layer: the rates and the last weight of each layer leave "
                f"only {most:,} that may go; prune less, raise the rates, or set allow_empty=True"
            )
        losses = apportion(
            {tensor.name: tensor.rate * tensor.alive for tensor in tensors},
            dict.fromkeys(spare, 0),
            spare,
            gone,
        )
        return {tensor.name: tensor.alive - losses[tensor.name] for tensor in tensors}


@spec
class Uniform:
    """Every layer gets the same density.

    A layer that has fewer weights left than its quota keeps them all, and the others keep more.
    """

    rates: ClassVar[Mapping[str, float]] = FULL_RATES

    def quotas(self, tensors: Sequence[Counted], keep: int) -> dict[str, int]:
        """Keep in proportion to the size."""
        return _apportion_kept(tensors, lambda tensor: tensor.size, keep)


@spec
class ERK:
    """Erdos-Renyi-Kernel: density proportional to (inputs + outputs + kernel sides) / size.

    A layer whose density would exceed 1, or that has fewer weights left than its quota, keeps all it has, and
    the rest is spread anew over the others. For linear layers it is the Erdos-Renyi rule: no kernel sides.

    Reference: Evci et al., ICML 2020, https://arxiv.org/abs/1911.11134; Mocanu et al., 2018,
    https://arxiv.org/abs/1707.04780 (Erdos-Renyi)
    """

    rates: ClassVar[Mapping[str, float]] = FULL_RATES

    def quotas(self, tensors: Sequence[Counted], keep: int) -> dict[str, int]:
        """Keep in proportion to the sum of the axes: density times size."""
        return _apportion_kept(tensors, lambda tensor: sum(tensor.shape), keep)


SCOPES: Registry[Callable[..., Scope]] = Registry("scope")
SCOPES.register("global", Global)
SCOPES.register("per-layer", PerLayer)
SCOPES.register("uniform", Uniform)
SCOPES.register("erk", ERK)


def scope_named(given: str | Scope) -> Scope:
    """Return the scope that ``given`` means: a registered name, or the object itself."""
    if isinstance(given, str):
        return SCOPES.get(given)()
    if isinstance(given, type) or not isinstance(given, Scope):
        raise SpecError(f"scope must be one of {', '.join(SCOPES)}, or an object such as Global(); got {given!r}")
    return given
