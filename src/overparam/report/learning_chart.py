"""The picture of learning curves: colour is the level, the dash what was measured; lines of single seeds on demand."""

from __future__ import annotations

import altair as alt
import polars as pl

from overparam.errors import SpecError
from overparam.registry import suggest
from overparam.report.arms import Arm
from overparam.report.charts import DASHES, WIDTH, Chart
from overparam.report.learning import Learned, averaged, learning, measured, thinned
from overparam.report.sections import Material

SINGLE = 30
"""Most points of the line of a single seed."""

SEEDS = "each_seed"
"""The parameter of a drawing that shows the lines of single seeds."""


def learning_chart(
    evaluated: pl.DataFrame,
    arm: Arm,
    what: Learned,
    width: int | str = WIDTH,
    *,
    smooth: int = 1,
    each_seed: bool | None = False,
) -> Chart | None:
    """Draw learning curves of an arm, means over seeds with bands; None where it has none.

    Args:
        evaluated: the curves of a study.
        arm: of which arm.
        what: which columns, of :func:`overparam.report.learning.measured`.
        width: in pixels, or ``"container"``.
        smooth: as for :func:`overparam.report.learning.learning`; the legend tells it.
        each_seed: whether the lines of single seeds (of what is first in the legend) are shown from the start; a box
            below switches them. None: there are none.
    """
    lines = learning(evaluated, arm, what.series, smooth=smooth)
    if lines.is_empty():
        return None
    means = averaged(lines, what.share)
    first = lines.filter(series=lines["series"][0])
    seeds = first.filter(pl.col("iteration").is_in(thinned(first, SINGLE))) if each_seed is not None else first.clear()
    chart: Chart = alt.layer(*_layers(lines, what, each_seed), data=alt.NamedData("means"))
    title = f"{what.title}: {arm.label}" if width != "container" else what.title
    chart = chart.properties(title=title, width=width, height=240).resolve_legend(fill="independent")
    chart.datasets = {"means": means, "seeds": seeds.to_dicts()}
    return chart


def _layers(lines: pl.DataFrame, what: Learned, each_seed: bool | None) -> list[Chart]:
    places, series = (list(dict.fromkeys(lines[name].to_list())) for name in ("place", "series"))
    shown = alt.param(name=SEEDS, value=each_seed, bind=alt.binding_checkbox(name="a line for each seed "))
    scale = alt.Scale(type="log", nice=False) if _early(lines) else alt.Scale(nice=False)
    x = alt.X("iteration:Q", title="iteration", scale=scale, axis=alt.Axis(format="~s", tickCount=6))
    y = alt.Y("mean:Q", title=None, scale=alt.Scale(zero=False), axis=alt.Axis(format="~%" if what.share else "~g"))
    color = alt.Color("place:O", sort=places, scale=alt.Scale(domain=places))
    dash = alt.StrokeDash("series:N", sort=series, scale=alt.Scale(domain=series, range=DASHES))
    base = alt.Chart().encode(x=x, detail=["place:N", "series:N"])
    fill = alt.Fill("place:O", sort=places, scale=alt.Scale(domain=places), legend=None)
    band = base.mark_area(opacity=0.15, aria=False).encode(y=alt.Y("low:Q", title=None), y2="high:Q", fill=fill)
    line = base.mark_line(aria=False).encode(y=y, color=color, strokeDash=dash)
    tooltip = [
        *(alt.Tooltip(field, title=title) for field, title in (("place:N", "at"), ("series:N", "measured"))),
        alt.Tooltip("iteration:Q", format=","),
        alt.Tooltip("mean:Q", title="mean over seeds", format=".1%" if what.share else ".3g"),
    ]
    over = base.mark_point(size=120, opacity=0, filled=True, aria=False).encode(y=y, tooltip=tooltip)
    if each_seed is None:
        return [band, line, over]
    single = alt.Chart(alt.NamedData("seeds")).mark_line(strokeWidth=0.8, aria=False).add_params(shown)
    single = single.encode(x=x, y=alt.Y("value:Q", title=None), color=color, detail=["place:N", "seed:N"])
    return [band, single.encode(opacity=alt.condition(SEEDS, alt.value(0.7), alt.value(0))), line, over]


def _early(lines: pl.DataFrame) -> bool:
    """Whether points lie denser at the beginning, as those of ``evaluate_at: log`` do."""
    at = sorted(set(lines["iteration"].to_list()))
    return len(at) > 2 and at[0] > 0 and at[-1] - at[-2] > 3 * (at[1] - at[0])


def chart_of(material: Material, metric: str, arm: str | None, smooth: int, each_seed: bool) -> Chart:
    """Return the chart of an arm by names; see :meth:`overparam.Results.learning_chart`."""
    there = {what.metric: what for what in measured(material.curves)} if len(material.curves) else {}
    if metric not in there:
        known = f"there is {', '.join(there)}" if there else "nothing was"
        raise SpecError(
            f"metric {metric!r} was not measured while training; {known} (evaluate_every of a training measures)"
        )
    labels = {each.label: each for each in material.arms}
    if arm is not None and arm not in labels:
        raise SpecError(f"arm {arm!r} is not in these results{suggest(arm, labels)} (arms: {', '.join(labels)})")
    chosen = labels[arm] if arm is not None else material.arms[0]
    chart = learning_chart(material.curves, chosen, there[metric], smooth=smooth, each_seed=each_seed)
    if chart is None:
        raise SpecError(f"arm {chosen.label!r} has no {metric} of its own while training; name another arm")
    return chart
