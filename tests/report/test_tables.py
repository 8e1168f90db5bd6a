from __future__ import annotations

import io
import json

import polars as pl
import pytest
from rich.console import Console
from synthetic import arm

from overparam.errors import SpecError
from overparam.report.arms import arms
from overparam.report.phases import phases
from overparam.report.tables import export, level_table, rich_table, summary


def test_the_level_table_has_means_intervals_and_phases():
    (found,) = phases(arm())
    table = level_table(found.arm, found)
    values = arm().filter(pl.col("level") == 12)["test_accuracy"]
    row = table.row(12, named=True)
    assert row["test_accuracy"] == pytest.approx(values.mean())
    # Three values: the half width is 4.3027 (t, two degrees of freedom) standard errors.
    assert row["test_accuracy_high"] - row["test_accuracy"] == pytest.approx(4.3027 * values.std() / 3**0.5, rel=1e-4)
    assert (row["level"], row["n"], row["phase"]) == (12, 3, "critical")
    assert table["phase"].to_list()[0] == "light"
    assert table["phase"].to_list()[-1] == "collapsed"


def test_one_seed_has_no_interval_and_missing_probes_leave_columns_out():
    (one,) = arms(arm(seeds=[3]).drop("learning_distance", "kept"))
    table = level_table(one)
    assert table["test_accuracy_low"].null_count() == table.height
    assert "learning_distance" not in table.columns
    assert "phase" not in table.columns


def test_the_spread_reaches_from_the_lowest_to_the_highest_seed():
    (found,) = arms(arm())
    row = summary(found, ["test_loss", "never_measured"]).row(5, named=True)
    values = arm().filter(pl.col("level") == 5)["test_loss"]
    assert (row["test_loss_min"], row["test_loss_max"]) == (values.min(), values.max())
    assert "never_measured" not in row


def test_the_terminal_table_marks_worst_and_best_in_words():
    (found,) = phases(arm())
    out = io.StringIO()
    Console(file=out, width=140).print(rich_table(found.arm, found))
    lines = out.getvalue().splitlines()
    assert sum("(worst)" in line for line in lines) == 1
    assert "6.9 %" in next(line for line in lines if "(worst)" in line)
    assert any("(best)" in line for line in lines)
    assert "±" in out.getvalue()


def test_tables_are_exported_and_read_back(tmp_path):
    frame = pl.DataFrame({"level": [0, 1], "test_loss": [0.5, float("nan")], "variant": ["a, b", 'say "c"']})
    assert pl.read_csv(io.StringIO(export(frame, "csv")))["variant"].to_list() == ["a, b", 'say "c"']
    assert json.loads(export(frame, "json"))[1] == {"level": 1, "test_loss": None, "variant": 'say "c"'}
    assert export(frame, "parquet", tmp_path / "t.parquet") is None
    assert pl.read_parquet(tmp_path / "t.parquet").columns == frame.columns
    export(frame, "csv", tmp_path / "t.csv")
    assert pl.read_csv(tmp_path / "t.csv").height == 2


def test_lists_in_a_table_are_written_to_csv_as_text():
    assert "[300, 100]" in export(pl.DataFrame({"hidden": [[300, 100]]}), "csv")


def test_wrong_formats_are_refused():
    with pytest.raises(SpecError, match=r"format 'cvs' is unknown; did you mean 'csv'\? \(known: csv, json, parquet\)"):
        export(pl.DataFrame({"a": [1]}), "cvs")
    with pytest.raises(SpecError, match="format 'parquet' is binary"):
        export(pl.DataFrame({"a": [1]}), "parquet")
