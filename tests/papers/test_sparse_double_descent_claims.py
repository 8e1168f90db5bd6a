"""Each claim on tables made to support it, to contradict it, to leave it open, and to lack what it needs."""

from __future__ import annotations

import polars as pl
import pytest
from synthetic import arm, study

from overparam.papers import claims_for
from overparam.papers.sparse_double_descent.claims import (
    CLAIMS,
    distance_peaks_at_worst,
    falls_rises_falls,
    falls_while_fitting,
    finetuning_shows_it,
    noise_spreads_the_turns,
    random_turns_earlier,
    reinit_turns_earlier,
    verdicts,
)
from overparam.papers.sparse_double_descent.contrasts import contrasts
from overparam.papers.sparse_double_descent.curves import distance_peak
from overparam.papers.sparse_double_descent.distilled import (
    dense_teacher_removes_it,
    sparse_teacher_removes_it,
    student_is_better_at_the_trough,
)
from overparam.papers.sparse_double_descent.other_arms import (
    asymmetric_noise_shows_it,
    best_epoch_shows_none,
    lr_rewinding_shows_it,
    neurons_show_it,
    one_shot_shows_it,
    pair_flip_noise_shows_it,
    reinit_wins_then_loses,
    sparse_beats_dense,
)
from overparam.papers.sparse_double_descent.phases import phases

FLAT = {"depth": 0}


def flat_while_fitting(frame: pl.DataFrame) -> pl.DataFrame:
    """Keep test accuracy at its dense value as long as train accuracy is over 99 %."""
    steady = 0.88 + 0.001 * (pl.col("seed") - 1)
    return frame.with_columns(
        pl.when(pl.col("train_accuracy") > 0.99).then(steady).otherwise(pl.col("test_accuracy")).alias("test_accuracy")
    )


def more_noise(**changes):
    return study(arm(), arm(**{"noise_rate": 0.4, "worst": 0.09, "best": 0.005} | changes))


def random_and_magnitude(worst, best, **changes):
    return study(arm(**changes), arm(criterion="random", worst=worst, best=best, **changes))


def reinit_and_rewind(worst, best, **changes):
    return study(arm(**changes), arm(retraining="reinit", worst=worst, best=best, **changes))


def of_kind(kind, **changes):
    return arm(**changes).with_columns(pl.lit(kind).alias("world.label_noise.kind"))


def taught(student, name="from a sparse network"):
    return study(arm(variant="plain"), student.with_columns(variant=pl.lit(name)))


def stopped(frame, **changes):
    return frame.with_columns(early_stop_test_accuracy=arm(**changes)["test_accuracy"])


