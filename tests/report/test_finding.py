"""What a curve over any axis is said to do."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from overparam.report.arms import Arm, arms
from overparam.report.axis import axis_for
from overparam.report.finding import finding


def over(
    column: str, means: list[float], seeds: int = 3, noise: float = 0.0004, measured: str = "test_accuracy"
) -> Arm:
    """An arm with places 1, 2, 4, ... and these mean accuracies."""
    random = np.random.default_rng(0)
    rows = [
        {
            **{"seed": seed, "chain": 100 * place + seed, "level": 0, "step": 0, "density": 1.0},
            **{column: 2.0**place, measured: mean + random.normal(0, noise)},
        }
        for place, mean in enumerate(means)
        for seed in range(seeds)
    ]
    (found,) = arms(pl.DataFrame(rows), axis_for(column))
    return found


def test_a_rise_is_told_with_its_size_and_its_best_place() -> None:
    said = finding(over("network.width", [0.5, 0.7, 0.9, 0.88, 0.8505]))
    assert said.startswith("Test accuracy rises by 3")
    assert "from 50.0 % at width 1 to 85.0 %" in said
    assert "; the best is 90.0 %" in said
    assert said.endswith("at width 4 (3 seeds).")


def test_a_fall_and_what_the_seeds_do_not_tell() -> None:
    assert finding(over("world.train_size", [0.9, 0.5])).startswith("Test accuracy falls by ")
    assert "at 2 training examples" in finding(over("world.train_size", [0.9, 0.5]))
    assert finding(over("bits", [0.9, 0.9], noise=0.02)).startswith("Test accuracy changes by ")
    assert "one seed, no interval" in finding(over("bits", [0.9, 0.8], seeds=1))


def test_no_accuracy_changes_by_more_than_all() -> None:
    assert "[" in (said := finding(over("bits", [0.1, 0.95], seeds=2, noise=0.12)))
    assert ", 100.0] points" in said


def test_where_there_is_no_accuracy_the_loss_is_told_and_less_is_better() -> None:
    said = finding(over("network.width", [3.5, 1.25, 0.5, 0.75], measured="test_loss"))
    assert said.startswith("Test loss falls by 2.750 [2.7")
    assert "from 3.500 at width 1 to 0.750 at width 8; the least is 0.500 at width 4 (3 seeds)." in said
    assert "the least" not in finding(over("network.width", [3.5, 1.25, 0.5], measured="test_loss"))
    assert finding(over("rank", [0.25], measured="test_loss")) == "Test loss is 0.250 at rank 1."
    assert finding(over("rank", [0.25], measured="test_bits")) == "Test accuracy was not measured."


def test_one_place_is_told_as_one() -> None:
    assert finding(over("rank", [0.9])) == "Test accuracy is 90.0 % at rank 1."


def test_a_second_descent_names_its_axis() -> None:
    curve = [0.5, 0.65, 0.8, 0.74, 0.68, 0.76, 0.86, 0.9]
    said = finding(over("network.width", curve))
    assert "rises from" in said
    assert "falls to" in said
    assert "a second descent over width (p = " in said
    assert "second descent over rank" in finding(over("rank", curve))


@pytest.mark.parametrize(
    ("means", "seeds"),
    [
        ([0.5, 0.6, 0.7, 0.8, 0.85, 0.88, 0.9, 0.9], 3),  # it only rises
        ([0.5, 0.65, 0.8, 0.74, 0.68, 0.76, 0.86, 0.9], 1),  # one seed tells nothing
        ([0.5, 0.8, 0.6, 0.9], 3),  # too few places
        ([0.5, 0.65, 0.8, 0.797, 0.795, 0.8, 0.86, 0.9], 3),  # less than a point
    ],
)
def test_no_second_descent_is_claimed_without_one(means: list[float], seeds: int) -> None:
    assert "descent" not in finding(over("network.width", means, seeds))


def test_nothing_is_told_of_part_of_a_study() -> None:
    assert finding(over("network.width", [0.5, 0.9]), "4 of 6 rows").startswith("Incomplete: 4 of 6 rows.")
