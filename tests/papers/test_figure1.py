from __future__ import annotations

import polars as pl
import pytest

from overparam.papers.sparse_double_descent.figure1 import LEVELS, TEST, TRAIN, compare


def curve(shift: float = 0.0, rate: float = 0.2) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "dataset": "mnist",
            "noise_rate": rate,
            "criterion": "magnitude",
            "retraining": "rewind",
            "seed": seed,
            "level": level,
            "density": 0.8**level,
            "test_accuracy": TEST[level] + shift * (1 if level % 2 else -1) + (0.01 if seed else -0.01),
            "train_accuracy": TRAIN[level],
        }
        for seed in (0, 1)
        for level in range(LEVELS)
    )


def test_the_figure_is_at_no_distance_from_itself() -> None:
    found = compare(curve())
    assert found is not None
    assert (found.test, found.train) == pytest.approx((0.0, 0.0), abs=1e-12)
    assert (found.trough, found.peak, found.seeds) == (10, 20, 2)


def test_the_error_is_a_root_mean_square() -> None:
    found = compare(curve(0.02))
    assert found is not None
    assert found.test == pytest.approx(0.02)


def test_another_experiment_is_not_compared() -> None:
    assert compare(curve(rate=0.4)) is None
    assert compare(curve().filter(pl.col("level") < 20)) is None
    assert compare(curve().with_columns(density=pl.col("density") ** 1.1)) is None
