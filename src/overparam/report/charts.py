"""Charts over an axis: lines are means over seeds, bands what :func:`overparam.report.statistics.spread` shows.

Charts name no colours: :func:`overparam.report.theme.theme` does, so that one description serves light and dark pages
and paper. A drawing names the tables that it draws, and its data are kept apart from it: arms share drawings.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, TypeAlias

import altair as alt

from overparam.report.arms import Arm
from overparam.report.axis import Axis
from overparam.report.curves import curve
from overparam.report.curves import place_of as place_of
from overparam.report.marks import NONE, Band, Marks
from overparam.report.panels import Panel, rows_with, series_of

DASHES = [[1, 0], [7, 3], [2, 2], [8, 3, 2, 3]]
WIDTH = 860

FEW = 12
"""Most places on an axis that are drawn as points and labelled one by one."""

LOOKS = ("bad", "good", "gone", "open")
SIDES = {"above": -17, "start": -17, "below": 17}  # pixels from a point to its words

Chart: TypeAlias = Any
"""An Altair chart; the exact class of a layered or stacked one is Altair's own affair."""

Data: TypeAlias = dict[str, list[dict[str, Any]]]
"""The tables that a chart draws, by name."""


@dataclass(frozen=True)
class Extent:
    """An axis and the places on it that charts must show; charts with equal ones can be compared."""

    axis: Axis
    places: tuple[float, ...]

    @classmethod
    def of(cls, arms: Sequence[Arm]) -> Extent:
        """Return the extent of all of ``arms``, which have one axis."""
        places = tuple(sorted({place for arm in arms for place in arm.positions}))
        return cls(arms[0].axis.scaled(places), places)

    def x(self) -> alt.X:
        """Return the x channel: scale, ends in the axis's direction, and labelled places."""
        low, high = self.places[0], self.places[-1]
        if low == high:
            low, high = (low * 0.9, high * 1.1) if self.axis.scale != "linear" else (low - 0.5, high + 0.5)
            high = min(high, 1.0) if self.axis.falling else high
        ends = [high, low] if self.axis.falling else [low, high]
        scale = alt.Scale(domain=ends, nice=False)
        if self.axis.scale != "linear":
            scale = alt.Scale(type="log", base=2 if self.axis.scale == "log2" else 10, domain=ends, nice=False)
        return alt.X("x:Q", title=self.axis.title, scale=scale, axis=self._labels(low, high))

    def _labels(self, low: float, high: float) -> alt.Axis:
        ticks = [tick for tick in self.axis.ticks if low * 0.999 <= tick <= high * 1.001]
        ticks = ticks or (list(self.places) if len(self.places) <= FEW else [])
        return alt.Axis(format=self.axis.form, values=ticks) if ticks else alt.Axis(format=self.axis.form)


def panel_chart(arm: Arm, panel: Panel, marks: Marks = NONE, *, width: int | str = WIDTH) -> Chart | None:
    """Draw one panel of an arm, its data included; None when none of its columns was measured."""
    data = panel_data(arm, panel, marks)
    if data is None:
        return None
    chart = panel_layers(panel, series_of(arm, panel), Extent.of([arm]), width, marks=marks)
    chart.datasets = data
    return chart


def panel_data(arm: Arm, panel: Panel, marks: Marks = NONE) -> Data | None:
    """Return the tables that :func:`panel_layers` draws; None when none of the panel's columns was measured."""
    series = series_of(arm, panel)
    if not series:
        return None
    frame = curve(arm, list(series)).sort(arm.axis.column, descending=arm.axis.falling)
    axis = Extent.of([arm]).axis
    tables: Data = {
        "levels": _levels(frame.to_dicts(), axis, arm, series, panel, marks),
        "curves": [
            {"x": row[axis.column], "series": label, "mean": row[name], **ends(row, name)}
            for name, label in series.items()
            for row in rows_with(frame, name)
        ],
    }
    return {f"{panel.name}-{name}": table for name, table in tables.items()} | marks_data(panel, marks, axis)


def marks_data(panel: Panel, marks: Marks, axis: Axis) -> Data:
    """Return the tables of :func:`panel_layers` that hold what is marked."""
    tables: Data = {
        "bands": [
            {"x": band.start, "end": band.end, "middle": axis.middle(band.start, band.end), **_named(band)}
            for band in marks.bands
        ],
        "borders": [{"x": band.end} for band in marks.bands[:-1]],
    }
    if panel.marked and marks.points:
        tables["points"] = [vars(point) for point in marks.points]
    return {f"{panel.name}-{name}": table for name, table in tables.items()}


def panel_layers(
    panel: Panel,
    series: Mapping[str, str],
    extent: Extent,
    width: int | str,
    *,
    marks: Marks = NONE,
    hover: bool = True,
) -> Chart:
    """Return the drawing of a panel without its data: it names the tables of :func:`panel_data`.

    Of ``marks`` only their kinds are drawn, the places are data; ``hover`` adds a cursor that tells the values of a
    place; ``width`` is in pixels, or ``"container"`` for as wide as the page allows.
    """

    def table(name: str) -> alt.Chart:
        return alt.Chart(alt.NamedData(name=f"{panel.name}-{name}"))

    x, names = extent.x(), list(series.values())
    dashes = [DASHES[list(panel.series).index(name) % len(DASHES)] for name in series]
    layers = [*_ranges(table, x), *_lines(table, x, names, dashes, panel, len(extent.places) <= FEW)]
    if panel.marked and marks.points:
        layers += _points(table, x)
    if hover:
        layers += _cursor(table, x, extent.axis, names, marks.word)
    drawn = alt.layer(*layers).properties(title=panel.title, width=width, height=panel.height)
    # Shared, the hidden legend of the bands would hide the legend of the lines with it.
    return drawn.resolve_legend(fill="independent")


