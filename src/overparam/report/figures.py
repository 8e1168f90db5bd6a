"""The charts of a study as files."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
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
from overparam.report.words import listing


@dataclass(frozen=True, eq=False)
class Figure:
    """A chart of a page that can be a file.

    Args:
        draw: makes it; None where nothing of it was measured.
        caption: what it shows, in a sentence or two.
        main: whether it is one that compares arms, or the main one of an arm.
    """

    draw: Callable[[], Chart | None]
    caption: str
    main: bool


def figures(sections: Sequence[Section]) -> dict[str, Figure]:
    """Return the charts of a page by name: what compares arms, other pictures, each arm's main one, then its others.

    An arm's main one is called as the arm is, its others have the panel's name behind that (``magnitude-loss``).
    """
    drawn = [chart for section in sections for chart in section.charts]
    found = {name_of(one): _comparing(one) for one in drawn if isinstance(one, Comparison)}
    found |= {name: one for chart in drawn if isinstance(chart, Picture) for name, one in _pictures(chart)}
    main = [chart for chart in sections[0].charts if isinstance(chart, ArmCharts)]
    names = _names([arm for chart in main[:1] for arm in chart.arms], found)
    found |= {name: _of_arm(arm, main, True) for name, arm in names}
    others = [chart for chart in drawn if isinstance(chart, ArmCharts)]
    return found | {f"{name}-{name_of(one)}": _of_arm(arm, [one], False) for name, arm in names for one in others}


def _names(arms: Sequence[Arm], taken: Collection[str]) -> list[tuple[str, Arm]]:
    """Return names for files of arms, no two of them the same."""
    names: dict[str, Arm] = {}
    for arm in arms:
        name = _file_name(arm.label)
        while name in names or name in taken:
            name += "-"
        names[name] = arm
    return list(names.items())


def _comparing(one: Comparison) -> Figure:
    draw = partial(comparison_chart, one.arms, column=one.column, title=one.title)
    return Figure(draw, f"{one.title}, over {one.arms[0].axis.title}. {_lines(one.arms)}", True)


def _pictures(one: Picture) -> Iterator[tuple[str, Figure]]:
    for arm in one.drawn_of:
        name = _file_name(f"{arm.label} {one.name}") if arm else one.name
        shows = one.says.partition(";")[0].rstrip(".")  # what follows is about the page
        yield name, Figure(partial(one.draw, arm, WIDTH), f"{shows}{f' of {arm.label}' if arm else ''}.", arm is None)


def _of_arm(arm: Arm, charts: Sequence[ArmCharts], main: bool) -> Figure:
    shown = listing([chart.panel.title for chart in charts if series_of(arm, chart.panel)])
    return Figure(partial(figure, arm, charts), f"{shown} of {arm.label}, over {arm.axis.title}. {_lines([arm])}", main)


def _lines(arms: Sequence[Arm]) -> str:
    """Say what lines and bands are."""
    counts = sorted({len(arm.seeds) for arm in arms})
    if counts == [1]:
        return "One seed."
    seeds = f"{counts[0]} to {counts[-1]}" if len(counts) > 1 else f"{counts[0]}"
    return f"Lines are means over {seeds} seeds, bands {listing(list(dict.fromkeys(map(spread_is, counts))))}."


def write_charts(
    sections: Sequence[Section], folder: str | Path, suffixes: Sequence[str] = (".pdf", ".png", ".svg")
) -> list[Path]:
    """Write each arm's main charts, and one that compares the arms where there are several; return the paths.

    They are as wide as on a page; :func:`overparam.report.sized.write_figures` has them as wide as a paper's column.
    Files are named after the arms. ``sections`` are those of a page; the first has the main charts. ``suffixes`` are of
    ``.png``, ``.svg``, ``.pdf`` and ``.json`` (Vega-Lite). Raises :class:`DataError` if the folder cannot be made.
    """
    goal = made_folder(folder)
    charts = {name: one.draw() for name, one in figures(sections).items() if one.main}
    return [
        save_chart(chart, goal / f"{name}{suffix}")
        for name, chart in charts.items()
        if chart is not None
        for suffix in suffixes
    ]


def made_folder(folder: str | Path) -> Path:
    """Return a folder for charts, which is made if it is not there; raises :class:`DataError`."""
    goal = Path(folder)
    try:
        goal.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"charts cannot be written to {str(folder)!r} ({why(error, goal)}); name a folder") from None
    return goal


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
