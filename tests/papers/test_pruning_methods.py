"""The comparison of all pruning methods: its table, its claim, and that no criterion or pattern is forgotten."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from overparam import Study
from overparam.papers.numbers import numbers_of
from overparam.papers.pruning_methods.claims import pruning_is_easiest
from overparam.papers.pruning_methods.methods import markdown, methods
from overparam.prune import CRITERIA, PATTERNS, SCOPES

PAGE = Path(__file__).parents[2] / "docs" / "pruning-methods.md"


def chain(
    number: int, variant: str, density: float | None, seed: int, rows: list[tuple[str, float, float]]
) -> list[dict]:
    """The rows of a chain: kind, density and test accuracy of each; every step takes a second."""
    return [
        {"variant": variant, "prune.density": density, "seed": seed, "chain": number, "step": step, "kind": kind}
        | {"density": at, "test_accuracy": accuracy, "seconds": 1.0, "seconds_before": 2.0 * step}
        | {"latency_dense": 0.002, "latency_sparse": 0.001, "bytes": 1000 * (step + 1), "level": int(at < 1)}
        for step, (kind, at, accuracy) in enumerate(rows)
    ]


def table(pruned: float = 0.95, quantised: float = 0.9, seeds: int = 3) -> pl.DataFrame:
    rows = []
    for seed in range(seeds):
        small = seed / 1000
        steps = [("train", 1.0, 0.97), ("measure", 0.08, 0.5 + small), ("finetune", 0.08, pruned + small)]
        rows += chain(4 * seed, "magnitude", 0.08, seed, steps)
        rows += chain(4 * seed + 1, "dense", None, seed, steps[:1])
        rows += chain(
            4 * seed + 2, "quantised, 4 bits", None, seed, [("train", 1.0, 0.97), ("finetune", 1.0, quantised)]
        )
        rows += chain(4 * seed + 3, "distilled", None, seed, [("train", 1.0, 0.9 - small / 2)])
    return pl.DataFrame(rows)


def test_the_table_has_a_row_for_each_method_and_density() -> None:
    (only,) = methods(table())
    assert (only.name, only.density) == ("magnitude", 0.08)
    assert only.pruned.mean == pytest.approx(0.501)
    assert only.retrained.mean == pytest.approx(0.951)
    assert only.seconds == 1.0, "two seconds before the look, one of them the dense network's"
    assert (only.milliseconds, only.kilobytes) == (1.0, 3.0)
    assert (
        markdown(table())
        .splitlines()[2]
        .startswith("| magnitude | 8.0 % | 50.1 ± 0.2 | 95.1 ± 0.2 | 1.00 | 1.000 | 3 |")
    )


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        (table(), "supported"),
        (table(pruned=0.85), "contradicted"),
        (table(quantised=0.951), "inconclusive"),
        (table(seeds=1), "inconclusive"),
        (table().filter(pl.col("variant") != "distilled"), "not tested"),
    ],
)
def test_the_claim(frame: pl.DataFrame, expected: str) -> None:
    verdict = pruning_is_easiest(frame)
    assert verdict.verdict == expected, verdict.explanation


def test_what_is_compared_is_there() -> None:
    steps = [step for each in Study.named("pruning-methods").experiments for step in each.chain.flat()]
    pruned = [step for step in steps if step.kind == "prune"]
    assert {CRITERIA.label(step.criterion) for step in pruned} <= set(CRITERIA)
    assert {SCOPES.label(step.scope) for step in pruned} == set(SCOPES)
    assert {PATTERNS.label(PATTERNS.resolve(step.pattern)) for step in pruned} >= {"weights", "units"}


def test_the_page_has_the_table_of_the_kept_numbers() -> None:
    assert markdown(numbers_of("pruning-methods").frame) in PAGE.read_text()
