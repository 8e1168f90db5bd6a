from __future__ import annotations

from math import isclose, sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from overparam.errors import SpecError
from overparam.report.statistics import FEW, MOST_SEEDS, Estimate, difference, estimate, seeds_needed, spread, spread_is

VALUES = st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=8)


def test_the_interval_is_students_of_1908():
    # Extra hours of sleep, drug 2 minus drug 1 (Student, 1908): mean 1.58, 95 % interval 0.70 to 2.46.
    found = estimate([1.2, 2.4, 1.3, 1.3, 0.0, 1.0, 1.8, 0.8, 4.6, 1.4])
    assert (round(found.mean, 2), round(found.low, 2), round(found.high, 2), found.n) == (1.58, 0.70, 2.46, 10)


@given(VALUES, st.sampled_from([0.5, 0.9, 0.99]))
def test_the_interval_agrees_with_scipy(values, confidence):
    found = estimate(values, confidence=confidence)
    spread = float(np.std(values, ddof=1))
    if spread > 1e-9:
        low, high = stats.t.interval(confidence, len(values) - 1, np.mean(values), spread / sqrt(len(values)))
        assert isclose(found.low, low, abs_tol=1e-6)
        assert isclose(found.high, high, abs_tol=1e-6)


@given(VALUES)
def test_negation_turns_the_interval_round(values):
    assert estimate([-value for value in values]).mean == pytest.approx((-estimate(values)).mean)
    assert estimate([-value for value in values]).low == pytest.approx((-estimate(values)).low)


def test_one_seed_has_a_mean_and_no_interval():
    found = estimate([0.3])
    assert found == Estimate(0.3, None, None, 1)
    assert not found.above(-9)
    assert not found.below(9)
    assert found.text() == "30.0"


def test_values_that_are_missing_or_not_finite_are_not_counted():
    assert estimate([None, float("nan"), float("inf"), 0.5]) == Estimate(0.5, None, None, 1)
    assert estimate([]) == Estimate(None, None, None, 0)
    assert estimate([]).text() == "not measured"


def test_the_difference_of_two_estimates_takes_the_side_of_each_that_lies_its_way():
    found = difference(Estimate(1.0, 0.6, 1.0, 3), Estimate(3.0, 3.0, 3.3, 5))
    assert (found.mean, found.low, found.n) == (2.0, 2.0, 3)
    assert found.high == pytest.approx(2.5)  # 0.3 above one and 0.4 below the other: 3, 4, 5
    assert difference(Estimate(1.0, None, None, 1), Estimate(3.0, 2.0, 4.0, 3)) == Estimate(2.0, None, None, 1)
    assert difference(Estimate(None, None, None, 0), Estimate(3.0, 2.0, 4.0, 3)).n == 0


@given(st.floats(0.01, 2), st.floats(0.01, 2))
def test_the_difference_of_two_t_intervals_is_the_usual_one(first, second):
    found = difference(Estimate(0.0, -first, first, 9), Estimate(1.0, 1 - second, 1 + second, 9))
    assert found.high - 1 == pytest.approx(sqrt(first**2 + second**2))
    assert 1 - found.low == pytest.approx(sqrt(first**2 + second**2))


def test_what_is_read_off_a_grid_is_not_known_better_than_the_grid():
    sharp = Estimate(2.0, 2.0, 2.0, 3)
    assert difference(sharp, sharp) == Estimate(0.0, 0.0, 0.0, 3, degrees=4)
    assert difference(sharp, sharp, at_least=3.0).high == pytest.approx(3 * sqrt(2))


@given(st.lists(st.floats(0, 1), min_size=1, max_size=9))
def test_what_is_shown_around_an_accuracy_holds_the_mean_and_stays_in_zero_to_one(values):
    found = spread(values, share=True)
    if len(values) == 1:
        assert not found.known
    else:
        assert 0 <= found.low <= found.mean + 1e-12
        assert found.mean - 1e-12 <= found.high <= 1
    if 1 < len(values) < FEW:
        assert (found.low, found.high) == (min(values), max(values))


def test_two_seeds_show_their_range_and_not_an_interval_beyond_all_accuracies():
    low, high = 0.316, 0.482  # the t interval of these is -66 % to 145 %
    found = spread([low, high], share=True)
    assert (found.low, found.high) == (low, high)
    assert "range of the 2 seeds" in spread_is(2)
    assert "95 % interval" in spread_is(FEW)


def test_confidence_must_be_a_share():
    with pytest.raises(SpecError, match="confidence must lie between 0 and 1, got 95"):
        estimate([1.0, 2.0], confidence=95)


def test_so_many_seeds_are_needed_as_the_interval_of_their_mean_says():
    # Standard deviation 1, distance 0.5: t(0.975, 17) / sqrt(18) = 0.497, t(0.975, 16) / sqrt(17) = 0.514.
    found = estimate([-1.0, 0.0, 1.0])
    assert seeds_needed(found, 0.5) == 18
    assert seeds_needed(found, 1e-3) is None
    assert MOST_SEEDS == 1000
    assert seeds_needed(estimate([0.3]), 0.1) is None


@given(st.floats(0.01, 2.0), st.integers(2, 8))
def test_the_seeds_that_are_needed_are_the_fewest(apart, seeds):
    half = stats.t.ppf(0.975, seeds - 1) / sqrt(seeds)
    needed = seeds_needed(Estimate(1.0, 1.0 - half, 1.0 + half, seeds), apart)
    counts = np.arange(2, MOST_SEEDS + 1)
    short = counts[stats.t.ppf(0.975, counts - 1) / np.sqrt(counts) < apart]
    assert needed == (short[0] if len(short) else None)


def test_noise_that_is_known_from_many_places_takes_more_seeds_than_its_own_spread_would():
    plain, pooled = Estimate(1.0, 0.0, 2.0, 3), Estimate(1.0, 0.0, 2.0, 3, degrees=44)
    assert seeds_needed(plain, 0.5) < seeds_needed(pooled, 0.5) == 12
    assert (-pooled).degrees == pooled.map(abs).degrees == 44
    assert difference(plain, pooled).degrees == 46
