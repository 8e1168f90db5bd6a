from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from synthetic import BEST, WORST, arm, study

from overparam.papers import claims_for
from overparam.papers.sparse_double_descent.finding import finding, notes
from overparam.papers.sparse_double_descent.phases import find_phases, phase_table, phases, resolution
from overparam.report.arms import arms
from sampling import sampled


def only(frame):
    (found,) = phases(frame)
    return found


def test_the_four_phases_meet_at_the_turning_points():
    found = only(arm())
    assert [phase.name for phase in found.phases] == ["light", "critical", "sweet", "collapsed"]
    assert found.phases[0].start == 1.0
    assert all(before.end == after.start for before, after in zip(found.phases, found.phases[1:], strict=False))
    worst, best = found.phases[1].end, found.phases[2].end
    # Read off levels of 20 %, so known to a level each.
    assert WORST / 1.3 < worst < WORST * 1.3
    assert BEST / 1.6 < found.shape.peak.density < BEST * 1.6
    assert best < found.shape.peak.density  # the sweet phase lasts until test accuracy is below the dense one
    for phase in found.phases[:3]:
        assert phase.end_over_seeds.n == 3
        assert phase.end_over_seeds.low <= phase.end <= phase.end_over_seeds.high
    assert found.phases[3].end_over_seeds is None


def test_the_double_descent_is_certain_with_three_seeds_and_open_with_one():
    three, one = only(arm()), only(arm(seeds=[0]))
    assert (three.verdict, one.verdict) == ("yes", "unclear")
    assert three.fall.n == 3
    assert 0.03 < three.fall.low < three.fall.mean < three.fall.high < 0.09
    assert (one.fall.n, one.fall.low) == (1, None)
    assert finding(three).endswith("sparse double descent over density.")
    assert "one seed cannot tell" in finding(one)


def test_the_finding_tells_the_numbers():
    shape = only(arm()).shape
    sentence = finding(only(arm()))
    assert sentence.startswith(f"Test accuracy falls from {100 * shape.dense.accuracy:.1f} % (dense) to ")
    assert f"{100 * shape.trough.accuracy:.1f} % at 6.9 % density, then rises to " in sentence


def test_a_flat_curve_that_collapses_has_no_phases_and_the_answer_is_no():
    found = only(arm(noise_rate=0.0, depth=0))
    assert found.phases == ()
    assert found.verdict == "no"
    assert "stays near" in finding(found)
    assert "then falls to" in finding(found)
    assert "descent" not in finding(found)  # there is no label noise
    assert finding(only(arm(depth=0))).endswith(": no double descent over density.")


def test_a_curve_that_stays_or_rises_is_said_to():
    assert "stays near" in finding(only(arm(noise_rate=0.0, depth=0, levels=8)))
    rising = arm(noise_rate=0.0, depth=0, levels=12).with_columns(
        pl.col("test_accuracy") - 0.2 + pl.min_horizontal(0.107, 0.02 * pl.col("level"))
    )
    found = only(rising)
    assert found.verdict == "no"
    assert finding(found).startswith("Test accuracy rises by 10.")


def test_a_sweep_that_ends_on_its_way_decides_nothing():
    rising = only(arm(levels=19))
    assert (rising.verdict, rising.phases) == ("not decided", ())
    assert finding(rising).endswith("Not decided: still rising at 1.8 %.")
    assert any("prune further to see the second fall" in note for note in notes(rising))
    falling = only(arm(levels=5))
    assert falling.verdict == "not decided"
    assert finding(falling).endswith("Not decided: still falling at 41 %.")
    assert "collapse" not in finding(falling)


def test_a_fall_at_the_end_decides_once_the_network_cannot_fit_its_right_labels():
    def ending(train):
        ends = pl.when(pl.col("level") == 27).then(train).otherwise(pl.col("train_accuracy"))
        return only(arm(depth=0).with_columns(ends.alias("train_accuracy")))

    assert ending(0.9).moving == "falling"  # 20 % of the labels are wrong, and half of those are still known by heart
    assert ending(0.9).verdict == "not decided"
    assert ending(0.7).verdict == "no"


