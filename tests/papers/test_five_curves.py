"""The claims of Han et al. on tables made to support, to contradict and to leave them open; and the paper's figure."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import polars as pl
import pytest

from overparam.papers import claims_for, sections_for
from overparam.papers.learning_weights_connections.claims import CLAIMS, biases, free, iterative, penalties, table
from overparam.report import Material
from overparam.report.sections import Comparison

PAPER = "learning-weights-connections"
DENSITIES = (1.0, 0.6, 0.4, 0.3, 0.2, 0.1, 0.08, 0.06, 0.04, 0.03, 0.02, 0.01)
KNEES = {  # below this density accuracy falls, by 4 points for each halving
    "L2, not retrained": 0.4,
    "L1, not retrained": 0.3,
    "L1, retrained": 0.08,
    "L2, retrained": 0.06,
    "L2, iterative": 0.03,
    "L2, retrained as long": 0.04,
}


def made(knees: Mapping[str, float] = KNEES, seeds: int = 3, noise: float = 0.0003, kept: float = 0.0) -> pl.DataFrame:
    """One row for each variant, seed and density; ``kept`` is what the table's arm loses."""
    rows = []
    curves: dict[str, tuple[tuple[float, ...], Callable[[float], float]]] = {
        name: (DENSITIES, lambda d, knee=knee: 0.04 * max(0.0, np.log2(knee / d))) for name, knee in knees.items()
    }
    curves["L2, kept as in Table 2"] = (1.0, 0.082), lambda d: kept * (d < 1)
    for chain, (name, (densities, loss)) in enumerate(curves.items()):
        for seed in range(seeds):
            random = np.random.default_rng([chain, seed])
            rows += [
                {"variant": name, "seed": seed, "chain": 10 * chain + seed, "level": level, "step": level}
                | {"density": density, "test_accuracy": 0.985 - loss(density) + random.normal(0, noise)}
                for level, density in enumerate(densities)
            ]
    return pl.DataFrame(rows)


BIASES = {"weights": 0.1, "weights and biases": 0.2}


def with_biases(knees: Mapping[str, float] = BIASES, **others: float) -> pl.DataFrame:
    counts = pl.when(pl.col("variant") == "weights").then(266_200).otherwise(266_610)
    return made(knees, **others).with_columns(weights=counts)  # type: ignore[arg-type]


CASES = [
    (biases, with_biases(), "supported"),
    (biases, with_biases({"weights": 0.2, "weights and biases": 0.1}), "contradicted"),
    (biases, with_biases(noise=0.1), "inconclusive"),
    (biases, with_biases().filter(variant="weights"), "not tested"),
    (penalties, made(), "supported"),
    (penalties, made(KNEES | {"L1, retrained": 0.04}), "contradicted"),
    (penalties, made(KNEES | {"L1, not retrained": 0.5}), "contradicted"),
    (penalties, made(noise=0.1), "inconclusive"),
    (penalties, made(seeds=1), "inconclusive"),
    (penalties, made().filter(pl.col("variant") != "L1, retrained"), "not tested"),
    (penalties, made().drop("test_accuracy"), "not tested"),
    (iterative, made(), "supported"),
    (iterative, made(KNEES | {"L2, iterative": 0.09}), "contradicted"),
    (iterative, made(seeds=1), "inconclusive"),
    (iterative, made().filter(pl.col("variant") != "L2, iterative"), "not tested"),
    (free, made(), "supported"),
    (free, made(KNEES | {"L2, iterative": 0.2}), "contradicted"),
    (free, made(noise=0.1), "inconclusive"),
    (table, made(), "supported"),
    (table, made(kept=0.02), "contradicted"),
    (table, made(noise=0.05), "inconclusive"),
    (table, made().filter(pl.col("variant") != "L2, kept as in Table 2"), "not tested"),
]


@pytest.mark.parametrize(("test", "frame", "expected"), CASES)
def test_claim(test, frame, expected):
    verdict = test(frame)
    assert verdict.verdict == expected, verdict.explanation
    assert verdict.explanation.endswith(".")


def test_part_of_a_study_is_not_tested():
    assert {verdict.verdict for verdict in claims_for(PAPER, made(), missing=1)} == {"not tested"}


def test_a_difference_says_where_and_with_how_many_seeds():
    verdict = penalties(made())
    assert "L1, not retrained minus L2, not retrained: " in verdict.explanation
    assert "(3 seeds) (supported)" in verdict.explanation
    assert verdict.numbers["L2, retrained minus L1, retrained: low"] > 0
    assert (
        "with as many epochs after one pruning: L2, iterative minus L2, retrained as long"
        in iterative(made()).explanation
    )


def test_the_figure_is_drawn_as_the_paper_draws_it():
    sections, label = sections_for(PAPER, Material(made()))
    assert label == "L2, iterative"
    (figure,) = [each for each in sections if each.title == "The figure as the paper draws it"]
    (chart,) = figure.charts
    assert isinstance(chart, Comparison)
    assert (chart.column, chart.name) == ("accuracy_change", "five-curves")
    curves = {arm.label: arm for arm in chart.arms}
    assert set(curves) == {*KNEES, "L2, kept as in Table 2"}
    assert curves["L2, iterative"].positions[0] == pytest.approx(0.4)
    assert curves["L2, not retrained"].positions[-1] < curves["L2, retrained"].positions[-1], "what falls out of sight"
    change = made().filter(variant="L2, retrained", seed=1).sort("level")["test_accuracy"]
    assert curves["L2, retrained"].at("accuracy_change", 5)[1] == pytest.approx(change[5] - change[0])
    assert [verdict.id for section in sections for verdict in section.verdicts] == [each.id for each in CLAIMS]


def test_without_a_dense_network_there_is_no_figure():
    sections, _ = sections_for(PAPER, Material(made().filter(pl.col("level") > 0)))
    assert [each.title for each in sections if "paper draws" in each.title] == []
