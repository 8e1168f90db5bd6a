"""Results tables made up from known curves, shaped like a real study on MNIST with 20 % label noise."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
from scipy.interpolate import PchipInterpolator

# Density where the real study has its turning points; other arms stretch the curve between them.
WORST, BEST = 0.065, 0.0085
ANCHORS = np.log([1.0, 0.412, 0.171, WORST, 0.032, 0.015, BEST, 0.0062, 0.0025])
TEST = [0.880, 0.866, 0.844, 0.822, 0.864, 0.912, 0.918, 0.908, 0.84]
TRAIN = [0.9995, 0.9993, 0.998, 0.970, 0.857, 0.802, 0.777, 0.762, 0.71]
DISTANCE = [12.98, 11.00, 11.66, 12.51, 10.92, 9.08, 8.17, 7.94, 7.6]


def arm(
    *,
    seeds: Sequence[int] = (0, 1, 2),
    levels: int = 28,
    worst: float = WORST,
    best: float = BEST,
    distance_shift: float = 1.0,
    depth: float = 1.0,
    noise_rate: float = 0.2,
    criterion: str = "magnitude",
    retraining: str = "rewind",
    variant: str = "",
    scatter: float = 0.002,
    first_chain: int = 0,
    train_ceiling: float = 1.0,
) -> pl.DataFrame:
    """Return the rows of one arm whose test accuracy is worst at ``worst`` and best at ``best`` density.

    ``depth`` scales fall and rise (0: flat until the collapse); ``distance_shift`` moves the learning
    distance's peak to ``distance_shift * worst``; ``train_ceiling`` caps train accuracy.
    """
    density = np.array([0.8**level + 0.0036 * (0.9**level - 0.8**level) for level in range(levels)])
    position = warp(density, worst, best)
    distance_at = warp(density, min(worst * distance_shift, 0.9), best * min(distance_shift, 1.0))
    tables = []
    for number, seed in enumerate(seeds):
        random = np.random.default_rng(1000 * seed + int(100 * worst) + len(criterion) + len(retraining))
        wiggle = lambda size=scatter: random.normal(0, size, levels)  # noqa: E731, B023
        offset = random.normal(0, scatter)
        shape = PchipInterpolator(-ANCHORS, TEST)(position) if depth else flat_then_falling(position)
        dense = 0.88 - 0.25 * (noise_rate - 0.2) if depth else shape[0]
        test = dense + (depth or 1) * (shape - shape[0]) + offset + wiggle()
        train = 1 - (1 - PchipInterpolator(-ANCHORS, TRAIN)(position)) * noise_rate / 0.2 if noise_rate else test + 0.03
        train = np.clip(np.where(train < 0.997, train + wiggle(scatter / 4), train), 0, train_ceiling)
        distance = PchipInterpolator(-ANCHORS, DISTANCE)(distance_at) + wiggle(0.02)
        fitted = np.clip((train - 0.777) / (1 - 0.777), 0, 1)  # share of the noisy labels learned by heart
        clean = fitted * (1 - noise_rate) + (1 - fitted) * (test + 0.01) if noise_rate else train
        pruned = 9.5 * np.sqrt(1 - density)
        columns = {
            "study": "synthetic",
            "variant": variant,
            "seed": seed,
            "world.label_noise.rate": noise_rate,
            "chain": first_chain + number,
            "level": np.arange(levels),
            "step": 3 * np.arange(levels),
            "kind": ["train"] + (levels - 1) * ["finetune" if retraining == "finetune" else "train"],
            "fingerprint": [f"{variant}{criterion}{retraining}{noise_rate}{seed}{n:04d}" for n in range(levels)],
            "density": density,
            "kept": np.round(266200 * density).astype(int),
            "weights": 266200,
            "train_accuracy": train,
            "train_loss": 0.01 + 2 * (1 - train),
            "train_accuracy_clean": clean,
            "train_loss_clean": 0.1 + 3 * (1 - clean),
            "test_accuracy": test,
            "test_loss": 0.1 + 5 * (1 - test),
            "test_soft_error": 1.1 * (1 - test),
            "learning_distance": distance,
            "learning_distance_kept": np.sqrt(np.clip(distance**2 - pruned**2, 1.0, None)),
            "learning_distance_pruned": pruned,
            "dead_units": np.where(np.arange(levels) > 12, 4 * np.arange(levels), 0),
            "seconds": 1.0 + 8 * density,
            "multiply_adds": 266200,
            "multiply_adds_effective": np.round(266200 * density).astype(int),
            "peak_memory_bytes": 300_000_000,
            "bytes": np.round(8 * 266200 * density).astype(int),
            "noise_rate": noise_rate,
            "noise_realised": noise_rate,
            "dataset": "mnist",
            "criterion": [None] + (levels - 1) * [criterion],
            "retraining": ["none"] + (levels - 1) * [retraining],
        }
        tables.append(pl.DataFrame(columns))
    return pl.concat(tables)


def flat_then_falling(position: np.ndarray) -> np.ndarray:
    """Return a test accuracy without a double descent: 96 % down to 2 % density, then falling."""
    return 0.96 - 0.1 * np.clip(position + np.log(0.02), 0, None) ** 2


def warp(density: np.ndarray, worst: float, best: float) -> np.ndarray:
    """Return -log density on the axis of the real study, for a curve that turns at ``worst`` and ``best``."""
    x = -np.log(density)
    own = [0.0, -np.log(worst), -np.log(best)]
    real = [0.0, -np.log(WORST), -np.log(BEST)]
    inside = np.interp(x, own, real)
    return np.clip(np.where(x > own[2], x - own[2] + real[2], inside), 0, -ANCHORS[-1])


def study(*arms: pl.DataFrame) -> pl.DataFrame:
    """Join arms into one results table, with chains of their own numbers."""
    numbered = [rows.with_columns(pl.col("chain") + 100 * number) for number, rows in enumerate(arms)]
    return pl.concat(numbered)
