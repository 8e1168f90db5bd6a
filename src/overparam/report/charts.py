"""Charts over falling density: accuracy, loss, soft error, learning distance, and arms against each other.

The x axis is logarithmic and runs from the dense network (100 %, left) to the sparsest (right). Lines are
means over seeds, bands are what :func:`overparam.report.statistics.spread` shows. Charts name no colours:
:func:`overparam.report.theme.theme` does, so that one description serves light and dark pages and paper.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import sqrt
from pathlib import Path
from typing import Any, TypeAlias

import altair as alt

from overparam.errors import SpecError
from overparam.files import write_file
from overparam.report.arms import Arm
from overparam.report.phases import ArmPhases
from overparam.report.shape import Turn
from overparam.report.statistics import spread_is
from overparam.report.tables import phase_at, summary
from overparam.report.theme import theme
from overparam.report.words import density, number, percent

TICKS = [one * 10.0**-power for power in range(7) for one in (1, 0.5, 0.2)]
DASHES = [[1, 0], [7, 3], [2, 2], [8, 3, 2, 3]]
WIDTH = 860

BANDS = 4
"""Most arms in one chart whose bands are drawn; more would hide the lines."""

Chart: TypeAlias = Any
"""An Altair chart; the exact class of a layered or stacked one is Altair's own affair."""

Data: TypeAlias = dict[str, list[dict[str, Any]]]
"""The tables that a chart draws, by name."""


@dataclass(frozen=True)
class Panel:
    """One chart over density: which columns it draws, in which words, and how their values are written.

    Args:
        name: short name, also used for files.
        title: heading of the chart.
        series: column of the results table -> name in the legend; the first is drawn on top.
        axis: d3 format of the y axis.
        write: how a value is told on hover.
        height: in pixels.
        turns: whether to mark and label the turning points of the first series.
    """

    name: str
    title: str
    series: Mapping[str, str]
    axis: str
    write: Callable[[float | None], str]
    height: int
    turns: bool = False


PANELS: dict[str, Panel] = {
    panel.name: panel
    for panel in (
        Panel(
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
            turns=True,
        ),
        Panel(
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
        ),
        Panel(
            "kept-distance",  # on a scale of its own: beside the whole, its peak would be flat
            "Learning distance of the kept weights (L2)",
            {"learning_distance_kept": "kept weights"},
            "~g",
            number,
            110,
        ),
        Panel(
            "loss",
            "Loss",
            {
                "test_loss": "test",
                "train_loss": "train (noisy labels)",
                "train_loss_clean": "train (clean labels)",
            },
            "~g",
            lambda value: number(value, 3),
            240,
        ),
        Panel(
            "soft-error",
            "Soft error",
            {"test_soft_error": "test"},
            "~%",
            percent,
            170,
        ),
    )
}


def panel_chart(
    arm: Arm,
    panel: Panel,
    found: ArmPhases | None = None,
    *,
    sparsest: float | None = None,
    width: int | str = WIDTH,
) -> Chart | None:
    """Draw one panel of an arm, its data included; None when none of its columns was measured.

    Args:
        arm: the arm to draw.
        panel: what to draw.
        found: the arm's phases, shaded and named when given.
        sparsest: lowest density of the x axis; default the arm's own. Give the same to charts that are compared.
        width: pixels, or ``"container"`` for as wide as the page allows.
    """
    data = panel_data(arm, panel, found)
    if data is None:
        return None
    sparsest = sparsest or min(row["density"] for row in data[f"{panel.name}-levels"])
    chart = panel_layers(panel, series_of(arm, panel), sparsest, width, turns=has_turns(panel, found))
    chart.datasets = data
    return chart


