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
from overparam.report.arms import Arm, arms, lacking
from overparam.report.chartbook import MORE_PANELS, chartbook
from overparam.report.charts import vega_lite_version
from overparam.report.claims import Number, Verdict
from overparam.report.finding import asks, finding, notes
from overparam.report.phases import ArmPhases, Phase, find_phases
from overparam.report.shape import FITTED, LEAST
from overparam.report.statistics import spread_is
from overparam.report.tables import SHOWN, around, level_table, turn_marks
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
    missing: int = 0,
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
        missing: rows of the study that are not in ``frame``; with any, the page says so first and decides nothing.
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
        missing=missing,
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
    missing: int = 0,
    remarks: Sequence[str] = (),
) -> str:
    """Return the text of the page; the arguments are those of :func:`write_page`."""
    every = arms(frame) if not frame.is_empty() else []
    lacks = lacking(frame, missing)
    phases = [find_phases(arm, lacks) for arm in every]
    shown = [one for one in phases if one is not None]
    main = main_arm(shown)
    book = chartbook(shown, main) if main else None
    return _environment().from_string(_text("page.html")).render(
        name=name,
        lacks=lacks,
        headline=finding(main) if main else _nothing(every),
        remarks=[*(notes(main) if main else []), *_others(shown, main), *_missing(main), *remarks],
        main=main and _arm_row(main),
        tiles=_tiles(main) if main else [],
        arms=[_arm_row(one) for one in shown],
        phase_names=[name for name in PHASES if any(p.name == name for one in shown for p in one.phases)],
        caption=_caption(shown),
        comparison=len(shown) > 1,
        bands=_bands(shown),
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
    """Say which arm the headline is about and, under label noise, how the rest of the study agrees with it."""
    if main is None or len(shown) < 2:
        return []
    said = f"The headline is the arm “{main.arm.label}”."
    if main.lacks is not None or not any(asks(one) for one in shown):
        return [said]
    groups = [
        (title, [one for one in shown if asks(one) is noisy]) for title, noisy in (("with", True), ("without", False))
    ]
    parts = [
        f"{sum(one.verdict == 'yes' for one in group)} of {count(len(group), 'arm')} {title} label noise"
        for title, group in groups
        if group
    ]
    return [f"{said} A double descent shows in {' and '.join(parts)}."]


def _missing(main: ArmPhases | None) -> list[str]:
    if main is None or main.arm.has("learning_distance"):
        return []
    return ["The learning distance was not measured, so it is not drawn (probe learning-distance)."]


def _caption(shown: Sequence[ArmPhases]) -> str:
    lines = f"Lines are means over the seeds{_bands(shown)}."
    distance = "Learning distance: how far the weights moved from their initial values, pruned weights counted as 0."
    axis = "Density, the kept share of the weights that can be pruned, is logarithmic and falls to the right"
    return f"{lines} {axis}; point at a level for its values. {distance}"


def _bands(shown: Sequence[ArmPhases]) -> str:
    """Say what the bands of charts are, as tables say what stands beside a mean."""
    counts = sorted({len(one.arm.seeds) for one in shown})
    if not counts:
        return ""
    if counts[-1] == 1:
        return "; one seed, so there are no bands"
    several = [spread_is(seeds) for seeds in counts if seeds > 1]
    return f", bands are {' or '.join(dict.fromkeys(several))}"


def _tiles(main: ArmPhases) -> list[dict[str, str]]:
    shape = main.shape
    first = "Dense network" if shape.dense.level == 0 else f"First level ({density(shape.dense.density)})"
    tiles = [{"title": first, "value": percent(shape.dense.accuracy), "detail": "test accuracy"}]
    if main.lacks is not None:
        return tiles
    if main.phases and shape.trough and shape.peak:
        for word, turn in (("Worst before the best", shape.trough), ("Best after it", shape.peak)):
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
    cells = {phase.name: _phase_cell(phase) for phase in one.phases}
    onset = one.over_seeds("onset")
    fitted = [f"{density(onset.high)} to {density(onset.low)}"] if onset.known else []
    if shape.threshold and shape.threshold != FITTED:
        fitted.append(f"over {percent(shape.threshold)} only")
    never = "–" if shape.fitted is None or shape.turning is None else "never left"
    p_value = shape.turning.p_value if shape.turning else None
    return {
        "label": one.arm.label,
        "finding": finding(one),
        "seeds": len(one.arm.seeds),
        "phases": cells,
        "fall": _points(one, "fall"),
        "rise": _points(one, "rise"),
        "second_fall": _points(one, "second_fall"),
        "p_value": "–" if p_value is None else f"{p_value:.3f}",
        "verdict": one.verdict,
        "onset": density(onset.mean) if onset.mean else never,
        "onset_note": ", ".join(fitted) if onset.mean else "",
    }


def _phase_cell(phase: Phase) -> dict[str, str]:
    over = phase.end_over_seeds
    ends = ""
    if over and over.high is not None and over.low is not None:
        low, high = density(over.low), density(over.high)
        ends = f"ends at {low}" if low == high else f"ends {high} to {low}"
    return {"range": f"{density(phase.start)} → {density(phase.end)}", "ends": ends}


def _points(one: ArmPhases, size: str) -> str:
    found = getattr(one, size)
    return "–" if found.n == 0 else found.text()


def _levels(arm: Arm, found: ArmPhases | None) -> dict[str, Any]:
    table = level_table(arm, found)
    columns = [name for name in SHOWN if name in table.columns]
    heads = ["level", "density", *(["weights"] if "kept" in table.columns else []), "seeds"]
    phased, turns = "phase" in table.columns, turn_marks(found)
    rows = []
    for row in table.iter_rows(named=True):
        kept = [f"{row['kept']:,}" if row["kept"] is not None else "–"] if "kept" in table.columns else []
        cells = [str(row["level"]), density(row["density"]), *kept, str(row["n"])]
        for name in columns:
            cells.append(number(row[name]) if name == "learning_distance" else percent(row[name]))
            if name == "test_accuracy":
                cells[-1] += around(row, name)
        mark = f" ({turns[row['level']]})" if row["level"] in turns else ""
        rows.append({"cells": [*cells, *([row["phase"] + mark] if phased else [])], "turn": bool(mark)})
    heads += [*(SHOWN[name] for name in columns), *(["phase"] if phased else [])]
    note = f"Beside the test accuracy: {spread_is(len(arm.seeds))}."
    return {"label": arm.label, "heads": heads, "rows": rows, "note": note}
