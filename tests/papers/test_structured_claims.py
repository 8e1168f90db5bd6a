"""The claims of Network Slimming and of pruning filters on made-up tables, and on what was found."""

from __future__ import annotations

from typing import Any

import polars as pl

from overparam.papers import claims_for
from overparam.papers.numbers import numbers_of

SEEDS = range(4)


def table(accuracies: dict[tuple[str, str, int], float], **columns: Any) -> pl.DataFrame:
    """One row for each variant, kind and level, and seed; seeds differ by tenths of a point."""
    rows = [
        {
            **{"variant": variant, "kind": kind, "level": level, "seed": seed, "step": level, "chain": number},
            **{
                "density": 1.0 - 0.5 * level,
                "test_accuracy": accuracy + 0.001 * seed + 0.0001 * number * seed,
                **columns,
            },
        }
        for number, ((variant, kind, level), accuracy) in enumerate(accuracies.items())
        for seed in SEEDS
    ]
    return pl.DataFrame(rows)


def slimming(slimmed: float, dense: float = 0.98, pruned: float = 0.9, control: float = 0.95) -> dict[str, str]:
    frame = table(
        {
            ("slimmed", "train", 0): dense,
            ("slimmed", "measure", 1): pruned,
            ("slimmed", "finetune", 2): slimmed,
            ("no penalty", "train", 0): dense,
            ("no penalty", "measure", 1): 0.5,
            ("no penalty", "finetune", 2): 0.97,
            ("random", "finetune", 2): control,
            ("largest scales", "finetune", 2): control,
            ("from scratch", "train", 0): control,
        }
    )
    return {one.id: one.verdict for one in claims_for("network-slimming", frame)}


def test_slimming_as_the_paper_has_it() -> None:
    assert slimming(0.98) == dict.fromkeys(("SLIM-1", "SLIM-2", "SLIM-3", "SLIM-4"), "supported")


def test_slimming_that_loses_a_point_or_is_no_better_than_its_controls() -> None:
    found = slimming(0.97, pruned=0.3, control=0.975)
    assert found == dict.fromkeys(("SLIM-1", "SLIM-2", "SLIM-3", "SLIM-4"), "contradicted")


def filters(smallest: float, greedy: float, control: float) -> dict[str, str]:
    kinds = {"smallest L1": smallest, "greedy": greedy, "random": control, "largest L1": control}
    made = {(variant, "finetune", 2): accuracy for variant, accuracy in kinds.items()}
    parts = [table({**made, ("from scratch", "train", 1): control}, **{"prune.fraction": s}) for s in (0.5, 0.75)]
    return {one.id: one.verdict for one in claims_for("filter-pruning", pl.concat(parts))}


def test_filters_as_the_paper_has_it_and_the_opposite() -> None:
    claims = ("FILT-1", "FILT-2", "FILT-3", "FILT-4")
    assert filters(0.8, 0.82, 0.7) == dict.fromkeys(claims, "supported")
    assert filters(0.7, 0.68, 0.8) == dict.fromkeys(claims, "contradicted")


def test_what_lacks_is_not_tested() -> None:
    frame = table({("slimmed", "finetune", 2): 0.98})
    assert {one.verdict for one in claims_for("network-slimming", frame)} == {"not tested"}


def test_what_was_found() -> None:
    found = {one.id: one.verdict for one in claims_for("network-slimming", numbers_of("network-slimming").frame)}
    assert found.pop("SLIM-1") in ("supported", "inconclusive")
    assert set(found.values()) == {"supported"}
