"""How long the page of a large study takes to write, beyond imports, and how large it is.

    python benchmarks/page_at_size.py [ROWS] [--keep FOLDER]

The table is made up, shaped as a sweep of criteria, label noise and learning rates over 20 levels and 5 seeds, with
what the usual probes measure under label noise: 26 numbers a row that differ in every row, so that little can be saved.
The goal at 10,000 rows: 3 seconds, 1.5 MB.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl

from overparam.lab.results import Results
from overparam.papers import sections_for  # noqa: F401 (what is loaded late is an import too)
from overparam.report import general_sections, write_page  # noqa: F401

LEVELS, SEEDS = 20, 5
CRITERIA = ("magnitude", "random", "gradient", "taylor", "snip")
RATES = (0.0, 0.1, 0.2, 0.4)
TESTS = 10_000  # examples in the test set, so accuracies have four digits
GOAL_SECONDS, GOAL_BYTES = 3.0, 1.5e6


def table(rows: int) -> pl.DataFrame:
    """Return a results table of about so many rows."""
    speeds = max(1, round(rows / (LEVELS * SEEDS * len(CRITERIA) * len(RATES))))
    arms = itertools.product(CRITERIA, RATES, np.logspace(-3, 0, speeds).round(5))
    chains = [chain(number, *arm, seed) for number, (arm, seed) in enumerate(itertools.product(arms, range(SEEDS)))]
    return pl.concat(chains)


def chain(number: int, criterion: str, rate: float, speed: float, seed: int) -> pl.DataFrame:
    """Return the rows of one chain: falling accuracy, with noise of its own on every number."""
    random = np.random.default_rng(number)
    density = 0.8 ** np.arange(LEVELS)
    noise = lambda size: random.normal(0, size, LEVELS)  # noqa: E731
    hits = np.clip(0.97 - 0.2 * rate - 0.3 * (1 - density) ** 8 + noise(0.005), 0, 1)
    train = np.clip(1 - rate * (1 - density) + noise(0.003), 0, 1)
    shares = {f"{split}_accuracy": np.round(np.clip(hits + noise(0.002), 0, 1) * TESTS) / TESTS for split in SPLITS}
    shares |= {f"train_accuracy{part}": np.round(np.clip(train + noise(0.002), 0, 1) * TESTS) / TESTS for part in PARTS}
    errors = {
        name.replace("accuracy", "soft_error"): 1.05 * (1 - value) + abs(noise(1e-3)) for name, value in shares.items()
    }
    losses = {name.replace("accuracy", "loss"): 3 * (1 - value) + abs(noise(1e-2)) for name, value in shares.items()}
    kept = np.round(266_200 * density).astype(int)
    distance = {f"learning_distance{part}": 9 + noise(1) for part in ("", "_kept", "_pruned")}
    place = {"study": "large", "variant": "", "seed": seed, "prune.criterion": criterion, "train.lr": float(speed)}
    place |= {
        "world.label_noise.rate": rate,
        "chain": number,
        "level": np.arange(LEVELS),
        "step": 3 * np.arange(LEVELS),
    }
    found = {"density": density, "kept": kept, "weights": 266_200, **shares, **errors, **losses, **distance}
    costs = {"dead_units": kept // 9_000, "seconds": 3 + noise(0.1), "stored_bits": 32 * kept, "bytes": 4 * kept + 900}
    said = {"kind": "train", "fingerprint": [f"{number:06x}{level:04x}" for level in range(LEVELS)], "noise_rate": rate}
    traits = {"dataset": "mnist", "criterion": [None, *(LEVELS - 1) * [criterion]], "retraining": "rewind"}
    return pl.DataFrame({**place, **said, **found, **costs, **traits})


SPLITS = ("validation", "test")
PARTS = ("", "_clean", "_clean_part", "_noisy_part")


def main() -> None:
    given = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    given.add_argument("rows", type=int, nargs="?", default=10_000)
    given.add_argument("--keep", type=Path, help="leave the page in this folder")
    asked = given.parse_args()
    frame, nothing = table(asked.rows), pl.DataFrame()
    with tempfile.TemporaryDirectory() as scratch:
        for turn in ("first", "again"):
            results = Results("large", frame, nothing, nothing, spec="name: large")
            begun, busy = time.perf_counter(), time.process_time()
            page = results.report((asked.keep or Path(scratch)) / "large.html")
            seconds, busy = time.perf_counter() - begun, time.process_time() - busy
            size = page.stat().st_size / 1e6
            print(f"{turn}: {len(frame):,} rows, {seconds:.2f} s ({busy:.2f} s of processor time), {size:.2f} MB")


if __name__ == "__main__":
    main()
