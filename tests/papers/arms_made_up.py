"""Tables of arms of which a test says how accurate they are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

Curve = Callable[[float], float]


def table(
    arms: Mapping[str, tuple[Curve, Mapping[str, Any]]],
    densities: Sequence[float],
    seeds: int = 5,
    spread: float = 0.0005,
) -> pl.DataFrame:
    """Return a results table: for each arm by variant its test accuracy as a function of density, and further columns.

    A column that is a function is one of density; seeds differ by noise of ``spread``, a tenth of it an arm's own.
    """
    draws = np.random.default_rng(0)
    common = draws.normal(0, spread, (seeds, len(densities)))
    rows, chain = [], 0
    for variant, (curve, columns) in arms.items():
        for seed in range(seeds):
            for level, density in enumerate(densities):
                own = float(draws.normal(0, spread / 10))
                made = {name: value(density) if callable(value) else value for name, value in columns.items()}
                accuracy = curve(density) + float(common[seed, level]) + own
                place = {"seed": seed, "chain": chain, "level": level, "density": density}
                rows.append({"variant": variant, **place, "test_accuracy": accuracy, **made})
            chain += 1
    return pl.DataFrame(rows, infer_schema_length=None)
