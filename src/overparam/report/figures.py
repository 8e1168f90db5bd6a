"""The charts of a study as files."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from overparam.errors import DataError
from overparam.files import why
from overparam.report.arms import arms, lacking
from overparam.report.charts import comparison_chart, figure, save_chart
from overparam.report.phases import find_phases


def write_charts(
    frame: pl.DataFrame, folder: str | Path, suffixes: Sequence[str] = (".png", ".svg"), *, missing: int = 0
) -> list[Path]:
    """Write each arm's chart, and one that compares the arms where there are several; return the paths.

    Files are named after the arms. ``suffixes`` are of ``.png``, ``.svg``, ``.pdf`` and ``.json`` (Vega-Lite). With
    rows ``missing`` from the study no phases are drawn. Raises :class:`DataError` if the folder cannot be made.
    """
    goal = Path(folder)
    try:
        goal.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"charts cannot be written to {str(folder)!r} ({why(error, goal)}); name a folder") from None
    every, lacks = arms(frame), lacking(frame, missing)
    charts = {_file_name(arm.label): figure(arm, find_phases(arm, lacks)) for arm in every}
    if len(every) > 1:
        charts["comparison"] = comparison_chart(every)
    return [
        save_chart(chart, goal / f"{name}{suffix}")
        for name, chart in charts.items()
        if chart is not None
        for suffix in suffixes
    ]


def _file_name(label: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", label).strip("-.") or "chart"