def figure(
    arm: Arm, found: ArmPhases | None = None, panels: Sequence[str] = ("accuracy", "distance", "kept-distance")
) -> Chart | None:
    """Stack panels of an arm on one x axis, for a file; None when none of their columns was measured."""
    unknown = [name for name in panels if name not in PANELS]
    if unknown:
        raise SpecError(f"unknown panel {unknown[0]!r} (known: {', '.join(PANELS)})")
    data = {name: rows for name in panels if (rows := panel_data(arm, PANELS[name], found)) is not None}
    if not data:
        return None
    sparsest = min(arm.mean()["density"].to_list())
    charts = [
        panel_layers(panel, series_of(arm, panel), sparsest, WIDTH, turns=has_turns(panel, found), hover=False)
        for panel in (PANELS[name] for name in data)
    ]
    seeds = len(arm.seeds)
    words = f"{arm.label}; mean of {seeds} seeds, bands: {spread_is(seeds)}" if seeds > 1 else f"{arm.label}; one seed"
    stacked = alt.vconcat(*charts, title=alt.Title(words, fontWeight="normal", offset=12))
    stacked = stacked.resolve_scale(color="independent", fill="independent", strokeDash="independent")
    stacked.datasets = {name: rows for tables in data.values() for name, rows in tables.items()}
    return stacked


def series_of(arm: Arm, panel: Panel) -> dict[str, str]:
    """Return the columns of a panel that the arm has, with their names in the legend."""
    series = {name: label for name, label in panel.series.items() if arm.has(name)}
    if (arm.values.get("noise_rate") or 0) > 0:
        return series
    # Without label noise both kinds of train labels are the same.
    clean = {name: label for name, label in series.items() if not name.endswith("_clean")}
    return {name: label.removesuffix(" (noisy labels)") for name, label in clean.items()}


def panel_data(arm: Arm, panel: Panel, found: ArmPhases | None = None) -> Data | None:
    """Return the tables that :func:`panel_layers` draws: levels, curves, phases, borders and turning points."""
    series = series_of(arm, panel)
    if not series:
        return None
    rows = summary(arm, list(series)).to_dicts()
    phases = found.phases if found else ()
    tables: Data = {
        "levels": _levels(rows, series, panel, found),
        "curves": [
            {
                "density": row["density"],
                "series": label,
                "mean": row[name],
                "low": row[f"{name}_low"],
                "high": row[f"{name}_high"],
            }
            for name, label in series.items()
            for row in rows
            if row[name] is not None
        ],
        "phases": _bands(found),
        "borders": [{"density": one.end} for one in phases[:-1]],
    }
    if found and has_turns(panel, found):
        shape = found.shape
        for word, turn in (("dense", shape.dense), ("trough", shape.trough), ("peak", shape.peak)):
            tables[word] = _turn(turn, word)
    return {f"{panel.name}-{name}": table for name, table in tables.items()}


def has_turns(panel: Panel, found: ArmPhases | None) -> bool:
    """Whether a panel marks the dense network, trough and peak: only if the curve falls, rises and falls again."""
    return panel.turns and found is not None and bool(found.phases)


