"""Exact counts: how many weights a share means, and how a count is spread over tensors.

Shares are read as the decimal number that was written (``0.2`` is 1/5, not the nearest binary fraction), and
all arithmetic is on integers and fractions, so a count never depends on floating-point rounding.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping
from fractions import Fraction
from numbers import Real
from typing import Literal

from overparam.errors import SpecError

Rounding = Literal["half-up", "up", "down"]


def exact(share: float | Fraction, name: str = "share") -> Fraction:
    """Return ``share`` as the fraction that its decimal form stands for; ``name`` is for the error message.

    >>> exact(0.2)
    Fraction(1, 5)
    """
    if isinstance(share, bool) or not isinstance(share, Real):
        raise SpecError(f"{name} must be a number, got {share!r}")
    try:
        return Fraction(str(share))
    except ValueError:
        raise SpecError(f"{name} must be a finite number, got {share!r}") from None


def exact_density(density: float | Fraction) -> Fraction:
    """Return ``density`` as the fraction that its decimal form stands for; SpecError unless it is in [0, 1]."""
    found = exact(density, "density")
    if not 0 <= found <= 1:
        raise SpecError(f"density must be between 0 and 1, got {density!r}")
    return found


def exact_count(share: float | Fraction, total: int | Fraction, rounding: Rounding = "half-up") -> int:
    """Return ``share * total`` rounded to a whole number; halves go up unless another rounding is asked for.

    >>> exact_count(0.2, 5, "up"), exact_count(0.1, 30, "up"), exact_count(0.5, 3)
    (1, 3, 2)
    """
    product = exact(share) * total
    if rounding == "up":
        return math.ceil(product)
    if rounding == "down":
        return math.floor(product)
    if rounding == "half-up":
        return math.floor(product + Fraction(1, 2))
    raise SpecError(f"rounding must be 'half-up', 'up' or 'down', got {rounding!r}")


def apportion(
    weights: Mapping[str, int | Fraction], low: Mapping[str, int], high: Mapping[str, int], total: int
) -> dict[str, int]:
    """Spread ``total`` over names in proportion to ``weights`` (>= 0), each within its ``low`` and ``high``.

    The ideal amounts are ``min(max(c * weight, low), high)`` with the one ``c`` at which they add up to
    ``total``: what a full name cannot take goes to the others in proportion. They are rounded down, and the
    units left over go to the largest remainders, equal ones in the order of the names. The sum is exact.

    Raises :class:`SpecError` if the bounds leave no room for ``total``; a name of weight 0 stays at ``low``.

    >>> apportion({"a": 3, "b": 1}, {"a": 0, "b": 0}, {"a": 5, "b": 9}, 8)
    {'a': 5, 'b': 3}
    """
    names = sorted(weights)

    def ideal(name: str, c: Fraction) -> Fraction:
        return min(max(c * weights[name], Fraction(low[name])), Fraction(high[name]))

    def filled(c: Fraction) -> Fraction:
        return sum((ideal(name, c) for name in names), Fraction())

    # ``filled`` rises with c along straight pieces; its slope changes where a name reaches a bound.
    bends: list[Fraction] = sorted(
        {Fraction(b[name]) / weights[name] for b in (low, high) for name in names if weights[name]}
    )
    bends = bends or [Fraction()]
    if not filled(Fraction()) <= total <= filled(bends[-1]):
        raise SpecError(
            f"cannot spread {total:,} weights over {len(names)} tensors with room for "
            f"{int(filled(Fraction())):,} to {int(filled(bends[-1])):,}"
        )
    start = bends[bisect_right(bends, Fraction(total), key=filled) - 1]
    rising = sum((weights[name] for name in names if low[name] <= start * weights[name] < high[name]), Fraction())
    c = start + (total - filled(start)) / rising if rising else start
    ideals = {name: ideal(name, c) for name in names}
    counts = {name: math.floor(amount) for name, amount in ideals.items()}
    # sorted() is stable, so equal remainders keep the order of the names
    by_remainder = sorted(names, key=lambda name: counts[name] - ideals[name])
    for name in by_remainder[: total - sum(counts.values())]:
        counts[name] += 1
    return counts
