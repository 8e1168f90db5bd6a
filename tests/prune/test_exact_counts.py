from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from overparam.errors import SpecError
from overparam.prune import apportion, exact_count


@pytest.mark.parametrize(
    ("share", "total", "rounding", "count"),
    [
        (0.2, 5, "up", 1),  # 0.2 * 5 is 1, not a little more
        (0.1, 30, "up", 3),  # in floats 0.1 * 30 is 3.0000000000000004
        (0.07, 100, "up", 7),  # ... and 0.07 * 100 is 7.000000000000001
        (0.29, 100, "down", 29),  # ... and 0.29 * 100 is 28.999999999999996
        (0.5, 3, "half-up", 2),
        (0.5, 5, "half-up", 3),  # round() would go to the even 2
        (0.35, 10, "half-up", 4),  # in floats 0.35 * 10 + 0.5 is 4.0, but 0.35 itself lies below 7/20
        (1e-05, 100_000, "down", 1),
        (Fraction(1, 3), 9, "up", 3),
        (np.float64(0.2), 5, "up", 1),
        (np.float32(0.2), 5, "up", 1),
        (0, 7, "up", 0),
        (0.9, 0, "up", 0),
    ],
)
def test_count_is_that_of_the_decimal_number(share, total, rounding, count):
    assert exact_count(share, total, rounding) == count


@pytest.mark.parametrize("share", ["0.2", None, True, float("nan"), float("inf"), 1j])
def test_share_must_be_a_finite_number(share):
    with pytest.raises(SpecError, match="share must be a"):
        exact_count(share, 10)


def test_unknown_rounding_is_named():
    with pytest.raises(SpecError, match="'nearest'"):
        exact_count(0.5, 10, "nearest")


def test_apportion_by_hand():
    # 10 over 1:1:1 is 3.33 each: the unit left over goes to the first name
    assert apportion({"b": 1, "a": 1, "c": 1}, dict.fromkeys("abc", 0), dict.fromkeys("abc", 9), 10) == {
        "a": 4,
        "b": 3,
        "c": 3,
    }
    # 6:3:1 of 10 where a can take 4 only: the 6 left are spread 3:1, so 4.5 and 1.5; equal remainders, b is first
    assert apportion({"a": 6, "b": 3, "c": 1}, dict.fromkeys("abc", 0), {"a": 4, "b": 9, "c": 9}, 10) == {
        "a": 4,
        "b": 5,
        "c": 1,
    }
    # c must have 2, so a and b share 8 as 6:3
    assert apportion({"a": 6, "b": 3, "c": 1}, {"a": 0, "b": 0, "c": 2}, dict.fromkeys("abc", 9), 10) == {
        "a": 5,
        "b": 3,
        "c": 2,
    }


@st.composite
def problems(draw):
    n = draw(st.integers(1, 6))
    names = [f"n{i}" for i in range(n)]
    high = {name: draw(st.integers(0, 60)) for name in names}
    low = {name: draw(st.integers(0, min(2, high[name]))) for name in names}
    weights = {name: draw(st.integers(1, 40)) for name in names}
    total = draw(st.integers(sum(low.values()), sum(high.values())))
    return weights, low, high, total


def ideals_by_bisection(weights, low, high, total):
    """Find the common factor by halving an interval: slow and inexact, but plain."""

    def amounts(c):
        return {name: min(max(c * weights[name], low[name]), high[name]) for name in weights}

    below, above = 0.0, 100.0
    for _ in range(80):
        middle = (below + above) / 2
        below, above = (middle, above) if sum(amounts(middle).values()) <= total else (below, middle)
    return amounts(below)


@given(problems())
@settings(deadline=None)
def test_apportion_is_exact_bounded_and_within_one_of_the_ideal(problem):
    _, low, high, total = problem
    found = apportion(*problem)
    assert sum(found.values()) == total
    ideal = ideals_by_bisection(*problem)
    for name, count in found.items():
        assert low[name] <= count <= high[name]
        assert abs(count - ideal[name]) < 1 + 1e-6
    by_remainder = {name: ideal[name] - int(ideal[name] + 1e-9) for name in found}
    raised = [by_remainder[name] for name in found if found[name] > ideal[name] + 1e-6]
    lowered = [by_remainder[name] for name in found if found[name] < ideal[name] - 1e-6]
    assert not raised or not lowered or min(raised) >= max(lowered) - 1e-6


@given(problems(), st.randoms())
@settings(deadline=None)
def test_apportion_does_not_look_at_the_order_of_the_names(problem, random):
    weights, low, high, total = problem
    names = list(weights)
    random.shuffle(names)
    assert apportion({name: weights[name] for name in names}, low, high, total) == apportion(*problem)


def test_apportion_of_the_impossible():
    with pytest.raises(SpecError, match="room for 1 to 4"):
        apportion({"a": 1, "b": 0}, {"a": 0, "b": 1}, {"a": 3, "b": 9}, 5)
