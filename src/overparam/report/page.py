"""The report page: one HTML file that opens from disk, with everything in it and no network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any

import polars as pl
from jinja2 import Environment, StrictUndefined

from overparam.files import write_file
from overparam.report.arms import Arm, arms
from overparam.report.chartbook import MORE_PANELS, chartbook
from overparam.report.charts import vega_lite_version
from overparam.report.claims import Number, Verdict
from overparam.report.finding import finding, notes
from overparam.report.phases import ArmPhases, find_phases
from overparam.report.shape import FITTED, LEAST
from overparam.report.tables import SHOWN, level_table
from overparam.report.words import count, density, number, percent

PHASES = ("light", "critical", "sweet", "collapsed")


def write_page(
    path: str | Path,
    *,
    name: str,
    frame: pl.DataFrame,
    spec_yaml: str,
    facts: Mapping[str, str],
    failures: Sequence[str] = (),
    verdicts: Sequence[Verdict] | None = None,
    remarks: Sequence[str] = (),
) -> Path:
    """Write the report of a study as one self-contained HTML file and return its path.

    The page asks for nothing outside itself (a Content-Security-Policy in it forbids it to), follows the reader's
    light or dark setting, and prints. Whatever a user can name is escaped.

    Args:
        path: the file to write.
        name: the study's name.
        frame: the results table, one row per trained checkpoint; may be empty when everything failed.
        spec_yaml: the exact study, as text.
        facts: versions, machine, threads, times: what a reader needs to judge or repeat the numbers.
        failures: one sentence per failed step.
        verdicts: claims tested on ``frame``; None or empty leaves the section out.
        remarks: further sentences that a reader must know, shown below the headline.

    Raises:
        DataError: ``frame`` has rows but lacks a column that every results table has.
        SpecError: the file cannot be written.
    """
    text = page(
        name=name,
        frame=frame,
        spec_yaml=spec_yaml,
        facts=facts,
        failures=failures,
        verdicts=verdicts or (),
        remarks=remarks,
    )
    write_file(path, text)
    return Path(path)


def page(
    *,
    name: str,
    frame: pl.DataFrame,
    spec_yaml: str,
    facts: Mapping[str, str],
    failures: Sequence[str],
    verdicts: Sequence[Verdict],
    remarks: Sequence[str] = (),
) -> str:
    """Return the text of the page; the arguments are those of :func:`write_page`."""
    every = arms(frame) if not frame.is_empty() else []
    phases = [find_phases(arm) for arm in every]
    shown = [one for one in phases if one is not None]
    main = main_arm(shown)
    book = chartbook(shown, main) if main else None
    many = main is not None and len(main.arm.seeds) > 1
    return _environment().from_string(_text("page.html")).render(
        name=name,
        headline=finding(main) if main else _nothing(every),
        remarks=[*(notes(main) if main else []), *_others(shown, main), *_missing(main), *remarks],
        main=main and _arm_row(main),
        tiles=_tiles(main) if main else [],
        arms=[_arm_row(one) for one in shown],
        phase_names=[name for name in PHASES if any(p.name == name for one in shown for p in one.phases)],
        caption=_caption(shown),
        comparison=len(shown) > 1,
        comparison_bands=", bands from the lowest to the highest seed" if many and len(shown) <= 4 else "",
        more_panels=[name for name in MORE_PANELS if book and any(name in arm for arm in book.arms)],
        levels=[_levels(arm, one) for arm, one in zip(every, phases, strict=True)],
        verdicts=verdicts,
        failures=failures,
        facts=facts,
        spec_yaml=spec_yaml,
        charts=book.json() if book else "",
        library=library() if book else "",
        css=_text("page.css"),
    )  # fmt: skip


def main_arm(found: Sequence[ArmPhases]) -> ArmPhases | None:
    """Return the arm that the page opens with: with label noise, in the paper's main setting, as far as there is."""

    def rank(one: ArmPhases) -> tuple[bool, ...]:
        values = one.arm.values
        return (
            not values.get("noise_rate"),
            values.get("criterion") not in (None, "magnitude"),
            values.get("retraining") not in (None, "rewind"),
            one.verdict != "yes",
            not one.shape.descends_twice,
        )

    return min(found, key=rank, default=None)


@lru_cache(maxsize=1)
def library() -> str:
    """Return Vega-Embed with Vega and Vega-Lite in it as one script (0.9 MB), from the vl-convert package."""
    import vl_convert

    text: str = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", vl_version=vega_lite_version())
    return text.replace("</script", "<\\/script")


def _environment() -> Environment:
    made = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    made.filters["nb"] = lambda text: str(text).replace(" %", "\u00a0%")
    made.filters["figure"] = figure_text
    return made


def _text(name: str) -> str:
    return resources.files("overparam.report").joinpath(name).read_text(encoding="utf-8")