@pytest.mark.sampled
@pytest.mark.parametrize("draw", sampled(range(200)))
def test_part_of_a_finished_study_has_no_verdict(draw):
    """Rows that fell out at random, that a stopped study has not reached, or the ends of its chains."""
    whole, random = study(arm(variant="a"), arm(variant="b", depth=0)), np.random.default_rng(draw)
    kinds = (
        lambda: whole.sample(int(random.integers(1, len(whole))), seed=draw),
        lambda: whole.head(int(random.integers(1, len(whole)))),
        lambda: whole.filter(pl.col("level") < int(random.integers(1, 28))),
    )
    part = kinds[draw % 3]()
    for one in phases(part, len(whole) - len(part)):
        assert one.verdict == "incomplete"
        assert one.lacks == f"{len(part)} of 168 rows"
        assert (one.phases, one.shape.trough, one.shape.borders, one.fall.n) == ((), None, {}, 0)
        assert finding(one).startswith(f"Incomplete: {len(part)} of 168 rows.")
        assert not any("prune further" in note for note in notes(one))
    assert {verdict.verdict for verdict in claims_for("sparse-double-descent", part, len(whole) - len(part))} <= {
        "not tested"
    }


def test_a_dense_network_that_does_not_fit_its_labels_is_said():
    assert notes(only(arm())) == []
    assert any("fits only 97.0 % of its training labels" in note for note in notes(only(arm(train_ceiling=0.97))))
    assert any("Train accuracy was not measured" in note for note in notes(only(arm().drop("train_accuracy"))))


def test_seeds_that_stop_early_and_a_missing_dense_network_are_said():
    ragged = only(arm().filter((pl.col("seed") != 1) | (pl.col("level") < 20)))
    assert (ragged.verdict, ragged.lacks) == ("incomplete", "76 of 84 rows")
    headless = only(arm().filter(pl.col("level") > 0))
    assert any("The dense network was not measured; level 1" in note for note in notes(headless))
    assert "(80 % density)" in finding(headless)


def test_an_accuracy_that_is_missing_is_a_row_that_is_missing():
    blank = pl.when(pl.col("seed") == 2).then(None).otherwise(pl.col("test_accuracy")).alias("test_accuracy")
    found = only(arm().with_columns(blank))
    assert (found.verdict, found.lacks) == ("incomplete", "56 of 84 rows")
    other = study(arm(variant="a"), arm(variant="b", seeds=[0, 1]))
    assert [one.lacks for one in phases(other)] == ["140 of 168 rows"] * 2


def test_arms_without_test_accuracy_have_no_phases():
    assert phases(arm().drop("test_accuracy")) == []
    assert phases(arm().clear()) == []


def test_the_dense_network_alone_is_no_curve():
    found = only(arm(levels=1))
    assert found.phases == ()
    assert "no pruned network was measured" in finding(found)


def test_the_phase_table_has_a_row_a_phase_with_intervals():
    table = phase_table(phases(study(arm(variant="a"), arm(variant="b", noise_rate=0.0, depth=0))))
    assert table["phase"].to_list() == ["light", "critical", "sweet", "collapsed", None]
    assert table["double_descent"].to_list() == ["yes"] * 4 + ["no"]
    row = table.row(1, named=True)
    assert row["density_start_low"] < row["density_start"] < row["density_start_high"]
    assert phase_table(phases(arm(), 3))["lacks"].to_list() == ["84 of 87 rows"]
    assert phase_table([]).is_empty()


def test_the_resolution_is_that_of_rounding_to_a_level_of_twenty_percent():
    (found,) = arms(arm().with_columns((0.8 ** pl.col("level")).alias("density")))
    assert resolution(found, 0.8**9) == pytest.approx(1.96 * 0.22314 / 12**0.5, abs=1e-4)
    assert find_phases(found).over_seeds("trough").known


def test_the_resolution_is_finer_where_a_layer_that_is_not_pruned_makes_up_the_density():
    (found,) = arms(arm().with_columns((0.1 + 0.9 * 0.8 ** pl.col("level")).alias("density")))
    dense, sparse = resolution(found, 1.0), resolution(found, found.positions[20])
    assert dense == pytest.approx(1.96 * -np.log(0.82) / 12**0.5, abs=1e-4)
    assert sparse < dense / 5


def test_places_are_found_on_the_validation_set_where_there_is_one():
    tests, other = arm(worst=0.07), arm(worst=0.15)
    both = tests.with_columns(validation_accuracy=other["test_accuracy"])
    found, alone, aside = only(both), only(tests), only(other)
    assert found.shape.chosen_on == "validation"
    assert alone.shape.chosen_on == "test"
    assert found.shape.trough.level == aside.shape.trough.level != alone.shape.trough.level
    accuracies = tests.filter(pl.col("level") == found.shape.trough.level)["test_accuracy"]
    assert found.shape.trough.accuracy == pytest.approx(accuracies.mean())
    assert any("found on the validation set" in note for note in notes(found))
    assert not any("validation" in note for note in notes(alone))
