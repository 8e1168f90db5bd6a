"""Each claim of Deconstructing Lottery Tickets on tables that support it, contradict it, or lack what it needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import polars as pl
import pytest

from overparam.lab import built_in_studies
from overparam.papers.deconstructing.claims import CLAIMS, criteria, held, signs, supermasks, turns
from overparam.report.claims import Claim

LEVELS = [1.0, 0.6, 0.36, 0.216, 0.13, 0.078, 0.047, 0.028, 0.01]
SEEDS = (0, 1, 2)


def arm(
    accuracy: float | Sequence[float], *, seeds: Sequence[int] = SEEDS, kind: str = "train", **told: str
) -> pl.DataFrame:
    """The rows of an arm with one test accuracy below 22 % density (or one for each level) and 95 % above it."""
    each = list(accuracy) if isinstance(accuracy, Sequence) else [0.95 if at > 0.3 else accuracy for at in LEVELS]
    rows = [
        {
            **{"variant": "", "criterion": "large-final", "retraining": "rewind", **told},
            **{"seed": seed, "level": level, "step": 1 + 3 * level, "density": LEVELS[level]},
            **{"kind": kind if level else "train", "test_accuracy": value + 0.0005 * ((7 * seed + 3 * level) % 5)},
        }
        for seed in seeds
        for level, value in enumerate(each)
    ]
    return pl.DataFrame(rows)


def table(*found: pl.DataFrame) -> pl.DataFrame:
    chains = [rows.with_columns((pl.col("seed") + 10 * number).alias("chain")) for number, rows in enumerate(found)]
    return pl.concat(chains)


def by(trait: str, accuracies: Mapping[str, float | Sequence[float]], seeds: Sequence[int] = SEEDS) -> pl.DataFrame:
    return table(*(arm(value, seeds=seeds, **{trait: name}) for name, value in accuracies.items()))


CRITERIA = {"large-final": 0.9, "magnitude-increase": 0.9, "movement": 0.89, "random": 0.8, "small-final": 0.6}
CRITERIA |= {"small-init-small-final": 0.7}
SIGNS = {
    "rewind, signs kept": 0.9,
    **{f"{values}, signs kept": 0.899 for values in ("reinit", "reshuffle", "constant")},
    **{f"{values}, signs drawn": 0.8 for values in ("reinit", "reshuffle", "constant")},
}
HELD = {"zero": 0.9, "initial": 0.7, "zero if toward": 0.91, "zero at random": 0.8, "zero if away": 0.75}
TURNING = {"zero": [0.95] * 3 + [0.9] * 5 + [0.3], "initial": [0.95] * 3 + [0.8] * 5 + [0.5]}
SUPERMASKS = {"heuristic, initial": 0.7, "heuristic, constant": 0.85, "learned and rescaled, constant": 0.97}


def masks(accuracies: Mapping[str, float], seeds: Sequence[int] = SEEDS) -> pl.DataFrame:
    rules = [
        arm([0.96, v - 0.1, v], seeds=seeds, kind="measure", variant=n) for n, v in accuracies.items() if n[0] == "h"
    ]
    rest = [arm([value], seeds=seeds, variant=name) for name, value in accuracies.items() if name[0] != "h"]
    return table(*rules, *rest, arm([0.98], seeds=seeds, variant="trained"))


CASES = [
    (criteria, by("criterion", CRITERIA), "supported"),
    (criteria, by("criterion", CRITERIA | {"movement": 0.7}), "contradicted"),
    (criteria, by("criterion", {"large-final": 0.9}), "not tested"),
    (criteria, by("criterion", CRITERIA, seeds=[0]), "inconclusive"),
    (signs, by("retraining", SIGNS), "supported"),
    (signs, by("retraining", SIGNS | {"constant, signs kept": 0.85}), "contradicted"),
    (signs, by("retraining", SIGNS | {"reinit, signs drawn": 0.92}), "contradicted"),
    (signs, by("retraining", {"rewind": 0.9}), "not tested"),
    (held, by("variant", HELD), "supported"),
    (held, by("variant", HELD | {"initial": 0.95}), "contradicted"),
    (held, by("variant", HELD | {"zero if toward": 0.88}), "contradicted"),
    (held, by("variant", {"zero": 0.9}), "not tested"),
    (turns, by("variant", TURNING), "supported"),
    (turns, by("variant", HELD), "contradicted"),  # zero is better to the end
    (turns, by("variant", {"zero": 0.9}), "not tested"),
    (turns, by("variant", TURNING, seeds=[0]), "inconclusive"),
    (supermasks, masks(SUPERMASKS), "supported"),
    (supermasks, masks(SUPERMASKS | {"heuristic, constant": 0.7}), "contradicted"),
    (supermasks, masks(SUPERMASKS | {"learned and rescaled, constant": 0.94}), "contradicted"),
    (supermasks, by("variant", {"zero": 0.9}), "not tested"),
]


@pytest.mark.parametrize(("claim", "frame", "outcome"), CASES, ids=[f"{c.id}-{n}" for n, (c, _, _) in enumerate(CASES)])
def test_a_claim_is_judged_by_what_the_table_shows(claim: Claim, frame: pl.DataFrame, outcome: str) -> None:
    verdict = claim(frame)
    assert verdict.verdict == outcome, verdict.explanation
    assert verdict.explanation.endswith(".")
    assert outcome != "not tested" or "lacks" in verdict.explanation
    assert outcome != "supported" or "3 seeds" in verdict.explanation


def test_where_the_two_ways_to_hold_meet_is_told() -> None:
    verdict = turns(by("variant", TURNING))
    assert verdict.numbers["zero is above down to"] == pytest.approx(0.028)
    assert "meet below 2.8 % density" in verdict.explanation


def test_the_best_density_counts_and_the_trained_network_does_not() -> None:
    assert supermasks(masks(SUPERMASKS)).numbers["by a rule"] == pytest.approx(0.851, abs=1e-3)


def test_no_claim_fails_on_the_table_of_another_study() -> None:
    found = [by("criterion", CRITERIA), by("retraining", SIGNS), by("variant", HELD), masks(SUPERMASKS)]
    told = [(claim.id, claim(frame).verdict) for frame in found for claim in CLAIMS]
    assert sum(verdict != "not tested" for _, verdict in told) == 5


def test_arms_told_by_name_have_the_names_of_the_studies() -> None:
    studies = built_in_studies()
    assert all(f"  {name}:" in studies["deconstructing-pruned-weights"] for name in HELD)
    assert all(f"  {name}:" in studies["deconstructing-supermasks"] for name in SUPERMASKS)
