from __future__ import annotations

import io
import json

import polars as pl
import pytest
from rich.console import Console
from synthetic import arm

from overparam.errors import SpecError
from overparam.papers.sparse_double_descent.sections import sections
from overparam.report import Material, arms, curve
from overparam.report.general import general_sections
from overparam.report.tables import export, level_table, rich_table


def printed(table, width=140):
    out = io.StringIO()
    Console(file=out, width=width).print(rich_table(table))
    return out.getvalue()


def terminal_table(frame):
    return sections(Material(frame))[-1].tables[0]


def test_the_level_table_has_means_and_what_stands_beside_them():
    (found,) = arms(arm())
    table = level_table(found)
    values = arm().filter(pl.col("level") == 12)["test_accuracy"]
    row = table.row(12, named=True)
    assert row["test_accuracy"] == pytest.approx(values.mean())
    assert (row["test_accuracy_low"], row["test_accuracy_high"]) == (values.min(), values.max())
    assert (row["level"], row["n"]) == (12, 3)


def test_one_seed_has_no_interval_and_missing_probes_leave_columns_out():
    (one,) = arms(arm(seeds=[3]).drop("learning_distance", "kept"))
    table = level_table(one)
    assert table["test_accuracy_low"].null_count() == table.height
    assert "learning_distance" not in table.columns


def test_what_a_task_without_accuracy_measures_stands_in_the_table_and_on_the_page():
    accuracies = [name for name in arm().columns if "accuracy" in name or "soft_error" in name]
    frame = arm().drop(accuracies).with_columns(test_r2=0.9, test_bits=3.0)
    found = general_sections(Material(frame))
    table = printed(found[-1].tables[0])
    assert all(head in table for head in ("train loss", "test loss", "perplexity", "R²", "beside test loss:"))
    assert " 8 " in table, "two to the bits"
    assert found[0].title.startswith("Test loss ")
    assert found[0].charts[0].panel.name == "loss"
    assert "not measured" not in str(found[0])


def test_losses_leave_the_table_where_there_are_accuracies():
    assert "test loss" not in printed(general_sections(Material(arm()))[-1].tables[0])


def test_the_spread_of_few_seeds_reaches_from_the_lowest_to_the_highest():
    (found,) = arms(arm())
    row = curve(found, ["test_loss", "never_measured"]).row(5, named=True)
    values = arm().filter(pl.col("level") == 5)["test_loss"]
    assert (row["test_loss_low"], row["test_loss_high"]) == (values.min(), values.max())
    assert "never_measured" not in row


def test_the_terminal_table_marks_trough_and_peak_in_words():
    lines = printed(terminal_table(arm())).splitlines()
    assert sum(line.rstrip().endswith("trough") for line in lines) == 1
    assert "6.9 %" in next(line for line in lines if line.rstrip().endswith("trough"))
    assert any(line.rstrip().endswith("peak") for line in lines)
    assert "the range of the 3 seeds" in " ".join(" ".join(lines).split())
    assert "±" not in " ".join(lines)


def test_from_four_seeds_on_the_table_shows_the_interval_of_the_mean():
    (found,) = arms(arm(seeds=range(4)))
    values = found.frame.filter(pl.col("level") == 12)["test_accuracy"]
    row = level_table(found).row(12, named=True)
    # Four values: the half width is 3.1824 (t, three degrees of freedom) standard errors.
    assert row["test_accuracy_high"] - row["test_accuracy"] == pytest.approx(3.1824 * values.std() / 2, rel=1e-4)


@pytest.mark.parametrize("seeds", [2, 5])
def test_accuracies_in_a_table_stay_between_nothing_and_all(seeds):
    (found,) = arms(arm(seeds=range(seeds), scatter=0.3).with_columns(pl.col("test_accuracy").clip(0, 1)))
    table = level_table(found)
    assert table["test_accuracy_low"].min() >= 0
    assert table["test_accuracy_high"].max() <= 1


@pytest.mark.parametrize("seeds", [3, 8])
def test_the_terminal_table_fits_eighty_characters(seeds):
    text = printed(terminal_table(arm(seeds=range(seeds))), 80)
    assert "…" not in text
    assert any(line.rstrip().endswith("peak") for line in text.splitlines())


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
