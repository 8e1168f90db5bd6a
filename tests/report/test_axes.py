"""The contract of an axis, over all registered ones; and curves over each kind of axis, on tables known on paper."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import overparam.report.axes as axes_package
from overparam.errors import DataError
from overparam.report import AXES, Axis, Material, arms, curve, curves, export, level_table
from overparam.report.axis import as_number, axis_for
from overparam.report.charts import Extent, panel_chart
from overparam.report.panels import ACCURACY

FOLDER = Path(axes_package.__file__).parent
ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", AXES)
def test_every_axis_draws_numbers_and_tells_them(name: str) -> None:
    axis = axis_for(name)
    assert axis.column == name
    values = [0.25, 0.5, 1.0]
    assert all(axis.write(value) in axis.at(value) for value in values)
    assert axis.scaled(values).scale == (axis.scale or "linear")
    assert axis.scaled([0.0, 1.0]).scale == "linear", "a logarithm needs numbers above zero"
    assert values[0] < axis.scaled(values).middle(values[0], values[1]) < values[1]
    (arm,) = arms(table(**{name: values}), axis)
    spec = panel_chart(arm, ACCURACY).to_dict()  # which is checked against Vega-Lite's schema
    x = next(layer["encoding"]["x"] for layer in spec["layer"] if layer["mark"]["type"] == "line")
    assert x["scale"]["domain"] == (values[::-1] if axis.falling else values)[:: len(values) - 1]
    assert x["title"] == axis.title


@pytest.mark.parametrize("file", [path for path in sorted(FOLDER.glob("*.py")) if path.name != "__init__.py"])
def test_an_axis_is_one_short_file_one_export_and_one_line_in_the_docs(file: Path) -> None:
    assert len(file.read_text().splitlines()) <= 30
    exported = {name for name in axes_package.__all__ if not isinstance(getattr(axes_package, name), ModuleType)}
    names = set(re.findall(r"^([A-Z_]+) = Axis\(", file.read_text(), re.M))
    assert len(names & exported) == 1
    (word,) = {getattr(axes_package, name).word for name in names}
    rows = [line for line in (ROOT / "docs" / "reports.md").read_text().splitlines() if line.startswith("| ")]
    assert any(f"`{file.stem}`" in row or row.startswith(f"| {word}") for row in rows), "a line in docs/reports.md"


def table(seeds: int = 3, level: int = 0, **columns: list[float]) -> pl.DataFrame:
    """Rows whose test accuracy is a hundredth of their place, plus one for each seed: a chain for each value."""
    ((name, values),) = columns.items()
    rows = [
        {
            **{"seed": seed, "chain": 10 * place + seed, "level": level, "step": 0, "kind": "train", "density": 1.0},
            **{"kept": 100, "weights": 100, "test_accuracy": (place + seed) / 100, "train_accuracy": 0.9},
            name: value,
        }
        for place, value in enumerate(values)
        for seed in range(seeds)
    ]
    return pl.DataFrame(rows)


def test_a_curve_is_the_mean_over_seeds_with_its_range_and_their_count() -> None:
    found = curves(table(**{"network.width": [0.25, 0.5, 4.0]}), "network.width")
    assert found.select("network.width", "n", "test_accuracy", "test_accuracy_low", "test_accuracy_high").rows() == [
        (0.25, 3, pytest.approx(0.01), 0.0, 0.02),
        (0.5, 3, pytest.approx(0.02), 0.01, 0.03),
        (4.0, 3, pytest.approx(0.03), 0.02, 0.04),
    ]


def test_lists_of_one_number_are_numbers_and_others_are_refused() -> None:
    (found,) = arms(table(**{"network.hidden": ["[8]", "[16]"]}), "network.hidden")
    assert found.places == [8.0, 16.0]
    with pytest.raises(DataError, match="values that are no numbers"):
        arms(table(**{"network.hidden": ["[8]", "[16, 16]"]}), "network.hidden")
    with pytest.raises(DataError, match=r"lacks the column network\.depth"):
        curves(table(**{"network.hidden": [8]}), "network.depth")


@given(st.integers(0, 10**6) | st.floats(0, 1e6))
def test_numbers_are_read_as_they_are(value: float) -> None:
    assert as_number(value) == as_number([value]) == float(value)


def test_what_goes_with_the_axis_tells_no_lines_apart() -> None:
    frame = table(**{"world.label_noise.rate": [0.0, 0.2, 0.4]})
    frame = frame.with_columns(pl.col("world.label_noise.rate").alias("noise_rate"), pl.lit("mnist").alias("dataset"))
    (found,) = arms(frame, "world.label_noise.rate")
    assert found.places == [0.0, 0.2, 0.4]
    two = pl.concat([frame, frame.with_columns(pl.col("chain") + 100, pl.lit("digits").alias("dataset"))])
    assert [arm.label for arm in arms(two, "world.label_noise.rate")] == ["mnist", "digits"]


def test_a_measured_axis_takes_its_places_from_the_sweep_behind_it() -> None:
    """Weights counted by a probe: each width has its own, and some probe may measure other ones for each seed."""
    frame = table(**{"network.width": [1.0, 2.0]})
    frame = frame.with_columns((pl.col("network.width") * 100 + pl.col("seed")).alias("norm"))
    (found,) = arms(frame, "norm")
    assert (found.key, found.places) == ("network.width", [1.0, 2.0])
    assert curve(found, ["test_accuracy"])["norm"].to_list() == [101.0, 201.0]


def test_of_several_sweeps_a_measured_axis_goes_with_its_own() -> None:
    """Weights go with the width, whatever was swept first; each learning rate has a line."""
    frames = [table(**{"network.width": [1.0, 2.0]}) for _ in range(2)]
    rates = [
        frame.with_columns(pl.col("chain") + 100 * n, pl.lit(0.1 + n).alias("train.lr"))
        for n, frame in enumerate(frames)
    ]
    frame = pl.concat(rates).with_columns((pl.col("network.width") * 100).cast(pl.Int64).alias("kept"))
    frame = frame.select("train.lr", pl.exclude("train.lr"))
    found = arms(frame, "kept")
    assert [arm.label for arm in found] == ["lr 0.1", "lr 1.1"]
    assert [curve(arm, ["test_accuracy"])["kept"].to_list() for arm in found] == [[100, 200]] * 2


def test_pruned_chains_over_a_swept_axis_have_a_line_for_each_level() -> None:
    levels = [table(level=level, **{"network.width": [1.0, 2.0]}) for level in (0, 1)]
    found = arms(pl.concat(levels), "network.width")
    assert [arm.label for arm in found] == ["level 0", "level 1"]
    assert [arm.places for arm in found] == [[1.0, 2.0]] * 2


def finetuned() -> pl.DataFrame:
    """A training and three finetunings, on two seeds."""
    one = table(2, **{"network.width": [1.0]}).drop("network.width")
    steps = [one.with_columns(pl.lit(step).alias("step"), pl.col("test_accuracy") + step / 10) for step in range(4)]
    kinds = [pl.lit("finetune" if step else "train").alias("kind") for step in range(4)]
    return pl.concat([frame.with_columns(kind) for frame, kind in zip(steps, kinds, strict=True)])


def test_a_training_and_three_finetunings_have_a_row_each() -> None:
    material = Material(finetuned())
    assert material.axis.column == "step"
    (arm,) = material.arms
    assert arm.places == [0, 1, 2, 3]
    rows = level_table(arm)
    assert rows["step"].to_list() == [0, 1, 2, 3]
    assert rows["test_accuracy"].to_list() == pytest.approx([0.005, 0.105, 0.205, 0.305])
    assert "kind" in rows.columns
    # Over density, which the study may name all the same, the last one is drawn and the table still has all.
    (dense,) = arms(finetuned(), "density")
    assert curve(dense, ["test_accuracy"])["test_accuracy"].to_list() == pytest.approx([0.305])
    assert level_table(dense)["step"].to_list() == [0, 1, 2, 3]


def test_the_axis_of_a_study_that_prunes_nothing_is_what_varies() -> None:
    wide = table(**{"network.width": [1.0, 2.0]})
    assert Material(wide).axis.column == "network.width"
    assert Material(wide, "kept").axis.column == "kept"
    pruned = pl.concat([wide, wide.with_columns(pl.lit(1, pl.Int64).alias("level"), pl.lit(0.5).alias("density"))])
    assert Material(pruned).axis.column == "density"
    # What is planned decides, not what is there: a study that was stopped does not change its axis.
    first, rest = wide.head(3), wide.tail(3).drop("density", "kept", "weights", "test_accuracy", "train_accuracy")
    assert Material(first, absent=rest, missing=3).axis.column == "network.width"
    assert Material(wide.head(3)).axis.column == "density"
    text = table(**{"train.optimizer": ["sgd", "adam"]})
    assert Material(text).axis.column == "density"


def test_few_places_are_labelled_one_by_one_and_one_place_has_room_around_it() -> None:
    axis = axis_for("network.width")
    x = Extent(axis.scaled([1.0, 2.0, 8.0]), (1.0, 2.0, 8.0)).x().to_dict()
    assert (x["scale"]["type"], x["scale"]["base"], x["axis"]["values"]) == ("log", 2, [1.0, 2.0, 8.0])
    low, high = Extent(axis.scaled([4.0]), (4.0,)).x().to_dict()["scale"]["domain"]
    assert low < 4.0 < high


def test_an_axis_of_ones_own_is_one_object() -> None:
    axis = Axis("dropout", "dropout (share)", "network.dropout", "linear")
    (found,) = arms(table(**{"network.dropout": [0.0, 0.5]}), axis)
    assert Extent.of([found]).x().to_dict()["title"] == "dropout (share)"
    assert export(curve(found, ["test_accuracy"])).startswith("network.dropout,")