def panel_layers(
    panel: Panel,
    series: Mapping[str, str],
    sparsest: float,
    width: int | str,
    *,
    turns: bool = False,
    hover: bool = True,
) -> Chart:
    """Return the drawing of a panel without its data: it names the tables of :func:`panel_data`.

    ``sparsest`` is the lowest density of the x axis; ``turns`` marks the turning points (see :func:`has_turns`);
    ``hover`` adds a cursor that tells the values of a level.
    """

    def table(name: str) -> alt.Chart:
        return alt.Chart(alt.NamedData(name=f"{panel.name}-{name}"))

    x = density_axis(sparsest)
    names = list(series.values())
    dashes = [DASHES[list(panel.series).index(name) % len(DASHES)] for name in series]
    color = alt.Color("series:N", sort=names, scale=alt.Scale(domain=names))
    dash = alt.StrokeDash("series:N", sort=names, scale=alt.Scale(domain=names, range=dashes))
    y = alt.Y("mean:Q", title=None, scale=alt.Scale(zero=False), axis=alt.Axis(format=panel.axis))
    layers: list[alt.Chart] = []
    for name in ("critical", "sweet", "collapsed", "unclear"):
        shaded = table("phases").transform_filter(f"datum.look == '{name}'")
        layers.append(shaded.mark_rect(style=f"phase-{name}", aria=False).encode(x=x, x2="end:Q"))
    layers.append(table("borders").mark_rule(style="border", aria=False).encode(x=x))
    label = table("phases").mark_text(style="phase-label", baseline="bottom", aria=False)
    layers.append(label.encode(x="middle:Q", y=alt.value(-5), text="phase:N"))
    band = table("curves").mark_area(opacity=0.2, aria=False)
    layers.append(band.encode(x=x, y=alt.Y("low:Q", title=None), y2="high:Q", fill=_fill("series:N", names)))
    layers.append(table("curves").mark_line(aria=False).encode(x=x, y=y, color=color, strokeDash=dash))
    if turns:
        # The curves of train accuracy run below the trough and above the peak: labels go to the other side.
        for word, dy in (("dense", -17), ("trough", -17), ("peak", 17)):
            turn = table(word).encode(x=x, y="mean:Q")
            layers.append(turn.mark_point(style="turn", aria=False))
            for style in ("halo", "turn-label"):
                styles = [style, "at-left-edge"] if word == "dense" else [style]
                layers.append(turn.mark_text(style=styles, dy=dy, aria=False).encode(text="text:N"))
    if hover:
        tips = [alt.Tooltip("at:N", title="density"), alt.Tooltip("phase:N", title="phase")]
        tips += [alt.Tooltip(f"s{position}:N", title=label) for position, label in enumerate(names)]
        tips.append(alt.Tooltip("seeds:Q", title="seeds"))
        under = alt.selection_point(name="under", fields=["level"], on="pointerover", clear="pointerout", empty=False)
        shown = alt.when(under).then(alt.value(1)).otherwise(alt.value(0))
        layers.append(table("levels").mark_rule(style="cursor", aria=False).encode(x=x, opacity=shown))
        strip = table("levels").mark_rect(opacity=0, aria=False).encode(x="start:Q", x2="end:Q", tooltip=tips)
        layers.append(strip.add_params(under))
    drawn = alt.layer(*layers).properties(title=panel.title, width=width, height=panel.height)
    # Shared, the hidden legend of the bands would hide the legend of the lines with it.
    return drawn.resolve_legend(fill="independent")


def comparison_chart(arms: Sequence[Arm], *, column: str = "test_accuracy", width: int | str = WIDTH) -> Chart | None:
    """Draw one column of several arms over density, None if not measured; a click on the legend singles one out."""
    measured = [arm for arm in arms if arm.has(column)]
    if not measured:
        return None
    rows = [
        {
            "arm": arm.label,
            "density": row["density"],
            "mean": row[column],
            "low": row[f"{column}_low"],
            "high": row[f"{column}_high"],
            "at": f"{density(row['density'])} (level {row['level']})",
            "value": _told(row, column, percent),
            "seeds": row["n"],
        }
        for arm in measured
        for row in summary(arm, [column]).to_dicts()
        if row[column] is not None
    ]
    names = [arm.label for arm in measured]
    chosen = alt.selection_point(name="arm", fields=["arm"], bind="legend")
    base = alt.Chart(alt.NamedData(name="arms")).encode(x=density_axis(min(row["density"] for row in rows)))
    color = alt.Color("arm:N", sort=names, scale=alt.Scale(domain=names))
    dashes = [DASHES[position % len(DASHES)] for position in range(len(names))]
    dash = alt.StrokeDash("arm:N", sort=names, scale=alt.Scale(domain=names, range=dashes))
    y = alt.Y("mean:Q", title=None, scale=alt.Scale(zero=False), axis=alt.Axis(format="~%"))
    shown = alt.when(chosen)
    layers: list[alt.Chart] = []
    if len(names) <= BANDS:
        band = base.mark_area(aria=False).encode(y=alt.Y("low:Q", title=None), y2="high:Q")
        faint = shown.then(alt.value(0.14)).otherwise(alt.value(0.03))
        layers.append(band.encode(fill=_fill("arm:N", names), opacity=faint))
    line = base.mark_line(aria=False).encode(y=y, color=color, strokeDash=dash)
    layers.append(line.encode(opacity=shown.then(alt.value(1)).otherwise(alt.value(0.12))).add_params(chosen))
    tips = [
        alt.Tooltip("arm:N", title="arm"),
        alt.Tooltip("at:N", title="density"),
        alt.Tooltip("value:N", title="test"),
        alt.Tooltip("seeds:Q", title="seeds"),
    ]
    layers.append(base.mark_point(filled=True, size=160, opacity=0, aria=False).encode(y=y, tooltip=tips))
    chart = alt.layer(*layers).properties(title="Test accuracy, arm by arm", width=width, height=320)
    chart = chart.resolve_legend(fill="independent")
    chart.datasets = {"arms": rows}
    return chart


