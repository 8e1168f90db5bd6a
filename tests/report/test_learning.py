"""Learning curves: levels, parts, means over seeds, smoothing that is told, and single seeds on demand."""

import json

import polars as pl
import pytest
from test_compared import table

from overparam.errors import SpecError
from overparam.report.arms import arms
from overparam.report.general import general_sections, learning_curves
from overparam.report.learning import POINTS, averaged, learning, measured, thinned
from overparam.report.learning_chart import chart_of, learning_chart
from overparam.report.sections import Material

FRAME = table({"a": [0.0, 0.0], "b": [0.0, 0.1]}, levels=6).with_columns(step=pl.col("level"), kind=pl.lit("train"))


def curves(points: int = 3, **more: object) -> pl.DataFrame:
    """Test accuracy of each checkpoint: 0.1 for each iteration so far, plus the seed's hundredth."""
    rows = FRAME.select("variant", "seed", "chain", "level", "step")
    at = pl.DataFrame({"iteration": [10 * (n + 1) for n in range(points)], "point": range(points)})
    made = rows.join(at, how="cross").with_columns(
        test_accuracy=0.1 * (pl.col("point") + 1) + 0.01 * pl.col("seed"), loss=1.0 / (pl.col("point") + 1)
    )
    return made.with_columns(**more).drop("point")


def test_a_line_is_told_by_its_level_from_the_first_to_the_last():
    lines = learning(curves(), arms(FRAME)[0], {"test_accuracy": "test"})
    assert lines["place"].unique(maintain_order=True).to_list() == [
        "100 % density", "25 % density", "12 % density", "3.1 % density",
    ]  # fmt: skip
    first = lines.filter(place="100 % density", seed=1)
    assert first["value"].to_list() == pytest.approx([0.11, 0.21, 0.31])
    assert learning(curves(), arms(FRAME)[0], {"test_accuracy": "test"}, levels=[2])["place"].unique().to_list() == [
        "25 % density"
    ]


def test_means_are_over_seeds_and_their_range_is_shown():
    lines = learning(curves(), arms(FRAME)[0], {"test_accuracy": "test"})
    row = averaged(lines, share=True)[0]
    assert (row["iteration"], row["mean"], row["low"], row["high"]) == (10, 0.105, 0.1, 0.11)


def test_a_smoothed_line_says_so_and_is_the_mean_of_its_neighbours():
    lines = learning(curves(points=5), arms(FRAME)[0], {"test_accuracy": "test"}, smooth=3)
    assert lines["series"].unique().to_list() == ["test, mean of 3 points"]
    first = lines.filter(place="100 % density", seed=0)["value"].to_list()
    assert first == pytest.approx([0.15, 0.2, 0.3, 0.4, 0.45])  # at the ends, of the points that there are
    for wrong in (0, 1.5, True):
        with pytest.raises(SpecError, match="smooth must be a whole number"):
            learning(curves(), arms(FRAME)[0], {"test_accuracy": "test"}, smooth=wrong)


def test_parts_are_drawn_under_label_noise_alone_and_validation_where_there_is_no_test():
    plain = measured(curves(train_accuracy_clean_part=0.5, validation_accuracy=0.4))
    assert [each.metric for each in plain] == ["accuracy", "loss"]
    assert list(plain[0].series) == ["test_accuracy"]
    noisy = measured(curves(train_accuracy_clean_part=0.5, train_accuracy_noisy_part=0.1, test_soft_error=0.3))
    assert list(noisy[0].series.values()) == ["test", "train, right labels", "train, wrong labels"]
    assert [each.metric for each in noisy] == ["accuracy", "soft_error", "loss"]
    assert list(measured(curves(validation_accuracy=0.4).drop("test_accuracy"))[0].series) == ["validation_accuracy"]


def test_long_curves_are_thinned_to_what_can_be_seen_with_their_end():
    lines = learning(curves(points=500), arms(FRAME)[0], {"test_accuracy": "test"})
    shown = thinned(lines)
    assert len(shown) <= POINTS + 1
    assert shown[-1] == 5000


def test_single_seeds_have_a_switch_or_are_left_out():
    (what, _) = measured(curves())
    arm = arms(FRAME)[0]
    spec = learning_chart(curves(), arm, what, each_seed=True).to_dict()
    (switch,) = [each for each in spec["params"] if each["name"] == "each_seed"]
    assert (switch["value"], switch["bind"]["input"]) == (True, "checkbox")
    assert {row["seed"] for row in spec["datasets"]["seeds"]} == {0, 1}
    assert "each_seed" not in json.dumps(learning_chart(curves(), arm, what, each_seed=None).to_dict())


def test_the_page_has_a_chart_for_each_arm_and_says_that_nothing_was_smoothed():
    (section,) = learning_curves(Material(FRAME, curves=curves()))
    assert [chart.name for chart in section.charts] == ["learning-accuracy", "learning-loss"]
    assert len(section.charts[0].drawn_of) == 2
    assert "not smoothed" in section.note
    assert "Learning curves" not in [each.title for each in general_sections(Material(FRAME))]


def test_an_arm_or_a_metric_that_is_not_there_is_refused():
    material = Material(FRAME, curves=curves())
    assert "b" in json.dumps(chart_of(material, "loss", "b", 1, False).to_dict()["title"])
    with pytest.raises(SpecError, match="arm 'c' is not in these results"):
        chart_of(material, "loss", "c", 1, False)
    with pytest.raises(SpecError, match="'soft_error' was not measured while training; there is accuracy, loss"):
        chart_of(material, "soft_error", None, 1, False)


def test_where_the_axis_is_swept_lines_are_told_by_its_values():
    wide = FRAME.filter(level=0, variant="a").with_columns(**{"network.hidden": pl.lit("[8]")})
    more = wide.with_columns(**{"network.hidden": pl.lit("[16]")}, chain=pl.col("chain") + 50)
    frame = pl.concat([wide, more])
    both = pl.concat([curves().filter(chain=pl.col("seed"), level=0)] * 2)
    both = both.with_columns(chain=pl.col("chain") + 50 * (pl.int_range(pl.len()) >= pl.len() // 2))
    (arm,) = arms(frame, "network.hidden")
    lines = learning(both, arm, {"test_accuracy": "test"})
    assert lines["place"].unique(maintain_order=True).to_list() == ["width 8", "width 16"]