def figure_text(value: Number) -> str:
    """Write a number of a claim: whole numbers as they are, others with four significant digits."""
    if value is None:
        return "–"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _nothing(every: Sequence[Arm]) -> str:
    if not every:
        return "No checkpoint was measured, so there is nothing to show yet."
    return "Test accuracy was not measured, so there is no curve to show; add the accuracy probe."


def _others(shown: Sequence[ArmPhases], main: ArmPhases | None) -> list[str]:
    """Say how the rest of the study agrees with the arm in the headline."""
    if main is None or len(shown) < 2:
        return []
    said = []
    for title, noisy in (("with", True), ("without", False)):
        group = [one for one in shown if bool(one.arm.values.get("noise_rate")) is noisy]
        if group:
            yes = sum(one.verdict == "yes" for one in group)
            said.append(f"{yes} of {count(len(group), 'arm')} {title} label noise")
    return [f"The headline is the arm “{main.arm.label}”. A double descent shows in {' and '.join(said)}."]


def _missing(main: ArmPhases | None) -> list[str]:
    if main is None or main.arm.has("learning_distance"):
        return []
    return ["The learning distance was not measured, so it is not drawn (probe learning-distance)."]


def _caption(shown: Sequence[ArmPhases]) -> str:
    seeds = [len(one.arm.seeds) for one in shown]
    lines = "Lines are means over the seeds, bands reach from the lowest to the highest seed."
    if max(seeds, default=1) == 1:
        lines = "One seed, so there are no bands."
    distance = "Learning distance: how far the weights moved from their initial values, pruned weights counted as 0."
    axis = "Density, the kept share of the weights that can be pruned, is logarithmic and falls to the right"
    return f"{lines} {axis}; point at a level for its values. {distance}"


def _tiles(main: ArmPhases) -> list[dict[str, str]]:
    shape = main.shape
    first = "Dense network" if shape.dense.level == 0 else f"First level ({density(shape.dense.density)})"
    tiles = [{"title": first, "value": percent(shape.dense.accuracy), "detail": "test accuracy"}]
    if shape.trough and shape.peak:
        for word, turn in (("Worst", shape.trough), ("Best after it", shape.peak)):
            detail = f"at {density(turn.density)} density"
            tiles.append({"title": word, "value": percent(turn.accuracy), "detail": detail})
    mean = main.arm.mean()
    enough = mean.filter(pl.col("test_accuracy") >= shape.dense.accuracy - LEAST).sort("density")
    kept = enough["kept"][0] if "kept" in enough.columns else None
    detail = f"down to {round(kept):,} weights" if kept is not None else "down to this density"
    value = density(enough["density"][0])
    return [*tiles, {"title": "Within 1 point of dense", "value": value, "detail": detail}]


def _arm_row(one: ArmPhases) -> dict[str, Any]:
    shape = one.shape
    cells = {}
    for phase in one.phases:
        over = phase.end_over_seeds
        ends = f"ends {density(over.high)} to {density(over.low)}" if over and over.known else ""
        cells[phase.name] = {"range": f"{density(phase.start)} → {density(phase.end)}", "ends": ends}
    onset = one.over_seeds("onset")
    fitted = [f"{density(onset.high)} to {density(onset.low)}"] if onset.known else []
    if shape.threshold and shape.threshold != FITTED:
        fitted.append(f"over {percent(shape.threshold)} only")
    return {
        "label": one.arm.label,
        "finding": finding(one),
        "seeds": len(one.arm.seeds),
        "phases": cells,
        "fall": _points(one, "fall"),
        "rise": _points(one, "rise"),
        "second_fall": _points(one, "second_fall"),
        "verdict": one.verdict,
        "onset": density(shape.onset) if shape.onset else ("–" if shape.fitted is None else "never left"),
"onset_note": ", ".join(fitted) if shape.onset else "",
    }  # fmt: skip


def _points(one: ArmPhases, size: str) -> str:
    found = getattr(one, size)
    return "–" if found.n == 0 else str(found.text())


def _levels(arm: Arm, found: ArmPhases | None) -> dict[str, Any]:
    table = level_table(arm, found)
    columns = [name for name in SHOWN if name in table.columns]
    heads = ["level", "density", *(["weights"] if "kept" in table.columns else []), "seeds"]
    turns = [turn.level for turn in (found.shape.trough, found.shape.peak) if turn] if found else []
    rows = []
    for row in table.iter_rows(named=True):
        kept = [f"{row['kept']:,}" if row["kept"] is not None else "–"] if "kept" in table.columns else []
        cells = [str(row["level"]), density(row["density"]), *kept, str(row["n"])]
        for name in columns:
            cells.append(number(row[name]) if name == "learning_distance" else percent(row[name]))
            if name == "test_accuracy" and row[f"{name}_low"] is not None:
                cells[-1] += f" ± {100 * (row[f'{name}_high'] - row[name]):.1f}"
        rows.append({"cells": [*cells, *([row["phase"]] if found else [])], "turn": row["level"] in turns})
    heads += [*(SHOWN[name] for name in columns), *(["phase"] if found else [])]
    return {"label": arm.label, "heads": heads, "rows": rows}