def save_chart(chart: Chart, path: str | Path, *, dark: bool = False, scale: float = 2.0) -> Path:
    """Write a chart as PNG, SVG, PDF or Vega-Lite JSON, by the suffix of ``path``, without any network.

    Raises :class:`SpecError` for another suffix, or if the file cannot be written.
    """
    import json

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


def density_axis(sparsest: float) -> alt.X:
    """Return the x channel: log scale from 100 % down to ``sparsest``, ticks in percent."""
    ticks = [tick for tick in TICKS if tick >= sparsest * 0.999]
    return alt.X(
        "density:Q",
        title="density (share of weights kept)",
        scale=alt.Scale(type="log", domain=[1, min(sparsest, 0.9)], nice=False),
        axis=alt.Axis(values=ticks, format="~%"),
    )


def _fill(field: str, names: list[str]) -> alt.Fill:
    """Colour bands as their lines, on a channel of their own, so that the legend shows lines."""
    return alt.Fill(field, sort=names, scale=alt.Scale(domain=names), legend=None)


def _told(row: Mapping[str, Any], column: str, write: Callable[[float | None], str]) -> str:
    """Write a mean with the ends of its band."""
    if row[column] is None or row[f"{column}_low"] is None:
        return write(row[column])
    return f"{write(row[column])} ({write(row[f'{column}_low'])} to {write(row[f'{column}_high'])})"


def _bands(found: ArmPhases | None) -> list[dict[str, Any]]:
    """Return the phases as bands; where nothing is decided, one grey band over the whole axis that says so."""
    if found is None or (not found.phases and found.verdict == "no"):
        return []
    bands = [(one.name, one.name, one.start, one.end) for one in found.phases]
    bands = bands or [(found.verdict, "unclear", found.shape.dense.density, found.shape.last.density)]
    return [
        {"density": start, "end": end, "middle": sqrt(start * end), "phase": name, "look": look}
        for name, look, start, end in bands
    ]


def _turn(turn: Turn | None, word: str) -> list[dict[str, Any]]:
    if turn is None:
        return []
    word = "first" if word == "dense" and turn.level > 0 else word
    return [{"density": turn.density, "mean": turn.accuracy, "text": f"{word} {percent(turn.accuracy)}"}]


def _levels(
    rows: Sequence[Mapping[str, Any]], series: Mapping[str, str], panel: Panel, found: ArmPhases | None
) -> list[dict[str, Any]]:
    """Return what the cursor tells at each level, in words, and the strip of the axis where it tells it."""
    edges = [rows[0]["density"], *(sqrt(a["density"] * b["density"]) for a, b in pairwise(rows)), rows[-1]["density"]]
    return [
        {
            "density": row["density"],
            "start": start,
            "end": end,
            "level": row["level"],
            "at": f"{density(row['density'])}{_weights(row)} (level {row['level']})",
            "phase": (phase_at(found, row["density"]) or found.verdict) if found else "–",
            "seeds": row["n"],
            **{f"s{position}": _told(row, name, panel.write) for position, name in enumerate(series)},
        }
        for row, start, end in zip(rows, edges[:-1], edges[1:], strict=True)
    ]


def _weights(row: Mapping[str, Any]) -> str:
    return f", {row['kept']:,} weights" if row["kept"] is not None else ""
