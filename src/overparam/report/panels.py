"""Panels: which columns one chart draws, in which words, and how their values are written."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from overparam.report.arms import MEASURED, TRAITS, Arm
from overparam.report.words import FORMS, number, percent, plain_number, three_digits


@dataclass(frozen=True)
class Panel:
    """One chart over an axis.

    Args:
        name: short name, also used for files.
        title: heading of the chart.
        series: column of the results table -> name in the legend; the first is drawn on top.
        form: d3 format of the y axis.
        write: how a value is told on hover: one of :data:`overparam.report.words.FORMS`.
        height: in pixels.
        marked: whether points of the first series may be marked.
    """

    name: str
    title: str
    series: Mapping[str, str]
    form: str
    write: Callable[[float | None], str]
    height: int
    marked: bool = False

    @property
    def written(self) -> str:
        """The name of the form in which a page writes values."""
        return next(name for name, form in FORMS.items() if form is self.write)


ACCURACY = Panel(
    "accuracy",
    "Accuracy",
    {
        "test_accuracy": "test",
        "train_accuracy": "train (noisy labels)",
        "train_accuracy_clean": "train (clean labels)",
    },
    "~%",
    percent,
    265,
    marked=True,
)
DISTANCE = Panel(
    "distance",
    "Learning distance (L2)",
    {
        "learning_distance": "all weights",
        "learning_distance_kept": "kept weights",
        "learning_distance_pruned": "pruned weights",
    },
    "~g",
    number,
    150,
)
KEPT_DISTANCE = Panel(  # on a scale of its own: beside the whole, its peak would be flat
    "kept-distance",
    "Learning distance of the kept weights (L2)",
    {"learning_distance_kept": "kept weights"},
    "~g",
    number,
    110,
)
LOSS = Panel(
    "loss",
    "Loss",
    {"test_loss": "test", "train_loss": "train (noisy labels)", "train_loss_clean": "train (clean labels)"},
    "~g",
    three_digits,
    240,
)
PARTS = Panel(
    "parts",
    "Train accuracy by part",
    {
        "train_accuracy_clean_part": "examples with right labels",
        "train_accuracy_noisy_part": "examples with wrong labels",
    },
    "~%",
    percent,
    170,
)
SOFT_ERROR = Panel("soft-error", "Soft error", {"test_soft_error": "test"}, "~%", percent, 170)


def series_of(arm: Arm, panel: Panel) -> dict[str, str]:
    """Return the columns of a panel that the arm has, with their names in the legend, but what is the same twice."""
    series = {name: label for name, label in panel.series.items() if arm.has(name) and name != arm.axis.column}
    if arm.frame["density"].min() == 1:  # what is kept is all there is
        series = {name: label for name, label in series.items() if not name.startswith("learning_distance_")}
    if noisy(arm):
        return series
    clean = {name: label for name, label in series.items() if not name.endswith("_clean")}
    return {name: label.removesuffix(" (noisy labels)") for name, label in clean.items()}


def noisy(arm: Arm) -> bool:
    """Whether an arm has label noise, without which train labels are of one kind."""
    rates = [arm.values.get("noise_rate"), arm.frame["noise_rate"].max() if arm.has("noise_rate") else None]
    return any(rate for rate in rates)


def drawn(panels: Sequence[Panel], arms: Sequence[Arm]) -> list[Panel]:
    """Return the panels of which some arm has a column."""
    return [panel for panel in panels if any(series_of(arm, panel) for arm in arms)]


def other_columns(arm: Arm) -> list[str]:
    """Return the numbers that were measured by other probes than those that the named panels draw."""
    known = {*MEASURED, *TRAITS, *arm.values, arm.key, arm.axis.column, "variant"}
    numeric = [name for name, kind in arm.frame.schema.items() if kind.is_numeric()]
    return [name for name in numeric if name not in known and "." not in name and arm.has(name)]


def other_panels(arms: Sequence[Arm]) -> list[Panel]:
    """Return a panel for each column of :func:`other_columns`."""
    names = dict.fromkeys(name for arm in arms for name in other_columns(arm))
    words = {name: name.replace("_", " ") for name in names}
    return [Panel(f"other-{name}", words[name], {name: words[name]}, "~g", plain_number, 170) for name in names]


def rows_with(frame: pl.DataFrame, column: str) -> list[dict[str, object]]:
    """Return the rows of a curve at which ``column`` was measured."""
    return [row for row in frame.to_dicts() if row[column] is not None]
