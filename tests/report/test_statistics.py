from __future__ import annotations

from math import exp, isclose, log, sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from overparam.errors import SpecError
from overparam.report.statistics import Estimate, estimate, geometric, paired

VALUES = st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=8)


def test_the_interval_is_students_of_1908():
    # Extra hours of sleep, drug 2 minus drug 1 (Student, 1908): mean 1.58, 95 % interval 0.70 to 2.46.
    first = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]
    second = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]
    found = paired(dict(enumerate(first)), dict(enumerate(second)))
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
    assert paired({0: 1.0, 1: None}, {0: 2.0, 1: 1.0, 7: 1.0}).n == 1


def test_agreement_on_a_grid_does_not_shrink_the_interval_to_a_point():
    assert estimate([2.0, 2.0, 2.0]).high == 2.0
    half = stats.t.ppf(0.975, 2) * 0.5 / sqrt(3)
    assert estimate([2.0, 2.0, 2.0], resolution=0.5).high == pytest.approx(2 + half)
    assert estimate([1.0, 3.0], resolution=0.5) == estimate([1.0, 3.0])


def test_densities_are_averaged_on_the_log_scale():
    found = geometric([0.01, 0.04])
    assert found.mean == pytest.approx(0.02)
    assert found.low == pytest.approx(exp(estimate([log(0.01), log(0.04)]).low))


def test_confidence_must_be_a_share():
    with pytest.raises(SpecError, match="confidence must lie between 0 and 1, got 95"):
        estimate([1.0, 2.0], confidence=95)
