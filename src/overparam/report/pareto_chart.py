"""The picture of accuracy over cost: a panel for each cost, or for each condition."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from typing import Any

import altair as alt

from overparam.report.charts import Chart
from overparam.report.costs import Cost
from overparam.report.multiples import COLUMNS, SHAPES, SMALL
from overparam.report.pareto import Tradeoff

NAMES = 8
"""Most arms that are told by colour; of more, those that have networks which no other beats. The rest is grey."""


def pareto_chart(found: Sequence[Tradeoff], title: str, width: int = SMALL) -> Chart | None:
    """Draw accuracy over cost, None where no cost was measured: a panel for each condition, or else for each cost.

    The line joins the networks that no other beats; rings are dense networks; what lies far below both is left out.
    """
    panels = _panels(found)
    if not panels:
        return None
    named = _named(panels)
    rows = [row for panel, trade, cost in panels for row in _rows(panel, trade, cost, named)]
    drawn = alt.layer(*_layers(named, found[0]), data=alt.NamedData("networks"))
    drawn = drawn.properties(width=width, height=200).resolve_legend(fill="independent")
    names = [panel for panel, _, _ in panels]
    facet = alt.Facet("panel:N", title=None, sort=names, header=alt.Header(labelAnchor="start"))
    chart: Chart = drawn.facet(facet=facet, columns=min(COLUMNS, len(panels)), title=title)
    chart = chart.resolve_scale(x="independent", **({"y": "independent"} if len(found) > 1 else {}))
    chart.datasets = {"networks": rows}
    return chart


def _panels(found: Sequence[Tradeoff]) -> list[tuple[str, Tradeoff, Cost]]:
    if len(found) > 1:
        return [(trade.condition, trade, trade.drawn[0]) for trade in found if trade.drawn]
    return [(cost.title, trade, cost) for trade in found for cost in trade.drawn]


def _named(panels: Sequence[tuple[str, Tradeoff, Cost]]) -> list[str]:
    every = list(dict.fromkeys(each.arm for _, trade, _ in panels for each in trade.networks))
    if len(every) <= NAMES:
        return every
    return list(dict.fromkeys(each.arm for _, trade, cost in panels for each in trade.front(cost)))[:NAMES]


def _rows(panel: str, trade: Tradeoff, cost: Cost, named: Sequence[str]) -> list[dict[str, Any]]:
    column, front, shown = trade.of.column, trade.front(cost), trade.shown(cost)
    middle = sqrt(min(each[cost.column] or 1 for each in shown) * max(each[cost.column] or 1 for each in shown))
    marked = {each.kind: each for each in sorted(shown, key=trade.good) if each.kind}
    return [
        {
            "panel": panel,
            "arm": each.arm,
            "colour": each.arm if each.arm in named else "",
            "kind": each.kind,
            "side": "" if each not in marked.values() else "left" if (each[cost.column] or 0) > middle else "right",
            "front": each in front,
            "x": each[cost.column],
            "y": each[column],
            "low": each[f"{column}_low"],
            "high": each[f"{column}_high"],
            "at": each.place,
            "cost": f"{cost.write(each[cost.column])}, {cost.title}",
            "value": trade.of.write(each[column]),
        }
        for each in shown
    ]


def _layers(named: Sequence[str], trade: Tradeoff) -> list[Chart]:
    scale = alt.Scale(type="log", nice=False, padding=12)
    x = alt.X("x:Q", title=None, scale=scale, axis=alt.Axis(format="~s", tickCount=4, labelOverlap="greedy"))
    y = alt.Y("y:Q", title=None, scale=alt.Scale(zero=False, padding=12), axis=alt.Axis(format=trade.of.panel.form))
    base = alt.Chart().encode(x=x, y=y)
    told, others = (base.transform_filter(f"datum.colour {sign} ''") for sign in ("!=", "=="))
    legend = alt.Legend(symbolSize=100, symbolOpacity=1) if len(named) > 1 else None
    color = alt.Color("colour:N", sort=named, scale=alt.Scale(domain=named), legend=legend)
    shapes = alt.Scale(domain=named, range=list(SHAPES))
    tips = {"arm:N": "arm", "kind:N": "dense", "at:N": "place", "cost:N": "cost", "value:N": trade.of.title.lower()}
    tooltip = [alt.Tooltip(field, title=title) for field, title in tips.items()]
    marks = told.mark_point(filled=True, size=55, aria=False).encode(
        color=color,
        shape=alt.Shape("colour:N", sort=named, scale=shapes, legend=legend),
        opacity=alt.when("datum.front").then(alt.value(1)).otherwise(alt.value(0.4)),
        tooltip=tooltip,
    )
    labels = [
        base.transform_filter(f"datum.side == '{side}'").mark_text(style=["dense-label", side], dy=-15, aria=False)
        for side in ("left", "right")
    ]
    return [
        base.transform_filter("datum.front").mark_line(style="front", aria=False, interpolate="step-after"),
        others.mark_point(style="other", filled=True, aria=False).encode(tooltip=tooltip),
        told.mark_rule(aria=False, opacity=0.35).encode(y=alt.Y("low:Q", title=None), y2="high:Q", color=color),
        marks,
        base.transform_filter("datum.kind != ''").mark_point(style="dense", aria=False),
        *(label.encode(text="kind:N") for label in labels),
    ]
