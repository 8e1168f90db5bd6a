from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from overparam.report.arms import Curve
from overparam.report.shape import LEAST, RECOVERED, find_shape, largest_climb, last_crossing, turning_pair

# Figure 1 of Sparse Double Descent, digitised to three digits, level 0 first: train (noisy labels) and test accuracy.
MNIST_TRAIN = [1.0] * 9 + [
    *(0.995, 0.952, 0.909, 0.869, 0.840, 0.822, 0.813, 0.806, 0.802, 0.799, 0.796, 0.793, 0.787, 0.779, 0.763, 0.718)
]
MNIST_TEST = [
    *(0.834, 0.834, 0.828, 0.822, 0.821, 0.818, 0.815, 0.807, 0.798, 0.783, 0.766, 0.776, 0.815),
    *(0.857, 0.887, 0.911, 0.928, 0.940, 0.950, 0.953, 0.954, 0.952, 0.945, 0.927, 0.875),
]
CIFAR10_TEST = [
    *(0.833, 0.833, 0.834, 0.835, 0.833, 0.833, 0.828, 0.828, 0.826, 0.823, 0.821, 0.817, 0.814, 0.816),
    *(0.812, 0.808, 0.803, 0.793, 0.784, 0.802, 0.839, 0.861, 0.870, 0.876, 0.876, 0.872, 0.870, 0.863),
]
CIFAR100_TEST = [
    *(0.605, 0.608, 0.609, 0.612, 0.612, 0.612, 0.612, 0.609, 0.608, 0.612, 0.610, 0.606, 0.602, 0.595),
    *(0.588, 0.575, 0.544, 0.553, 0.568, 0.585, 0.593, 0.597, 0.590, 0.580, 0.558, 0.549),
]
ACCURACIES = st.lists(st.floats(0.0, 1.0), min_size=1, max_size=30)


def curve(test, train=None):
    levels = np.arange(len(test))
    train = np.full(len(test), np.nan) if train is None else np.array(train)
    return Curve(levels, 0.8**levels, np.array(test), train)


@pytest.mark.parametrize(
    ("test", "trough", "peak"),
    [(MNIST_TEST, 10, 20), (CIFAR10_TEST, 18, 23), (CIFAR100_TEST, 16, 21)],
    ids=["mnist", "cifar-10", "cifar-100"],
)
def test_the_turning_points_of_the_paper_are_found(test, trough, peak):
    shape = find_shape(curve(test))
    assert (shape.trough.level, shape.peak.level) == (trough, peak)
    assert shape.collapse is None


def test_the_onset_of_the_paper_is_at_level_nine():
    shape = find_shape(curve(MNIST_TEST, MNIST_TRAIN))
    assert shape.onset == pytest.approx(0.8**9)
    assert (shape.threshold, shape.fitted) == (0.995, 1.0)
    # Half of the fall, 0.8 in test accuracy, lies between level 7 (0.807) and level 8 (0.798).
    assert shape.light_end == pytest.approx(0.8 ** (7 + 7 / 9))


def test_a_network_that_never_fits_has_its_onset_half_a_point_under_its_best():
    shape = find_shape(curve([0.9, 0.8, 0.9, 0.8], [0.97, 0.98, 0.97, 0.9]))
    assert shape.threshold == pytest.approx(0.975)
    assert 0.8**2 < shape.onset < 0.8
    assert find_shape(curve([0.9, 0.8])).onset is None


def test_a_flat_curve_that_falls_at_the_end_has_a_collapse_and_no_turn():
    shape = find_shape(curve([0.970, 0.968, 0.971, 0.969, 0.90, 0.5]))
    assert shape.trough is None
    assert not shape.descends_twice
    assert 0.8**4 < shape.collapse < 0.8**3
    assert find_shape(curve([0.97, 0.969])).collapse is None


def test_the_scatter_of_broken_networks_is_no_second_descent():
    assert turning_pair([0.98, 0.97, 0.80, 0.55, 0.62, 0.30, 0.11]) is None


def test_a_small_double_descent_is_found_before_a_deep_collapse_with_scatter():
    assert turning_pair([0.980, 0.965, 0.977, 0.80, 0.60, 0.65, 0.10]) == (1, 2)


@given(ACCURACIES)
def test_a_turning_pair_keeps_its_promises(values):
    pair = turning_pair(values)
    if pair is not None:
        low, high = pair
        fall, rise = values[0] - values[low], values[high] - values[low]
        assert 0 < low < high
        assert values[low] == min(values[: high + 1])
        assert values[high] == max(values[low:])
        assert fall >= LEAST
        assert rise >= max(LEAST, RECOVERED * fall)


@given(ACCURACIES)
def test_a_curve_that_only_falls_or_only_rises_has_no_turning_pair(values):
    assert turning_pair(sorted(values)) is None
    assert turning_pair(sorted(values, reverse=True)) is None


@given(ACCURACIES)
def test_the_largest_climb_is_the_largest_of_all_pairs(values):
    low, high = largest_climb(values)
    climbs = [values[j] - values[i] for i in range(len(values)) for j in range(i, len(values))]
    assert low <= high
    assert values[high] - values[low] == max(climbs)


@given(st.lists(st.floats(0.0, 1.0), min_size=2, max_size=20), st.floats(0.05, 0.95))
def test_a_crossing_lies_between_the_levels_around_it(values, bound):
    density = 0.8 ** np.arange(len(values))
    found = last_crossing(density, np.array(values), bound)
    if found is None:
        assert values[-1] >= bound or max(values) < bound
    else:
        crossings = [(a, b) for (a, x), (b, y) in pairwise(zip(density, values, strict=True)) if x >= bound > y]
        start, end = crossings[-1]
        assert end - 1e-12 <= found <= start + 1e-12