def _ranges(table: Callable[[str], alt.Chart], x: alt.X) -> list[alt.Chart]:
    shaded = [
        table("bands").transform_filter(f"datum.look == '{look}'").mark_rect(style=f"band-{look}", aria=False)
        for look in LOOKS
    ]
    label = table("bands").mark_text(style="band-label", baseline="bottom", aria=False)
    return [
        *(each.encode(x=x, x2="end:Q") for each in shaded),
        table("borders").mark_rule(style="border", aria=False).encode(x=x),
        label.encode(x="middle:Q", y=alt.value(-5), text="name:N"),
    ]


def _lines(
    table: Callable[[str], alt.Chart], x: alt.X, names: list[str], dashes: list[list[int]], panel: Panel, few: bool
) -> list[alt.Chart]:
    color = alt.Color("series:N", sort=names, scale=alt.Scale(domain=names))
    dash = alt.StrokeDash("series:N", sort=names, scale=alt.Scale(domain=names, range=dashes))
    y = alt.Y("mean:Q", title=None, scale=alt.Scale(zero=False), axis=alt.Axis(format=panel.form))
    ends = {"y": alt.Y("low:Q", title=None), "y2": "high:Q"}
    band = table("curves").mark_area(opacity=0.2, aria=False).encode(x=x, fill=fill("series:N", names), **ends)
    line = table("curves").mark_line(aria=False).encode(x=x, y=y, color=color, strokeDash=dash)
    if not few:
        return [band, line]
    dots = table("curves").mark_point(filled=True, size=40, opacity=1, aria=False)
    return [band, line, dots.encode(x=x, y=y, fill=fill("series:N", names))]


def _points(table: Callable[[str], alt.Chart], x: alt.X) -> list[alt.Chart]:
    layers = []
    for side, dy in SIDES.items():
        point = table("points").transform_filter(f"datum.side == '{side}'").encode(x=x, y="y:Q")
        layers.append(point.mark_point(style="turn", aria=False))
        for style in ("halo", "turn-label"):
            styles = [style, "at-left-edge"] if side == "start" else [style]
            layers.append(point.mark_text(style=styles, dy=dy, aria=False).encode(text="text:N"))
    return layers


def _cursor(
    table: Callable[[str], alt.Chart], x: alt.X, axis: Axis, names: Sequence[str], word: str
) -> list[alt.Chart]:
    tips = [alt.Tooltip("at:N", title=axis.word), *([alt.Tooltip("band:N", title=word)] if word else [])]
    tips += [alt.Tooltip(f"s{position}:N", title=label) for position, label in enumerate(names)]
    tips.append(alt.Tooltip("seeds:Q", title="seeds"))
    under = alt.selection_point(name="under", fields=["place"], on="pointerover", clear="pointerout", empty=False)
    shown = alt.when(under).then(alt.value(1)).otherwise(alt.value(0))
    rule = table("levels").mark_rule(style="cursor", aria=False).encode(x=x, opacity=shown)
    strip = table("levels").mark_rect(opacity=0, aria=False).encode(x="start:Q", x2="end:Q", tooltip=tips)
    return [rule, strip.add_params(under)]


def fill(field: str, names: list[str]) -> alt.Fill:
    """Colour bands as their lines, on a channel of their own, so that the legend shows lines."""
    return alt.Fill(field, sort=names, scale=alt.Scale(domain=names), legend=None)


def ends(row: Mapping[str, Any], column: str) -> dict[str, Any]:
    """Return the ends of the band of a column at one place."""
    return {"low": row[f"{column}_low"], "high": row[f"{column}_high"]}


def _named(band: Band) -> dict[str, str]:
    return {"name": band.name, "look": band.look}


def told(row: Mapping[str, Any], column: str, write: Callable[[float | None], str]) -> str:
    """Write a mean with the ends of its band."""
    if row[column] is None or row[f"{column}_low"] is None:
        return write(row[column])
    return f"{write(row[column])} ({write(row[f'{column}_low'])} to {write(row[f'{column}_high'])})"


def _levels(
    rows: Sequence[Mapping[str, Any]], axis: Axis, arm: Arm, series: Mapping[str, str], panel: Panel, marks: Marks
) -> list[dict[str, Any]]:
    """Return what the cursor tells at each place, in words, and the strip of the axis where it tells it."""
    places = [row[axis.column] for row in rows]
    edges = [places[0], *(axis.middle(one, other) for one, other in pairwise(places)), places[-1]]
    return [
        {
            "x": row[axis.column],
            "start": start,
            "end": end,
            "place": row[arm.key],
            "at": place_of(arm, row),
            "band": marks.name_at(axis, row[axis.column]),
            "seeds": row["n"],
            **{f"s{position}": told(row, name, panel.write) for position, name in enumerate(series)},
        }
        for row, start, end in zip(rows, edges[:-1], edges[1:], strict=True)
    ]
