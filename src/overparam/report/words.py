"""Numbers as a reader sees them: percent, points, densities, intervals and lists of names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import isfinite


def percent(share: float | None, digits: int = 1) -> str:
    """Return a share in [0, 1] as percent with a fixed number of decimals.

    >>> percent(0.8804)
    '88.0 %'
    """
    return "–" if share is None or not isfinite(share) else f"{100 * share:.{digits}f} %"


def density(share: float | None) -> str:
    """Return a density in (0, 1] as percent with two significant digits.

    >>> [density(share) for share in (1.0, 0.4123, 0.0652, 0.0085)]
    ['100 %', '41 %', '6.5 %', '0.85 %']
    """
    if share is None or not isfinite(share) or share <= 0:
        return "–"
    value = 100 * share
    if value >= 9.95:
        return f"{value:.0f} %"
    digits = 1
    while value < 0.995 * 10 ** (1 - digits):
        digits += 1
    return f"{value:.{digits}f} %"


def points(difference: float | None) -> str:
    """Return a difference of two shares in percentage points, without a unit.

    >>> points(0.0581)
    '5.8'
    """
    return "–" if difference is None or not isfinite(difference) else f"{100 * difference:z.1f}"


def number(value: float | None, digits: int = 2) -> str:
    """Return a plain number with a fixed number of decimals, a dash when there is none."""
    return "–" if value is None or not isfinite(value) else f"{value:z.{digits}f}"


def three_digits(value: float | None) -> str:
    """Return a plain number with three decimals, as losses are told."""
    return number(value, 3)


def plain_number(value: float | None) -> str:
    """Return a number as short as it is told: whole and large ones with thousands apart, others with three digits.

    >>> [plain_number(value) for value in (64, 60000.0, 4923.4, 0.125, 2.71828)]
    ['64', '60,000', '4,923', '0.125', '2.72']
    """
    if value is None or not isfinite(value):
        return "–"
    return f"{value:,.0f}" if value == int(value) or abs(value) >= 1000 else f"{value:.3g}"


FORMS: dict[str, Callable[[float | None], str]] = {
    "percent": percent,
    "points": points,
    "number": number,
    "three": three_digits,
    "plain": plain_number,
}
"""The ways to write a number that a page knows too, by the names that its scripts have for them."""


def count(how_many: int, thing: str) -> str:
    """Return a count with its noun in the right number.

    >>> count(1, "seed"), count(3, "seed")
    ('1 seed', '3 seeds')
    """
    return f"{how_many} {thing}{'' if how_many == 1 else 's'}"


def seeds(how_many: int) -> str:
    """Return the count of seeds behind a number, and what one seed means.

    >>> seeds(3), seeds(1)
    ('3 seeds', 'one seed, no interval')
    """
    return "one seed, no interval" if how_many == 1 else count(how_many, "seed")


def listing(items: Sequence[str]) -> str:
    """Join names for a sentence.

    >>> listing(["a", "b", "c"])
    'a, b and c'
    """
    return " and ".join([", ".join(items[:-1]), items[-1]] if len(items) > 1 else list(items))
