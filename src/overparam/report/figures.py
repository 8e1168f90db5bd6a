"""The charts of a study as files."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

import altair as alt

from overparam.errors import DataError, SpecError
from overparam.files import why, write_file
from overparam.report.arms import Arm
from overparam.report.charts import WIDTH, Chart, Data, Extent, panel_data, panel_layers
from overparam.report.marks import NONE
from overparam.report.multiples import comparison_chart
from overparam.report.panels import series_of
from overparam.report.sections import ArmCharts, Comparison, Picture, Section, name_of
from overparam.report.statistics import spread_is
from overparam.report.theme import theme


def write_charts(
    sections: Sequence[Section], folder: str | Path, suffixes: Sequence[str] = (".png", ".svg")
) -> list[Path]:
    """Write each arm's main charts, and one that compares the arms where there are several; return the paths.

    Files are named after the arms. ``sections`` are those of a page; the first has the main charts. ``suffixes`` are of
    ``.png``, ``.svg``, ``.pdf`` and ``.json`` (Vega-Lite). Raises :class:`DataError` if the folder cannot be made.
    """
    goal = Path(folder)
    try:
        goal.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"charts cannot be written to {str(folder)!r} ({why(error, goal)}); name a folder") from None
    main = [chart for chart in sections[0].charts if isinstance(chart, ArmCharts)]
    charts = {_file_name(arm.label): figure(arm, main) for arm in (main[0].arms if main else ())}
    for chart in (chart for section in sections for chart in section.charts):
        if isinstance(chart, Comparison):
            charts[name_of(chart)] = comparison_chart(chart.arms, column=chart.column, title=chart.title)
        if isinstance(chart, Picture):
            drawn = {
                f"{arm.label} {chart.name}" if arm else chart.name: chart.draw(arm, WIDTH) for arm in chart.drawn_of
            }
            charts |= {_file_name(name): one for name, one in drawn.items()}
    return [
        save_chart(chart, goal / f"{name}{suffix}")
        for name, chart in charts.items()
        if chart is not None
        for suffix in suffixes
    ]


def figure(arm: Arm, charts: Sequence[ArmCharts]) -> Chart | None:
    """Stack the panels of an arm on one axis, for a file; None when none of their columns was measured."""
    extent, stack = Extent.of([arm]), []
    tables: Data = {}
    for chart in charts:
        marks = chart.marks.get(arm.label, NONE)
        data = panel_data(arm, chart.panel, marks)
        if data is not None:
            tables |= data
            series = series_of(arm, chart.panel)
            stack.append(panel_layers(chart.panel, series, extent, WIDTH, marks=marks, hover=False))
    if not stack:
        return None
    seeds = len(arm.seeds)
    words = f"{arm.label}; mean of {seeds} seeds, bands: {spread_is(seeds)}" if seeds > 1 else f"{arm.label}; one seed"
    stacked = alt.vconcat(*stack, title=alt.Title(words, fontWeight="normal", offset=12))
    stacked = stacked.resolve_scale(color="independent", fill="independent", strokeDash="independent")
    stacked.datasets = tables
    return stacked


def save_chart(chart: Chart, path: str | Path, *, dark: bool = False, scale: float = 2.0) -> Path:
    """Write a chart as PNG, SVG, PDF or Vega-Lite JSON, by the suffix of ``path``, without any network.

    Raises :class:`SpecError` for another suffix, or if the file cannot be written.
    """
    import vl_convert

    path = Path(path)
    spec = {**chart.to_dict(), "config": theme(dark)}
    version = vega_lite_version()
    if path.suffix == ".png":
        write_file(path, vl_convert.vegalite_to_png(spec, vl_version=version, scale=scale))
    elif path.suffix == ".pdf":
        write_file(path, vl_convert.vegalite_to_pdf(spec, vl_version=version))
    elif path.suffix == ".svg":
        write_file(path, vl_convert.vegalite_to_svg(spec, vl_version=version))
    elif path.suffix == ".json":
        write_file(path, json.dumps(spec, indent=1))
    else:
        raise SpecError(f"path: a chart cannot be written as {path.name!r}; end it in .png, .svg, .pdf or .json")
    return path


def vega_lite_version() -> str:
    """Return the Vega-Lite version that the charts are written for, as ``major.minor``."""
    return ".".join(alt.SCHEMA_VERSION.removeprefix("v").split(".")[:2])


def _file_name(label: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", label).strip("-.") or "chart"
