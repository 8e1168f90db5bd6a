from __future__ import annotations

import json
from itertools import pairwise

import altair as alt
import pytest
from synthetic import arm, study

from overparam.errors import SpecError
from overparam.papers.sparse_double_descent.phases import phases
from overparam.papers.sparse_double_descent.sections import marks_of
from overparam.report import level_table
from overparam.report.charts import panel_chart, panel_data
from overparam.report.figures import figure, save_chart
from overparam.report.multiples import comparison_chart
from overparam.report.panels import ACCURACY, DISTANCE, KEPT_DISTANCE, SOFT_ERROR, series_of
from overparam.report.sections import ArmCharts
from overparam.report.theme import theme


def stacked(one, *panels):
    marks = {one.arm.label: marks_of(one)}
    return figure(
        one.arm, [ArmCharts(panel, [one.arm], marks) for panel in panels or (ACCURACY, DISTANCE, KEPT_DISTANCE)]
    )


@pytest.fixture(scope="module")
def found():
    return phases(arm())[0]


def test_the_density_axis_runs_from_dense_to_sparse_on_a_log_scale_in_percent(found):
    spec = panel_chart(found.arm, ACCURACY, marks_of(found)).to_dict()  # to_dict checks it against Vega-Lite's schema
    x = next(layer["encoding"]["x"] for layer in spec["layer"] if layer["mark"]["type"] == "line")
    assert x["scale"]["type"] == "log"
    assert x["scale"]["domain"] == [1, pytest.approx(found.shape.last.density)]
    assert x["axis"]["format"] == "~%"
    assert x["axis"]["values"][0] == 1.0
    assert min(x["axis"]["values"]) >= found.shape.last.density


def test_curves_bands_phases_turns_and_hover_carry_the_numbers(found):
    data = panel_data(found.arm, ACCURACY, marks_of(found))
    assert {row["series"] for row in data["accuracy-curves"]} == {
        "test",
        "train (noisy labels)",
        "train (clean labels)",
    }
    assert all(row["low"] - 1e-9 <= row["mean"] <= row["high"] + 1e-9 for row in data["accuracy-curves"])
    assert [row["name"] for row in data["accuracy-bands"]] == ["light", "critical", "sweet", "collapsed"]
    assert data["accuracy-points"][1]["text"] == f"trough {100 * found.shape.trough.accuracy:.1f} %"
    levels = data["accuracy-levels"]
    assert len(levels) == 28
    assert levels[0]["at"].startswith("100 %, 266,200 weights (level 0)")
    assert all(before["end"] == after["start"] for before, after in pairwise(levels))
    assert levels[12]["band"] == "critical"
    assert " to " in levels[12]["s0"]


def test_without_noise_there_is_one_kind_of_train_label():
    (clean,) = phases(arm(noise_rate=0.0, depth=0))
    assert series_of(clean.arm, ACCURACY) == {"test_accuracy": "test", "train_accuracy": "train"}
    assert panel_data(clean.arm, ACCURACY, marks_of(clean)).keys() == {
        f"accuracy-{name}" for name in ("levels", "curves", "bands", "borders")
    }


def test_phases_are_drawn_where_the_answer_is_yes_and_grey_where_nothing_is_decided():
    def bands(frame, missing=0):
        (one,) = phases(frame, missing)
        data = panel_data(one.arm, ACCURACY, marks_of(one))
        assert ("accuracy-points" in data) == (one.verdict == "yes")
        return [(row["name"], row["look"]) for row in data["accuracy-bands"]]

    assert [look for _, look in bands(arm())] == ["plain", "bad", "good", "gone"]
    assert bands(arm(noise_rate=0.0, depth=0)) == []
    assert bands(arm(seeds=[0])) == [("unclear", "open")]
    assert bands(arm(levels=19)) == [("not decided", "open")]
    assert bands(arm(), missing=1) == [("incomplete", "open")]


def test_bands_are_what_tables_show_the_range_of_few_seeds_and_the_interval_of_more():
    for seeds in (3, 5):
        (one,) = phases(arm(seeds=range(seeds)))
        table, rows = level_table(one.arm), panel_data(one.arm, ACCURACY)["accuracy-curves"]
        tests = [row for row in rows if row["series"] == "test"]
        assert [row["low"] for row in tests] == table["test_accuracy_low"].to_list()
        assert [row["high"] for row in tests] == table["test_accuracy_high"].to_list()
        ranged = one.arm.at("test_accuracy", 5).values()
        assert (tests[5]["low"] == min(ranged)) == (seeds == 3)


def test_a_probe_that_is_missing_leaves_its_line_or_its_chart_out():
    (bare,) = phases(arm().drop("train_accuracy_clean", "learning_distance_pruned", "test_soft_error"))
    assert list(series_of(bare.arm, DISTANCE).values()) == ["all weights", "kept weights"]
    assert panel_chart(bare.arm, SOFT_ERROR) is None
    assert stacked(bare, SOFT_ERROR) is None


def test_arms_are_compared_in_one_chart_with_a_line_each():
    found = phases(study(arm(variant="a"), arm(variant="b", criterion="random", worst=0.2, best=0.03)))
    spec = comparison_chart([one.arm for one in found]).to_dict()
    assert {row["arm"] for row in spec["datasets"]["arms"]} == {"a", "b"}
    marks = next(layer for layer in spec["layer"] if layer["mark"]["type"] == "point")
    assert marks["encoding"]["shape"]["scale"]["domain"] == ["a", "b"]  # not told by colour alone


def test_a_limit_on_rows_set_for_altair_does_not_apply(found):
    with alt.data_transformers.enable(max_rows=10):
        assert len(comparison_chart([found.arm]).to_dict()["datasets"]["arms"]) == 28
        assert len(stacked(found).to_dict()["datasets"]["accuracy-curves"]) == 84


@pytest.mark.parametrize(
    ("suffix", "start"), [(".png", b"\x89PNG"), (".svg", b"<svg"), (".pdf", b"%PDF"), (".json", b"{")]
)
def test_charts_are_written_to_files(found, tmp_path, suffix, start):
    path = save_chart(stacked(found), tmp_path / f"chart{suffix}", dark=suffix == ".svg")
    content = path.read_bytes()
    assert content.startswith(start)
    if suffix == ".svg":
        text = content.decode()
        assert all(f">{word}<" in text for word in ("critical", "collapsed", "train (noisy labels)", "100%", "1%"))
        assert theme(dark=True)["background"] in text
    if suffix == ".json":
        assert json.loads(content)["config"]["axis"]


def test_other_suffixes_are_refused(found, tmp_path):
    with pytest.raises(SpecError, match=r"cannot be written as 'chart.bmp'; end it in .png, .svg, .pdf or .json"):
        save_chart(stacked(found), tmp_path / "chart.bmp")
