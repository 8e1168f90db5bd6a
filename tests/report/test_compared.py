"""Arms against each other: places, paired differences, what is best and what cannot be told from it, ranks."""

import polars as pl
import pytest

from overparam.report.arms import Arm, arms
from overparam.report.comparison import compared, comparison_table, headline, sentence
from overparam.report.general import general_sections
from overparam.report.measure import ACCURATE, measure_for
from overparam.report.sections import Material


def table(gains: dict[str, list[float]], levels: int = 2, **columns: object) -> pl.DataFrame:
    """Return arms that are above a common curve by what ``gains`` has for each seed, halving the density by level."""
    rows = [
        {
            **{"variant": variant, "seed": seed, "chain": 10 * number + seed, "level": level, "density": 0.5**level},
            **{"test_accuracy": 0.8 - 0.1 * level + 0.01 * seed + gain, **columns},
        }
        for number, (variant, gains_of) in enumerate(gains.items())
        for seed, gain in enumerate(gains_of)
        for level in range(levels)
    ]
    return pl.DataFrame(rows)


def found_of(frame: pl.DataFrame, column: str = "test_accuracy"):
    return compared(arms(frame), measure_for(column))


GAINS = {"a": [0.05, 0.05, 0.05], "b": [0.049, 0.051, 0.05], "c": [0.0, 0.001, -0.001]}


def test_what_is_best_at_a_place_and_what_cannot_be_told_from_it():
    (found,) = found_of(table(GAINS))
    assert [at for at, _ in found.places] == [1.0, 0.5]
    first = found.standings[0]
    assert [standing.best for standing in first.values()] == [True, False, False]
    assert [standing.open for standing in first.values()] == [True, True, False]
    behind = first[2].behind.estimate
    # Differences -0.050, -0.049, -0.051 by seed: their mean and t interval (2 degrees of freedom: 4.303).
    assert (behind.mean, behind.high - behind.mean) == pytest.approx((-0.05, 4.30265 * 0.001 / 3**0.5), rel=1e-4)


def test_less_is_better_where_a_loss_is_compared():
    frame = table(GAINS).with_columns(test_loss=1 - pl.col("test_accuracy"))
    (found,) = found_of(frame, "test_loss")
    assert [standing.best for standing in found.standings[0].values()] == [True, False, False]
    assert found.order == [0, 1, 2]


def test_of_a_column_whose_better_way_nobody_knows_nothing_is_best():
    (found,) = found_of(table(GAINS).with_columns(dead_units=pl.col("level")), "dead_units")
    assert not any(standing.best or standing.open for row in found.standings for standing in row.values())
    assert found.ranks == {}
    assert "Nobody has said whether more dead units is better" in sentence(found)


def test_ranks_are_means_over_places_and_seeds_and_equal_arms_share_theirs():
    (found,) = found_of(table({"a": [0.1, 0.0], "b": [0.0, 0.1], "c": [0.0, -0.1]}))
    # Seed 0: a 1, b and c 2.5 each; seed 1: b 1, a 2, c 3.
    assert [found.ranks[arm].mean for arm in range(3)] == [1.5, 1.75, 2.75]


def test_ranked_are_the_arms_that_share_most_places():
    frame = table({**GAINS, "d": [0.0, 0.0, 0.0]}, levels=4)
    frame = frame.filter((pl.col("variant") != "d") | (pl.col("level") == 0))
    (found,) = found_of(frame)
    assert found.ranked == ([0, 1, 2], [0, 1, 2, 3])
    assert found.order[-1] == 3
    shown = comparison_table(found)
    assert [column.head for column in shown.columns] == ["density", "a", "b", "c", "d"]
    assert shown.rows[-1][0] == "mean rank"
    assert shown.rows[-1][-1] == shown.rows[1][-1] == "–"


def test_the_more_arms_are_asked_about_the_surer_a_difference_must_be():
    gains = {"best": [0.03, 0.045, 0.04], "near": [0.0, 0.0, 0.0]}  # t = 8.7; at 95 % it takes 4.3, of six 10.9
    (two,) = found_of(table(gains))
    (many,) = found_of(table({**gains, **{f"other {n}": [-0.3 - n / 10] * 3 for n in range(5)}}))
    assert [found.standings[0][1].open for found in (two, many)] == [False, True]


def test_seeds_that_only_one_arm_has_are_not_paired_and_one_seed_decides_nothing():
    (found,) = found_of(table({"a": [0.05, 0.05], "b": [0.0]}))
    assert found.standings[0][1].behind.estimate.n == 1
    assert found.standings[0][1].open
    assert "cannot be told from it (one seed, no interval)" in sentence(found)


def test_methods_are_compared_under_each_condition():
    frame = pl.concat(
        [table(GAINS, noise_rate=rate).with_columns(pl.col("chain") + 100 * n) for n, rate in enumerate((0.0, 0.2))]
    )
    found = found_of(frame)
    assert [each.condition for each in found] == ["no label noise", "20 % label noise"]
    assert [each.names for each in found] == [["a", "b", "c"]] * 2
    assert headline(found).startswith("At no label noise: “a” ranks first")
    conditions = found_of(frame.filter(pl.col("variant") == "a"))
    assert [each.names for each in conditions] == [["no label noise", "20 % label noise"]]


def test_the_headline_of_a_page_is_about_the_comparison_and_not_told_of_half_a_study():
    frame = table({"a": GAINS["a"], "c": GAINS["c"]})
    sections = general_sections(Material(frame))
    assert sections[0].title == (
        "“a” has the best test accuracy over 2 places from 100 % density to 50 % density: "
        "5.0 [4.8, 5.2] points above “c” (3 seeds)."
    )
    half = general_sections(Material(frame, missing=3))
    assert half[0].title.startswith("Incomplete")
    assert not next(table for section in half for table in section.tables if table.look == "compared").finding


def test_an_arm_that_lacks_most_seeds_at_a_place_is_compared_at_the_others():
    frame = table(GAINS, levels=3).filter((pl.col("variant") != "a") | (pl.col("level") < 2) | (pl.col("seed") == 0))
    (found,) = found_of(frame)
    assert sorted(found.places[-1][1]) == [1, 2]


def test_places_of_arms_that_nearly_agree_are_one():
    frame = table(GAINS).with_columns(
        density=pl.when(variant="b").then(pl.col("density") * 0.99).otherwise(pl.col("density"))
    )
    (found,) = found_of(frame)
    assert [len(keys) for _, keys in found.places] == [3, 3]


def test_the_default_measure_is_accuracy():
    assert measure_for("test_accuracy") is ACCURATE
    assert isinstance(found_of(table(GAINS))[0].arms[0], Arm)
