"""Figure 1 (left) of He et al. (2022, https://arxiv.org/abs/2206.08684), and how far a study's curve is from it.

LeNet-300-100 on MNIST, 20 % of the labels drawn anew, magnitude pruning of 20 % a level with rewinding to the
initialisation. Accuracies are read off the figure, with an error of about 0.003.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import polars as pl

TRAIN = (
    *(1.0,) * 9, 0.995, 0.952, 0.909, 0.869, 0.840, 0.822, 0.813, 0.806, 0.802, 0.799, 0.796, 0.793, 0.787, 0.779,
    0.763, 0.718,
)  # fmt: skip
TEST = (
    0.834, 0.834, 0.828, 0.822, 0.821, 0.818, 0.815, 0.807, 0.798, 0.783, 0.766, 0.776, 0.815, 0.857, 0.887, 0.911,
    0.928, 0.940, 0.950, 0.953, 0.954, 0.952, 0.945, 0.927, 0.875,
)  # fmt: skip
LEVELS = len(TEST)
KEPT = 0.8  # of the weights, from level to level


@dataclass(frozen=True)
class Comparison:
    """How far a curve is from the figure's.

    Attributes:
        test, train: root mean square error over the 25 levels, in accuracy (0.01 is a percentage point).
        trough, peak: levels of the worst test accuracy and of the best after it; the figure has 10 and 20.
        seeds: how many curves the mean is over.
    """

    test: float
    train: float
    trough: int
    peak: int
    seeds: int


def compare(frame: pl.DataFrame) -> Comparison | None:
    """Compare the mean curve over seeds of a results table with the figure.

    None unless the table is of this experiment: MNIST, 20 % noise, magnitude, rewinding, at least 25 levels at the
    densities that the paper's way of counting gives.
    """
    needed = {"dataset", "noise_rate", "criterion", "retraining", "level", "density", "test_accuracy", "train_accuracy"}
    if not needed <= set(frame.columns):
        return None
    chosen = frame.filter(
        (pl.col("dataset") == "mnist")
        & (pl.col("noise_rate") == 0.2)
        & (pl.col("criterion") == "magnitude")
        & (pl.col("retraining") == "rewind")
        & (pl.col("level") < LEVELS)
    )
    means = (
        chosen.group_by("level")
        .agg(pl.col("density", "test_accuracy", "train_accuracy").mean(), pl.col("seed").n_unique().alias("seeds"))
        .sort("level")
    )
    if means["level"].to_list() != list(range(LEVELS)):
        return None
    densities = zip(means["level"], means["density"], strict=True)
    if any(abs(density / KEPT**level - 1) > 0.01 for level, density in densities):
        return None
    test, train = means["test_accuracy"].to_list(), means["train_accuracy"].to_list()
    trough = test.index(min(test[: LEVELS - 1]))
    peak = test.index(max(test[trough:]), trough)
    return Comparison(_error(test, TEST), _error(train, TRAIN), trough, peak, min(means["seeds"].to_list()))


def _error(ours: list[float], theirs: tuple[float, ...]) -> float:
    return math.sqrt(sum((a - b) ** 2 for a, b in zip(ours, theirs, strict=True)) / len(theirs))
