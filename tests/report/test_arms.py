from __future__ import annotations

import polars as pl
import pytest
from synthetic import arm, study

from overparam.errors import DataError
from overparam.report.arms import arms, sweep_columns


def test_arms_are_told_by_variant_and_by_what_was_swept():
    frame = study(
        arm(variant="plain"),
        arm(variant="plain", noise_rate=0.4),
        arm(variant="random", criterion="random"),
    )
    found = arms(frame)
    assert [one.label for one in found] == [
        "plain, 20 % label noise",
        "plain, 40 % label noise",
        "random, 20 % label noise",
    ]
    assert found[2].values["criterion"] == "random"
    assert found[0].seeds == [0, 1, 2]


def test_a_single_arm_is_named_by_its_traits():
    (only,) = arms(arm())
    assert only.label == "mnist, 20 % label noise, magnitude, rewind"


def test_without_variants_and_sweeps_the_traits_tell_the_arms():
    frame = study(arm(), arm(criterion="random")).drop("variant", "world.label_noise.rate")
    assert [one.label for one in arms(frame)] == ["magnitude", "random"]


def test_a_swept_list_or_number_is_told_in_the_label():
    first = arm().with_columns(pl.lit(0.1).alias("train.lr"), pl.Series("network.options.hidden", [[300]] * 84))
    second = first.with_columns(pl.lit(0.01).alias("train.lr"))
    third = first.with_columns(pl.Series("network.options.hidden", [[100, 100]] * 84))
    labels = [one.label for one in arms(study(first, second, third))]
    assert labels == ["lr 0.1, hidden [300]", "lr 0.01, hidden [300]", "lr 0.1, hidden [100, 100]"]


def test_measured_details_and_the_seed_are_no_sweeps():
    frame = arm().with_columns((pl.col("density") / 2).alias("density.fc1"), pl.col("level").alias("flatness.top"))
    assert sweep_columns(frame) == []
    assert len(arms(frame)) == 1


def test_the_last_checkpoint_of_a_level_counts():
    frame = arm(seeds=[0], levels=2)
    again = frame.tail(1).with_columns((pl.col("step") + 1).alias("step"), pl.lit(0.5).alias("test_accuracy"))
    (found,) = arms(pl.concat([again, frame]))
    assert found.at("test_accuracy", 1) == {0: 0.5}


def test_a_mean_leaves_out_levels_that_most_seeds_did_not_reach():
    frame = arm(seeds=[0, 1, 2]).filter((pl.col("seed") == 0) | (pl.col("level") < 10))
    (found,) = arms(frame)
    assert found.places[-1] == 27
    assert found.mean()["level"].to_list() == list(range(10))
    assert found.mean()["n"].unique().to_list() == [3]


def test_means_are_over_the_seeds_that_have_a_value():
    frame = arm(seeds=[0, 1], levels=3).with_columns(
        pl.when((pl.col("seed") == 1) & (pl.col("level") == 1))
        .then(float("nan"))
        .otherwise(pl.col("test_loss"))
        .alias("test_loss")
    )
    (found,) = arms(frame)
    alone = frame.filter((pl.col("seed") == 0) & (pl.col("level") == 1))["test_loss"][0]
    assert found.mean()["test_loss"][1] == pytest.approx(alone)


def test_a_table_of_another_kind_is_refused_in_one_sentence():
    with pytest.raises(DataError, match="lacks the column chain, density"):
        arms(pl.DataFrame({"seed": [0], "level": [0]}))
