"""The chart of arms against each other: in one panel or, where there are many, in small multiples.

Colour and the marker's shape are the method, the dash is the condition, markers stand at measured places. In small
multiples the arms of the other panels are drawn faintly behind, so that every panel can be compared with all.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import isclose
from typing import Any

import altair as alt
import numpy as np

from overparam.report.arms import Arm
from overparam.report.charts import DASHES, FEW, WIDTH, Chart, Extent, ends, fill, place_of, told
from overparam.report.curves import curve
from overparam.report.measure import measure_for
from overparam.report.paired import APART
from overparam.report.panels import rows_with
from overparam.report.roles import Look, Roles, roles, values_of

BANDS = 4
"""Most arms in one panel whose bands are drawn; more would hide the lines."""

SHAPES = ("circle", "square", "triangle-up", "diamond", "cross", "triangle-down", "triangle-right", "triangle-left")
COMMON = 5
"""In small multiples the axis spans the places that one in so many arms has, and half as much on either side."""

COLUMNS = 3
SMALL = 250
"""How many panels stand beside each other in a file, and how wide each is, in pixels."""


def comparison_chart(
    arms: Sequence[Arm],
    *,
    column: str = "test_accuracy",
    title: str = "Test accuracy, arm by arm",
    width: int | str = WIDTH,
    roles_of: Roles | None = None,
) -> Chart | None:
    """Draw one column of several arms over their axis, None if not measured; a click on the legend singles out.

    Args:
        arms: over one axis.
        column: what is drawn.
        title: above it.
        width: in pixels, or ``"container"``; of small multiples that of all beside each other.
        roles_of: what colour, dash and panel tell; None: as :func:`overparam.report.roles.roles` finds.
    """
    measured = [arm for arm in arms if arm.has(column)]
    if not measured:
        return None
    values = values_of(measured)
    looks = (roles_of or roles(values)).looks(values)
    rows = [row for arm, look in zip(measured, looks, strict=True) for row in _rows(arm, look, column)]
    panels = [look.panel for look in looks]
    extent, few = Extent.of(measured), max(map(panels.count, panels)) <= BANDS
    if len(set(panels)) == 1:
        chart = _panel(_layers(looks, extent, column, few)).properties(title=title, width=width, height=320)
        chart.datasets = {"arms": rows}
        return chart
    extent = _span(extent, measured)
    layers = [_others(extent), *_layers(looks, extent, column, few)]
    facet = alt.Facet("panel:N", title=None, sort=list(dict.fromkeys(panels)), header=alt.Header(labelAnchor="start"))
    chart = _panel(layers).properties(width=SMALL, height=170)
    chart = chart.facet(facet=facet, columns=min(COLUMNS, len(set(panels))), title=title)
    chart.datasets = {"arms": rows, "others": [{name: row[name] for name in ("arm", "x", "mean")} for row in rows]}
    return chart


def _panel(layers: Sequence[Chart]) -> Chart:
    # Shared, the hidden legend of the bands would hide the legend of the lines with it.
    drawn: Chart = alt.layer(*layers, data=alt.NamedData("arms")).resolve_legend(fill="independent")
    return drawn


def _span(extent: Extent, arms: Sequence[Arm]) -> Extent:
    """Return an extent without the far ends that few arms reach, which would squeeze all the others."""
    at, axis = np.array(extent.places), extent.axis
    owners = [sum(any(isclose(place, own, rel_tol=APART) for own in arm.positions) for arm in arms) for place in at]
    scaled = at if axis.scale in (None, "linear") else np.log(at)
    common = scaled[COMMON * np.array(owners) >= len(arms)]
    if len(common) < 2:
        return extent
    slack = float(np.ptp(common)) / 2
    return Extent(axis, tuple(at[(scaled >= common.min() - slack) & (scaled <= common.max() + slack)].tolist()))


def _rows(arm: Arm, look: Look, column: str) -> list[dict[str, Any]]:
    write = measure_for(column).write
    return [
        {
            "arm": arm.label,
            "colour": look.colour,
            "dash": look.dash,
            "panel": look.panel,
            "x": row[arm.axis.column],
            "mean": row[column],
            **ends(row, column),
            "at": place_of(arm, row),
            "value": told(row, column, write),
            "seeds": row["n"],
        }
        for row in rows_with(curve(arm, [column]), column)
    ]


def _layers(looks: Sequence[Look], extent: Extent, column: str, bands: bool) -> list[Chart]:
    """Return bands (of few arms), lines and markers; what is not chosen in the legend fades."""
    colours, dashes = _distinct(one.colour for one in looks), _distinct(one.dash for one in looks)
    chosen = alt.selection_point(name="chosen", fields=["colour"], bind="legend")
    base = alt.Chart().encode(x=extent.x(), detail="arm:N")
    legend = alt.Legend(symbolSize=100) if len(colours) > 1 else None
    color = alt.Color("colour:N", sort=colours, scale=alt.Scale(domain=colours), legend=legend)
    scale = alt.Scale(domain=colours, range=list(SHAPES))
    shape = alt.Shape("colour:N", sort=colours, scale=scale, legend=legend)
    form = measure_for(column).panel.form
    y = alt.Y("mean:Q", title=None, scale=alt.Scale(zero=False), axis=alt.Axis(format=form))
    line = base.mark_line(aria=False, clip=True).encode(y=y, color=color, opacity=_fading(chosen, 1, 0.12))
    if len(dashes) > 1:
        scale = alt.Scale(domain=dashes, range=DASHES)
        line = line.encode(strokeDash=alt.StrokeDash("dash:N", sort=dashes, scale=scale))
    marks = base.mark_point(filled=True, size=25 if len(extent.places) > FEW else 45, aria=False, clip=True)
    marks = marks.encode(y=y, shape=shape, color=color, opacity=_fading(chosen, 1, 0.12))
    over = base.mark_point(filled=True, size=160, opacity=0, aria=False, clip=True)
    band = base.mark_area(aria=False, clip=True).encode(y=alt.Y("low:Q", title=None), y2="high:Q")
    band = band.encode(fill=fill("colour:N", colours), opacity=_fading(chosen, 0.14, 0.03))
    return [*([band] if bands else []), line.add_params(chosen), marks, over.encode(y=y, tooltip=_tips(extent, column))]


def _distinct(words: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(words))


def _fading(chosen: alt.Parameter, full: float, faint: float) -> Any:
    return alt.when(chosen).then(alt.value(full)).otherwise(alt.value(faint))


def _others(extent: Extent) -> Chart:
    """Return the lines of all arms, the same in every panel."""
    base = alt.Chart(alt.NamedData("others")).mark_line(style="behind", aria=False, clip=True)
    return base.encode(x=extent.x(), y=alt.Y("mean:Q", title=None), detail="arm:N")


def _tips(extent: Extent, column: str) -> list[alt.Tooltip]:
    named = {"arm:N": "arm", "at:N": extent.axis.word, "value:N": column.replace("_", " "), "seeds:Q": "seeds"}
    return [alt.Tooltip(field, title=title) for field, title in named.items()]
