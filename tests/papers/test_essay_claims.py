"""Claims of the essays on tables whose answer is known: re-dense networks, and what masks memorise."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from overparam.papers.sparse_double_descent.capacity import capacity_orders_the_turns
from overparam.papers.sparse_double_descent.flatness import no_barrier, overfits_again, sweet_is_sharper

FLAT = {f"path_train_loss_{place}": loss for place, loss in enumerate([0.5, 0.3, 0.1])}
HILL = {**FLAT, "path_train_loss_1": 0.6}


def redense(
    variant: str, *, rise: float = 0.0, back: float = 0.05, path: dict[str, float] = FLAT, seeds: int = 3
) -> pl.DataFrame:
    """Return two rows of each seed: the sparse network, then the re-dense one."""
    rows = []
    for seed in range(seeds):
        noise = 0.001 * seed
        along = {f"along_train_loss_{n}": 0.1 + (rise + noise) * (n != 1) for n in range(3)}
        common = {"variant": variant, "seed": seed, "chain": seed, "level": 1, "density": 1.0, **along, **path}
        sparse = {**common, "density": 0.1, "step": 4, "test_accuracy": 0.8 + noise, "train_accuracy": 0.7}
        dense = {**common, "step": 6, "test_accuracy": 0.8 - back, "train_accuracy": 1.0}
        rows += [sparse, dense]
    return pl.DataFrame(rows)


def flatness(**sweet: object) -> pl.DataFrame:
    return pl.concat([redense("dense", rise=0.2, path=FLAT), redense("sweet", **sweet)])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("claim", "frame", "outcome"),
    [
        (sweet_is_sharper, flatness(rise=0.5), "supported"),
        (sweet_is_sharper, flatness(rise=0.1), "contradicted"),
        (sweet_is_sharper, flatness(rise=0.5, seeds=1), "inconclusive"),
        (sweet_is_sharper, redense("sweet"), "not tested"),
        (no_barrier, flatness(), "supported"),
        (no_barrier, flatness(path=HILL), "contradicted"),
        (no_barrier, redense("dense"), "not tested"),
        (overfits_again, flatness(), "supported"),
        (overfits_again, flatness(back=-0.05), "contradicted"),
        (overfits_again, redense("dense"), "not tested"),
    ],
)
def test_re_dense_networks(claim, frame, outcome):
    whole = frame.with_columns(noise_rate=pl.lit(0.2))
    found = claim(whole if outcome != "inconclusive" else whole.filter(pl.col("seed") == 0))
    assert found.verdict == outcome, found.explanation


def test_the_finding_tells_the_numbers():
    found = sweet_is_sharper(flatness(rise=0.5))
    assert found.numbers["rises_more_nats"] == pytest.approx(0.3)
    assert overfits_again(flatness()).numbers["test_falls_points"] == pytest.approx(5.1)
    assert no_barrier(flatness(path=HILL)).numbers["sweet_hill_nats"] == pytest.approx(0.1)


def masks(turns: dict[str, tuple[float, float]], seeds: int = 3) -> pl.DataFrame:
    """Return curves of ways to prune that forget half at the first density and are worst at the second."""
    levels = 0.75 ** np.arange(20)
    tables, chain = [], 0
    for name, (forgets, worst) in turns.items():
        for rate in (0.2, 1.0):
            for seed in range(seeds):
                shift = 0.02 * (seed - 1)
                memory = 1 / (1 + (np.exp(shift) * forgets / levels) ** 3)
                dip = np.exp(-((np.log(levels / worst) + shift) ** 2))
                columns = {
                    "variant": name,
                    "seed": seed,
                    "chain": chain,
                    "level": np.arange(len(levels)),
                    "step": np.arange(len(levels)),
                    "density": levels,
                    "noise_rate": rate,
                    "train_accuracy": 0.1 + 0.9 * memory,
                    "test_accuracy": 0.8 - 0.1 * dip,
                }
                tables.append(pl.DataFrame(columns))
                chain += 1
    return pl.concat(tables)


ORDERED = {"a": (0.02, 0.015), "b": (0.05, 0.04), "c": (0.1, 0.09), "d": (0.25, 0.2)}
REVERSED = {"a": (0.02, 0.2), "b": (0.05, 0.09), "c": (0.1, 0.04), "d": (0.25, 0.015)}


@pytest.mark.parametrize(
    ("turns", "outcome", "correlation"),
    [(ORDERED, "supported", 1.0), (REVERSED, "contradicted", -1.0)],
)
def test_capacity_orders_the_turns_or_does_not(turns, outcome, correlation):
    found = capacity_orders_the_turns(masks(turns))
    assert found.verdict == outcome, found.explanation
    assert found.numbers["rank_correlation"] == pytest.approx(correlation)
    assert found.numbers["c_forgets_at"] == pytest.approx(0.1, rel=0.1)
    assert found.numbers["c_worst_at"] == pytest.approx(turns["c"][1], rel=0.2)


def test_an_order_takes_four_ways_to_prune():
    few = {name: ORDERED[name] for name in "abc"}
    assert capacity_orders_the_turns(masks(few)).verdict == "not tested"
    assert capacity_orders_the_turns(masks(ORDERED).filter(pl.col("noise_rate") < 1)).verdict == "not tested"


def test_a_way_to_prune_without_a_turn_has_no_place_in_the_order():
    flat = pl.when(pl.col("variant") == "e").then(0.8 - 0.3 * (1 - pl.col("density"))).otherwise("test_accuracy")
    found = capacity_orders_the_turns(masks(ORDERED | {"e": (0.5, 0.01)}).with_columns(test_accuracy=flat))
    assert found.numbers["rank_correlation"] == pytest.approx(1)
    assert "e without a turn" in found.explanation
