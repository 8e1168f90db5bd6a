from __future__ import annotations

import polars as pl
import pytest
from synthetic import BEST, WORST, arm, study

from overparam.report.arms import arms
from overparam.report.finding import finding, notes
from overparam.report.phases import find_phases, phase_table, phases, resolution


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
    assert BEST / 1.6 < best < BEST * 1.6
    for phase in found.phases[:3]:
        assert phase.end_over_seeds.n == 3
        assert phase.end_over_seeds.low < phase.end < phase.end_over_seeds.high
    assert found.phases[3].end_over_seeds is None


def test_the_double_descent_is_certain_with_three_seeds_and_open_with_one():
    three, one = only(arm()), only(arm(seeds=[0]))
    assert (three.verdict, one.verdict) == ("yes", "unclear")
    assert three.fall.n == 3
    assert 0.03 < three.fall.low < three.fall.mean < three.fall.high < 0.09
    assert (one.fall.n, one.fall.low) == (1, None)
    assert finding(three).endswith("sparse double descent.")
    assert "on one seed" in finding(one)


def test_the_finding_tells_the_numbers():
    shape = only(arm()).shape
    sentence = finding(only(arm()))
    assert sentence.startswith(f"Test accuracy falls from {100 * shape.dense.accuracy:.1f} % (dense) to ")
    assert f"{100 * shape.trough.accuracy:.1f} % at 6.9 % density, then rises to " in sentence


def test_without_label_noise_there_are_two_phases_and_the_answer_is_no():
    found = only(arm(noise_rate=0.0, depth=0))
    assert [phase.name for phase in found.phases] == ["light", "collapsed"]
    assert found.verdict == "no"
    assert finding(found).endswith("no double descent.")
    assert (found.fall.n, found.rise.n) == (0, 0)


def test_without_a_collapse_there_is_one_phase():
    found = only(arm(noise_rate=0.0, depth=0, levels=8))
    assert [phase.name for phase in found.phases] == ["light"]
    assert "neither falls nor rises" in finding(found)


def test_a_second_fall_that_was_not_reached_is_said():
    found = only(arm(levels=19))
    assert [phase.name for phase in found.phases] == ["light", "critical", "sweet"]
    assert found.verdict == "unclear"
    assert finding(found).endswith("except that its second fall was not reached.")
    assert any("prune further" in note for note in notes(found))


def test_a_dense_network_that_does_not_fit_its_labels_is_said():
    assert notes(only(arm())) == []
    assert any("fits only 97.0 % of its training labels" in note for note in notes(only(arm(train_ceiling=0.97))))
    assert any("Train accuracy was not measured" in note for note in notes(only(arm().drop("train_accuracy"))))


def test_seeds_that_stop_early_and_a_missing_dense_network_are_said():
    ragged = arm().filter((pl.col("seed") != 1) | (pl.col("level") < 20))
    found = only(ragged)
    assert any("Of 3 seeds, seed 1 did not reach the last level" in note for note in notes(found))
    assert found.second_fall.n == 2
    headless = only(arm().filter(pl.col("level") > 0))
    assert any("The dense network was not measured; level 1" in note for note in notes(headless))
    assert "(80 % density)" in finding(headless)


def test_a_seed_without_any_test_accuracy_is_left_out():
    blank = pl.when(pl.col("seed") == 2).then(None).otherwise(pl.col("test_accuracy")).alias("test_accuracy")
    found = only(arm().with_columns(blank))
    assert sorted(found.by_seed) == [0, 1]
    assert found.fall.n == 2


def test_arms_without_test_accuracy_have_no_phases():
    assert phases(arm().drop("test_accuracy")) == []
    assert phases(arm().clear()) == []


def test_the_dense_network_alone_is_no_curve():
    found = only(arm(levels=1))
    assert found.phases == ()
    assert "no pruned network was measured" in finding(found)


def test_the_phase_table_has_a_row_a_phase_with_intervals():
    table = phase_table(phases(study(arm(variant="a"), arm(variant="b", noise_rate=0.0, depth=0))))
    assert table["phase"].to_list() == ["light", "critical", "sweet", "collapsed", "light", "collapsed"]
    assert table["double_descent"].to_list() == ["yes"] * 4 + ["no"] * 2
    row = table.row(1, named=True)
    assert row["density_start_low"] < row["density_start"] < row["density_start_high"]
    assert phase_table([]).is_empty()


def test_the_resolution_is_that_of_rounding_to_a_level_of_twenty_percent():
    (found,) = arms(arm().with_columns((0.8 ** pl.col("level")).alias("density")))
    assert resolution(found) == pytest.approx(0.22314 / 12**0.5, abs=1e-4)
    assert find_phases(found).over_seeds("trough").known
