"""The claims of pruning at initialisation on tables made to support, to contradict and to leave them open."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import polars as pl
import pytest

from overparam.papers import claims_for
from overparam.papers.at_initialisation.claims import CLAIMS, SALIENCY, SEARCHES

PAPER = "at-initialisation"
DENSITIES = (0.02, 0.01, 0.007)
LEVELS = {
    "random": 0.90,
    **dict.fromkeys(SALIENCY, 0.91),
    **{f"{name}, {control}": 0.91 for name in SALIENCY for control in ("shuffled", "reinit")},
    "snip in rounds": 0.92,
    "snip in rounds, shuffled": 0.92,
    "snip in rounds, reinit": 0.92,
    "synflow": 0.925,
    "synflow, shuffled": 0.926,
    "synflow, reinit": 0.923,
    **{name: 0.95 for name, _ in SEARCHES.values()},
    **{f"{name}, {control}": 0.92 for name, _ in SEARCHES.values() for control in ("shuffled", "reinit")},
    "imp": 0.94,
}
"""What supports every claim: the accuracy of each variant at all densities."""


def made(
    changes: Mapping[str, float] | None = None, count: int = 5, noise: float = 5e-4, share: float = 0.1
) -> pl.DataFrame:
    """One row for each variant, seed and density; a search takes ``share`` of the reference's time."""
    rows = []
    for chain, (name, level) in enumerate((LEVELS | dict(changes or {})).items()):
        for seed in range(count):
            random = np.random.default_rng([chain, seed])
            rows += [
                {"variant": name, "seed": seed, "chain": 10 * chain + seed, "level": place, "step": place}
                | {"density": density, "test_accuracy": level + random.normal(0, noise)}
                | {"seconds_before": (100.0 if name == "imp" else 100 * share) * random.uniform(0.98, 1.02)}
                for place, density in enumerate(DENSITIES)
            ]
    return pl.DataFrame(rows)


def test_a_table_as_claimed_supports_every_claim() -> None:
    found = claims_for(PAPER, made())
    assert len({verdict.id for verdict in found}) == len(CLAIMS) == 5 + 5 * 3
    assert {verdict.verdict for verdict in found} == {"supported"}
    told = {verdict.id: verdict for verdict in found}
    assert told["CTS-1"].numbers["cts minus synflow at 1.0 %"] == pytest.approx(0.025, abs=0.001)
    assert told["CTS-2"].numbers["cts: share of the time"] == pytest.approx(0.1, rel=0.03)
    assert "points, at 0.70 % density (5 seeds)" in told["CTS-5"].explanation


@pytest.mark.parametrize(
    ("frame", "id", "outcome"),
    [
        (made({"grasp, shuffled": 0.90}), "PAI-1", "contradicted"),
        (made({"synflow, reinit": 0.91}), "PAI-2", "contradicted"),
        (made({"imp": 0.92}), "PAI-3", "contradicted"),
        (made({"snip": 0.93}), "PAI-4", "contradicted"),
        (made({"grasp": 0.93}), "PAI-5", "contradicted"),
        (made({"cts": 0.92}), "CTS-1", "contradicted"),
        (made({"random": 0.96}), "CTS-1-loss", "contradicted"),
        (made(share=0.3), "CTS-2", "contradicted"),
        (made({"cts, shuffled": 0.96}), "CTS-3", "contradicted"),
        (made({"cts on the loss, reinit": 0.96}), "CTS-4-loss", "contradicted"),
        (made({"cts later": 0.93}), "CTS-5-later", "contradicted"),
        (made(noise=0.1), "CTS-1", "inconclusive"),
        (made(noise=0.1), "PAI-1", "inconclusive"),
        (made(count=1), "CTS-3", "inconclusive"),
        (made().drop("seconds_before"), "CTS-2", "not tested"),
        (made().filter(pl.col("variant") != "cts, shuffled"), "CTS-3", "not tested"),
        (made().filter(pl.col("variant") != "imp"), "PAI-3", "not tested"),
    ],
)
def test_what_decides(frame: pl.DataFrame, id: str, outcome: str) -> None:
    (found,) = (each for each in CLAIMS if each.id == id)
    assert found(frame).verdict == outcome


def test_rows_from_before_any_pruning_do_not_count() -> None:
    table = made().with_columns(level=pl.col("level") + 1, step=pl.col("step") + 1)
    late = table.filter(pl.col("variant").str.starts_with("cts later") | (pl.col("variant") == "imp"))
    first = late.filter(level=1).with_columns(
        *(pl.lit(0, pl.Int64).alias(name) for name in ("level", "step")),
        *(pl.lit(value).alias(name) for name, value in (("density", 1.0), ("test_accuracy", 0.9))),
        seconds_before=pl.lit(50.0),
    )
    known, found = (
        {verdict.id: verdict for verdict in claims_for(PAPER, frame)} for frame in (table, pl.concat([table, first]))
    )
    for name in ("CTS-2-later", "CTS-3-later", "CTS-4-later"):
        assert found[name] == known[name]
        assert found[name].verdict == "supported"