CASES = [
    (falls_rises_falls, arm(), "supported"),
    (falls_rises_falls, arm(**FLAT), "contradicted"),
    (falls_rises_falls, arm(levels=19), "inconclusive"),  # the second fall is not reached
    (falls_rises_falls, arm(seeds=[0]), "inconclusive"),
    (falls_rises_falls, arm(scatter=0.05, seeds=[0, 1]), "inconclusive"),
    (falls_rises_falls, arm(noise_rate=0.0, **FLAT), "not tested"),
    (falls_rises_falls, arm().drop("test_accuracy"), "not tested"),
    (falls_while_fitting, arm(), "supported"),
    (falls_while_fitting, flat_while_fitting(arm()), "contradicted"),
    (falls_while_fitting, arm(train_ceiling=0.97), "inconclusive"),
    (falls_while_fitting, arm(seeds=[0]), "inconclusive"),
    (falls_while_fitting, arm().drop("train_accuracy"), "not tested"),
    (distance_peaks_at_worst, arm(), "supported"),
    (distance_peaks_at_worst, arm(distance_shift=4.0), "contradicted"),
    (distance_peaks_at_worst, arm(distance_shift=0.25), "contradicted"),
    (distance_peaks_at_worst, arm(seeds=[0]), "inconclusive"),
    (distance_peaks_at_worst, arm(**FLAT), "inconclusive"),
    (distance_peaks_at_worst, arm().with_columns(learning_distance=13 - pl.col("level") / 10.0), "contradicted"),
    (distance_peaks_at_worst, arm().drop("learning_distance"), "not tested"),
    (random_turns_earlier, random_and_magnitude(0.2, 0.03), "supported"),
    (random_turns_earlier, random_and_magnitude(0.02, 0.004), "contradicted"),
    (random_turns_earlier, random_and_magnitude(0.065, 0.0085), "inconclusive"),
    (random_turns_earlier, random_and_magnitude(0.2, 0.03, seeds=[0]), "inconclusive"),
    (random_turns_earlier, study(arm(), arm(criterion="random", **FLAT)), "inconclusive"),
    (random_turns_earlier, arm(), "not tested"),
    (noise_spreads_the_turns, more_noise(), "supported"),
    (noise_spreads_the_turns, more_noise(best=0.03), "contradicted"),
    (noise_spreads_the_turns, more_noise(worst=0.02, best=0.004), "contradicted"),
    (noise_spreads_the_turns, more_noise(seeds=[0]), "not tested"),  # the other arm has three
    (noise_spreads_the_turns, study(arm(levels=19), arm(noise_rate=0.4, worst=0.09, best=0.005)), "inconclusive"),
    (noise_spreads_the_turns, study(arm(), arm(noise_rate=0.0, **FLAT)), "not tested"),
    (finetuning_shows_it, study(arm(), arm(retraining="finetune", worst=0.05)), "supported"),
    (finetuning_shows_it, study(arm(), arm(retraining="finetune", **FLAT)), "contradicted"),
    (finetuning_shows_it, study(arm(), arm(retraining="finetune", seeds=[1])), "not tested"),
    (finetuning_shows_it, arm(retraining="finetune", seeds=[1]), "inconclusive"),
    (finetuning_shows_it, arm(), "not tested"),
    (finetuning_shows_it, arm(retraining="finetune").with_columns(pl.col("step") + 1), "not tested"),  # at first
    (random_turns_earlier, random_and_magnitude(0.2, 0.03, variant="neurons"), "not tested"),
    (reinit_turns_earlier, reinit_and_rewind(0.13, 0.02), "supported"),
    (reinit_turns_earlier, reinit_and_rewind(0.025, 0.005), "contradicted"),
    (reinit_turns_earlier, reinit_and_rewind(0.065, 0.0085), "inconclusive"),
    (reinit_turns_earlier, arm(), "not tested"),
    (reinit_wins_then_loses, reinit_and_rewind(0.2, 0.04), "supported"),
    (reinit_wins_then_loses, reinit_and_rewind(0.065, 0.0085), "inconclusive"),
    (reinit_wins_then_loses, study(arm(), arm(retraining="reinit", depth=2)), "contradicted"),
    (reinit_wins_then_loses, arm(), "not tested"),
    (sparse_beats_dense, arm(noise_rate=0.4), "supported"),
    (sparse_beats_dense, arm(noise_rate=0.4, depth=0.1), "inconclusive"),
    (sparse_beats_dense, arm(), "not tested"),
    (asymmetric_noise_shows_it, study(of_kind("symmetric"), of_kind("asymmetric")), "supported"),
    (asymmetric_noise_shows_it, of_kind("asymmetric", **FLAT), "contradicted"),
    (pair_flip_noise_shows_it, of_kind("pair-flip"), "supported"),
    (pair_flip_noise_shows_it, of_kind("symmetric"), "not tested"),
    (falls_rises_falls, of_kind("pair-flip"), "not tested"),
    (lr_rewinding_shows_it, arm(retraining="lr-rewind"), "supported"),
    (lr_rewinding_shows_it, arm(), "not tested"),
    (one_shot_shows_it, arm(variant="one-shot"), "supported"),
    (one_shot_shows_it, arm(variant="neurons"), "not tested"),
    (neurons_show_it, arm(variant="neurons", **FLAT), "contradicted"),
    (best_epoch_shows_none, stopped(arm(), **FLAT), "supported"),
    (best_epoch_shows_none, stopped(arm()), "contradicted"),
    (best_epoch_shows_none, stopped(arm(**FLAT), **FLAT), "inconclusive"),
    (best_epoch_shows_none, arm(), "not tested"),
    (sparse_teacher_removes_it, taught(arm(**FLAT)), "supported"),
    (sparse_teacher_removes_it, taught(arm()), "contradicted"),
    (sparse_teacher_removes_it, arm(variant="plain"), "not tested"),
    (dense_teacher_removes_it, taught(arm(**FLAT), "from the dense network"), "supported"),
    (dense_teacher_removes_it, taught(arm(**FLAT)), "not tested"),
    (student_is_better_at_the_trough, taught(arm(**FLAT)), "supported"),
    (student_is_better_at_the_trough, taught(arm(depth=1.5)), "contradicted"),
]


@pytest.mark.parametrize(("claim", "frame", "outcome"), CASES, ids=[f"{c.id}-{n}" for n, (c, _, _) in enumerate(CASES)])
def test_a_claim_is_judged_by_what_the_table_shows(claim, frame, outcome):
    verdict = claim(frame)
    assert verdict.verdict == outcome, verdict.explanation
    assert verdict.id == claim.id
    assert verdict.explanation.endswith(".")
    if outcome == "not tested":
        assert "lack" in verdict.explanation or "Incomplete" in verdict.explanation
    elif outcome == "supported":
        assert "3 seeds" in verdict.explanation
        assert any(name.endswith(("_low", "largest_rise_points")) for name in verdict.numbers)


