"""The figure of Han et al. (2015): accuracy lost over the share of parameters pruned, a curve for each way."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from overparam.report.arms import arms
from overparam.report.axis import Axis
from overparam.report.claims import Verdict
from overparam.report.general import general_sections
from overparam.report.sections import Comparison, Material, Section
from overparam.report.words import percent

PRUNED = Axis("parameters pruned", "parameters pruned away", column="pruned", scale="linear", write=percent, form="~%")
LOWEST = -0.05
FIRST = 0.4  # where the figure of the paper begins


def sections(material: Material, verdicts: Sequence[Verdict] = ()) -> list[Section]:
    """Return the sections of any study, and behind the headline the figure as the paper draws it."""
    first, *others = general_sections(material, verdicts)
    return [first, *figure(material.frame), *others]


def figure(frame: pl.DataFrame) -> list[Section]:
    """Return the five curves as a section; nothing where test accuracy or the dense network was not measured."""
    if "test_accuracy" not in frame.columns or not (frame["level"] == 0).any():
        return []
    made = pl.concat([_changes(arm.frame, arm.label) for arm in arms(frame) if arm.has("test_accuracy")])
    mean = pl.col("accuracy_change").mean().over("variant", "level")
    shown = made.filter(pl.col("pruned") >= FIRST - 0.005, mean >= LOWEST)
    if shown.is_empty():
        return []
    chart = Comparison(
        arms(shown, PRUNED, ["variant"]), "accuracy_change", "Accuracy change over parameters pruned", "five-curves"
    )
    note = f"Test accuracy minus the dense network's of its seed; means below {percent(LOWEST, 0)} are not drawn."
    return [Section("The figure as the paper draws it", charts=[chart], note=note)]


def _changes(rows: pl.DataFrame, label: str) -> pl.DataFrame:
    dense = rows.filter(level=0).select("seed", dense="test_accuracy")
    return rows.join(dense, on="seed").select(
        "seed",
        "chain",
        "level",
        "density",
        variant=pl.lit(label),
        pruned=(1 - pl.col("density")).round(4),
        accuracy_change=pl.col("test_accuracy") - pl.col("dense"),
    )


def main_label(material: Material) -> str:
    """Return the label of the arm that charts show first: the iterative one."""
    return next((arm.label for arm in material.arms if arm.values.get("variant") == "L2, iterative"), "")
