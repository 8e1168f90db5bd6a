"""Paired differences: two arms, seed by seed."""

import polars as pl
import pytest

from overparam.errors import DataError
from overparam.report.arms import arms
from overparam.report.claims import Finding, claim
from overparam.report.paired import above, arm_of, by_seed, paired, pooled


@pytest.fixture
def table() -> pl.DataFrame:
    rows = [
        {
            "variant": variant,
            "seed": seed,
            "chain": chain,
            "level": level,
            "density": 0.5**level * shift,
            "test_accuracy": 0.9 - 0.1 * level + 0.01 * seed + gain,
        }
        for chain, (variant, shift, gain) in enumerate([("ticket", 1.0, 0.05), ("reinit", 1.001, 0.0)])
        for seed in range(3)
        for level in range(4)
    ]
    return pl.DataFrame([{**row, "chain": row["chain"] * 3 + row["seed"]} for row in rows])


def test_seeds_are_paired_at_places_that_nearly_agree(table: pl.DataFrame) -> None:
    found = arms(table)
    ticket, reinit = arm_of(found, variant="ticket"), arm_of(found, variant="reinit")
    assert ticket is not None
    assert reinit is not None
    differences = paired(ticket, reinit)
    assert [each.at for each in differences] == pytest.approx([1.0, 0.5, 0.25, 0.125])
    for each in differences:
        assert each.estimate.n == 3
        assert each.estimate.low == pytest.approx(0.05)
    assert paired(ticket, reinit, apart=1e-4) == []


def test_places_are_pooled_within_each_seed(table: pl.DataFrame) -> None:
    ragged = table.filter(~((pl.col("seed") == 2) & (pl.col("level") == 3) & (pl.col("variant") == "reinit")))
    found = arms(ragged)
    differences = paired(found[0], found[1])
    assert pooled(differences).n == 2  # one seed lacks the last place
    assert pooled(differences, low=0.2).n == 3
    assert pooled(differences, low=0.2).mean == pytest.approx(0.05)
    assert pooled([]).n == 0


def test_an_arm_is_found_by_its_values_or_refused(table: pl.DataFrame) -> None:
    found = arms(table)
    assert arm_of(found, variant="none of these") is None
    with pytest.raises(DataError, match=r"ticket, reinit; name more values"):
        arm_of(found)


def test_a_claim_that_could_be_about_several_arms_is_not_tested(table: pl.DataFrame) -> None:
    @claim("X-1", "Tickets are better.", needs=("variant",))
    def better(frame: pl.DataFrame) -> Finding:
        return Finding("supported", f"arm {arm_of(arms(frame), dataset=None)}")

    verdict = better(table)
    assert verdict.verdict == "not tested"
    assert "ticket, reinit; name more values" in verdict.explanation


def test_rows_by_seed_and_whether_one_is_above_another() -> None:
    rows = [
        {"variant": v, "kind": k, "seed": s, "step": n, "test_accuracy": a}
        for v, k, s, n, a in (
            *(("one", "train", 0, 0, 0.5), ("one", "train", 0, 2, 0.9), ("one", "train", 1, 0, 0.91)),
            *(("other", "train", 0, 0, 0.8), ("other", "train", 1, 0, 0.8), ("other", "prune", 2, 0, None)),
        )
    ]
    frame = pl.DataFrame(rows)
    first, second = (by_seed(frame, variant=name, kind="train") for name in ("one", "other"))
    assert (first, second) == ({0: 0.9, 1: 0.91}, {0: 0.8, 1: 0.8})
    assert by_seed(frame, "test_loss") == by_seed(frame, width=3) == by_seed(frame, variant="other", kind="prune") == {}
    found = above(first, second, "one", "other")
    assert (found.outcome, found.numbers["difference"]) == ("supported", pytest.approx(0.105))
    assert above(second, first, "other", "one").outcome == "contradicted"
    assert above(second, first, "other", "one", loss=0.2).outcome == "supported"
    assert above(first, {}, "one", "other").explanation == "The study lacks other."
