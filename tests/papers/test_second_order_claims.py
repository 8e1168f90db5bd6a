"""The claims of second-order pruning on tables made to support them, to contradict them, and to lack what they need."""

from __future__ import annotations

import polars as pl
import pytest

from overparam.papers.second_order.claims import (
    CLAIMS,
    blocks_beat_the_diagonal,
    damage_beats_magnitude,
    refit_then_sparsegpt_then_none,
    surgeon_halves_the_error,
    surgeon_leaves_fewer,
)

SEEDS = range(5)


def table(arms, densities, dataset="mnist"):
    """One-shot arms: ``arms[variant] = (criterion, column, values by density)``, each with its dense network."""
    rows = []
    for variant, (criterion, column, values) in arms.items():
        for density, value in zip(densities, values, strict=True):
            for seed in SEEDS:
                chain = f"{variant} {density} {seed}"
                same = {"study": "s", "variant": variant, "seed": seed, "chain": chain, "criterion": criterion}
                same |= {"dataset": dataset, "retraining": "none", "prune.density": density, "noise_rate": 0.0}
                dense = {"level": 0, "step": 0, "density": 1.0, column: 0.97 if "acc" in column else 0.0}
                shaken = value * (1 + 0.001 * ((seed * 7 + len(variant)) % 5))
                rows += [same | dense, same | {"level": 1, "step": 2, "density": density, column: shaken}]
    return pl.DataFrame(rows)


def losses(magnitude, obd):
    arms = {"magnitude": ("magnitude", "train_loss", magnitude), "obd": ("obd", "train_loss", obd)}
    return table(arms, (0.6, 0.5, 0.4))


def accuracies(densities=(0.1, 0.05), **arms):
    return table({name: (criterion, "test_accuracy", values) for name, (criterion, values) in arms.items()}, densities)


def errors(refit, swept, none):
    arms = {"magnitude": ("magnitude", "layer_error", none), "refit": ("refit", "layer_error", refit)}
    arms["sparsegpt at magnitude"] = ("sparsegpt", "layer_error", swept)
    return table(arms, (0.4, 0.1))


def counts(obs, magnitude, obd):
    """Arms that go down one parameter at a time from 20, as accurate as the dense network down to a count."""
    rows = []
    for criterion, least in (("obs", obs), ("magnitude", magnitude), ("obd", obd)):
        for seed in SEEDS:
            for level in range(19):
                left = 20 - level
                good = left >= least + (seed == 3)
                same = {"study": "s", "variant": criterion, "seed": seed, "chain": f"{criterion}{seed}"}
                same |= {"criterion": criterion, "dataset": "xor", "retraining": "none", "noise_rate": 0.0}
                same |= {"level": level, "step": 2 * level, "kept": left, "weights": 20, "density": left / 20}
                rows.append(same | {"train_accuracy": 1.0 if good else 0.75})
    return pl.DataFrame(rows)


BLOCKS = {"blocks": ("woodfisher", [0.95, 0.87]), "diagonal": ("obd", [0.8, 0.5])}
CASES = [
    (damage_beats_magnitude, losses([0.02, 0.03, 0.04], [0.01, 0.01, 0.02]), "supported"),
    (damage_beats_magnitude, losses([0.01, 0.01, 0.01], [0.02, 0.02, 0.02]), "contradicted"),
    (damage_beats_magnitude, losses([0.02] * 3, [0.01] * 3).filter(pl.col("criterion") == "obd"), "not tested"),
    (surgeon_leaves_fewer, counts(5, 9, 8), "supported"),
    (surgeon_leaves_fewer, counts(9, 5, 12), "contradicted"),
    (surgeon_leaves_fewer, counts(5, 9, 8).filter(pl.col("criterion") != "obs"), "not tested"),
    (
        surgeon_halves_the_error,
        accuracies(magnitude=("magnitude", [0.9, 0.8]), layers=("exact-obs", [0.97, 0.96])),
        "supported",
    ),
    (
        surgeon_halves_the_error,
        accuracies(magnitude=("magnitude", [0.9, 0.8]), layers=("exact-obs", [0.92, 0.9])),
        "contradicted",
    ),
    (surgeon_halves_the_error, accuracies(magnitude=("magnitude", [0.9, 0.8])), "not tested"),
    (blocks_beat_the_diagonal, accuracies(**BLOCKS), "supported"),
    (blocks_beat_the_diagonal, accuracies(**BLOCKS | {"diagonal": ("obd", [0.9, 0.6])}), "contradicted"),
    (blocks_beat_the_diagonal, accuracies(**BLOCKS | {"blocks": ("woodfisher", [0.9, 0.82])}), "contradicted"),
    (blocks_beat_the_diagonal, accuracies(blocks=BLOCKS["blocks"]), "not tested"),
    (refit_then_sparsegpt_then_none, errors([0.1, 0.2], [0.2, 0.3], [0.4, 0.5]), "supported"),
    (refit_then_sparsegpt_then_none, errors([0.1, 0.2], [0.2, 0.3], [0.4, 0.25]), "contradicted"),
    (refit_then_sparsegpt_then_none, errors([0.3, 0.3], [0.2, 0.2], [0.4, 0.5]), "contradicted"),
]


@pytest.mark.parametrize(("claim", "frame", "outcome"), CASES)
def test_each_way_a_claim_can_go(claim, frame, outcome):
    assert claim(frame).verdict == outcome


@pytest.mark.parametrize("claim", CLAIMS)
def test_a_table_without_its_columns_is_not_tested(claim):
    frame = counts(5, 9, 8).drop("train_accuracy")
    assert claim(frame).verdict == "not tested"


def test_the_fewest_parameters_are_those_that_are_as_accurate():
    found = surgeon_leaves_fewer(counts(5, 9, 8))
    assert "5.2 parameters, magnitude 9.2" in found.explanation
    assert "fewer by 4.0 [4.0, 4.0]" in found.explanation


def test_a_seed_whose_dense_network_has_not_learned_is_left_out():
    stuck = pl.when(pl.col("seed") == 3).then(0.65).otherwise(pl.col("train_accuracy"))
    found = surgeon_leaves_fewer(counts(5, 9, 8).with_columns(stuck.alias("train_accuracy")))
    assert "5.0 parameters, magnitude 9.0" in found.explanation
    assert f"({len(SEEDS) - 1} seeds)" in found.explanation