def test_nothing_is_supported_by_one_seed():
    frame = study(
        *(
            arm(seeds=[0], **changes)
            for changes in (
                {},
                {"noise_rate": 0.4, "worst": 0.09, "best": 0.005},
                {"criterion": "random", "worst": 0.2, "best": 0.03},
                {"retraining": "finetune"},
                {"retraining": "reinit", "worst": 0.13, "best": 0.02},
            )
        )
    )
    found = [verdict for verdict in verdicts(frame) if verdict.verdict != "not tested"]
    assert len(found) == 10
    assert {verdict.verdict for verdict in found} == {"inconclusive"}
    assert all("one seed, no interval" in verdict.explanation for verdict in found)


def test_several_noise_rates_must_agree():
    both = falls_rises_falls(study(arm(), arm(noise_rate=0.4)))
    torn = falls_rises_falls(study(arm(), arm(noise_rate=0.4, **FLAT)))
    assert (both.verdict, torn.verdict) == ("supported", "inconclusive")
    assert "(supported)" in torn.explanation
    assert "(contradicted)" in torn.explanation


def test_arms_are_told_by_what_was_done_and_not_by_name():
    frame = study(arm(variant="random"), arm(variant="magnitude", criterion="random", worst=0.2, best=0.03))
    assert random_turns_earlier(frame).verdict == "supported"


def test_only_arms_alike_in_all_else_are_set_against_each_other():
    def lr(frame, value):
        return frame.with_columns(pl.lit(value).alias("train.lr"))

    plain, random = arm(), arm(criterion="random", worst=0.2, best=0.03)
    swept = phases(study(lr(plain, 0.1), lr(random, 0.1), lr(plain, 0.01), lr(random, 0.01)))
    pairs = contrasts(swept, "criterion", "magnitude", "random")
    assert [(a.arm.values["train.lr"], b.arm.values["train.lr"]) for a, b in pairs] == [(0.1, 0.1), (0.01, 0.01)]
    apart = study(lr(plain, 0.1), lr(plain, 0.2), lr(random, 0.2))
    assert len(contrasts(phases(apart), "criterion", "magnitude", "random")) == 1
    alone = random_turns_earlier(study(arm(), arm(noise_rate=0.4, criterion="random")))
    assert alone.verdict == "not tested"
    assert "differ in criterion only" in alone.explanation


def test_the_distance_peak_is_the_top_of_its_climb_and_not_the_dense_network():
    def peak(values):
        (one,) = phases(arm(levels=len(values), seeds=[0]).with_columns(learning_distance=pl.Series(values)))
        found, _ = distance_peak(one)
        return None if found is None else found.mean

    assert peak([12.98, 11.00, 11.66, 12.51, 12.34, 10.92, 9.08]) == 3
    assert peak([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]) == 6  # it ends while it climbs, as far from the trough as can be
    assert peak([9.0, 8.0, 7.0, 6.0, 5.0, 4.0, 3.0]) is None


def test_the_kept_part_is_judged_on_its_own_column():
    frame = arm()
    flat = frame.with_columns(learning_distance=pl.lit(20.0), learning_distance_kept=pl.col("learning_distance"))
    by_id = {claim.id: claim(flat) for claim in CLAIMS}
    whole = {claim.id: claim(frame) for claim in CLAIMS}["SDD-3"]
    assert by_id["SDD-3"].verdict == "contradicted"
    assert by_id["SDD-3k"].verdict == whole.verdict == "supported"
    assert by_id["SDD-3k"].numbers == whole.numbers


def test_the_numbers_of_a_claim_are_those_of_the_table():
    frame = arm()
    (found,) = phases(frame)
    numbers = falls_rises_falls(frame).numbers
    means = frame.group_by("level").agg(pl.col("test_accuracy").mean()).sort("level")["test_accuracy"]
    assert numbers["fall_points"] == pytest.approx(100 * (means[0] - means[found.shape.trough.level]))
    assert numbers["worst_density"] == pytest.approx(found.shape.trough.density)
    assert numbers["fall_points_low"] < numbers["fall_points"] < numbers["fall_points_high"]


def test_a_study_gets_the_claims_of_its_paper_and_no_other():
    assert [verdict.id for verdict in claims_for("sparse-double-descent", arm())] == [claim.id for claim in CLAIMS]
    assert len(CLAIMS) == 23
    assert claims_for("", arm()) == []
    for bare in (arm(levels=1), pl.DataFrame()):
        assert {found.verdict for found in claims_for("sparse-double-descent", bare)} == {"not tested"}
