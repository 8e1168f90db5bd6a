from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from overparam.papers.sparse_double_descent.shape import find_shape
from overparam.report.arms import Arm

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


def shape_of(*curves, train=None):
    """Return the shape of an arm whose seeds have these curves of test accuracy, at levels of 80 %."""
    seeds, levels = len(curves), len(curves[0])
    at = np.tile(np.arange(levels), seeds)
    columns = {"seed": np.repeat(np.arange(seeds), levels), "level": at, "density": 0.8**at}
    columns["test_accuracy"] = np.concatenate(curves)
    if train is not None:
        columns["train_accuracy"] = np.tile(train, seeds)
    return find_shape(Arm("made up", {}, pl.DataFrame(columns)))


@pytest.mark.parametrize(
    ("test", "trough", "peak"),
    [(MNIST_TEST, 10, 20), (CIFAR10_TEST, 18, 23), (CIFAR100_TEST, 16, 21)],
    ids=["mnist", "cifar-10", "cifar-100"],
)
def test_the_turning_points_of_the_paper_are_found(test, trough, peak):
    shape = shape_of(test)
    assert (shape.trough.level, shape.peak.level) == (trough, peak)


def test_the_onset_of_the_paper_is_at_level_nine():
    shape = shape_of(MNIST_TEST, train=MNIST_TRAIN)
    assert shape.density("onset") == pytest.approx(0.8**9)
    assert (shape.threshold, shape.fitted) == (0.995, 1.0)
    # Half of the fall, 0.8 in test accuracy, lies between level 7 (0.807) and level 8 (0.798).
    assert shape.density("light_end") == pytest.approx(0.8 ** (7 + 7 / 9))


def test_the_sweet_phase_ends_where_the_curve_falls_below_the_dense_network():
    better = shape_of([0.86, 0.80, 0.90, 0.88, 0.84])
    assert better.density("sweet_end") == pytest.approx(0.8**3.5)  # half way from 0.88 to 0.84
    worse = shape_of([0.86, 0.70, 0.80, 0.75, 0.60])
    assert worse.density("sweet_end") == worse.density("peak") == pytest.approx(0.8**2)
    never = shape_of([0.86, 0.80, 0.95, 0.93, 0.90])
    assert never.density("sweet_end") is None


def test_a_network_that_never_fits_has_its_onset_half_a_point_under_its_best():
    shape = shape_of([0.9, 0.8, 0.9, 0.8], train=[0.97, 0.98, 0.97, 0.9])
    assert shape.threshold == pytest.approx(0.975)
    assert shape.density("onset") == pytest.approx(0.8)  # a curve that falls throughout is at 97.5 % on the first two
    assert shape_of([0.9, 0.8]).density("onset") is None


def test_a_flat_curve_that_falls_at_the_end_has_a_collapse_and_no_turn():
    shape = shape_of([0.970, 0.968, 0.971, 0.969, 0.90, 0.5])
    assert (shape.trough, shape.peak) == (None, None)
    assert 0.8**4 < shape.density("collapse") < 0.8**3
    assert shape_of([0.97, 0.969]).density("collapse") is None


def test_an_interval_of_one_level_holds_the_density_of_that_level_to_the_last_bit():
    wiggles = 0.0005 * np.random.default_rng(0).standard_normal((3, len(MNIST_TEST)))
    shape = shape_of(*(np.array(MNIST_TEST) + wiggles))
    trough = shape.borders["trough"]
    assert trough.low == trough.mean == trough.high == 0.8**10
