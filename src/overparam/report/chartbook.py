"""All charts of a page as one JSON text, with what arms share (descriptions, equal data) stored once."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import altair as alt

from overparam.report.charts import (
    PANELS,
    Chart,
    Data,
    comparison_chart,
    has_turns,
    panel_data,
    panel_layers,
    series_of,
)
from overparam.report.finding import finding
from overparam.report.phases import ArmPhases
from overparam.report.theme import light_for_dark, theme

MORE_PANELS = ("loss", "soft-error")


@dataclass
class Chartbook:
    """Charts by arm and panel: each the number of its drawing, its own data, and the width of a legend entry."""

    main: int
    labels: list[str]
    arms: list[dict[str, Any]] = field(default_factory=list)
    comparison: dict[str, Any] | None = None
    specs: list[dict[str, Any]] = field(default_factory=list)

    def add(self, chart: Chart) -> int:
        """Store a drawing and return its number."""
        spec = chart.to_dict()
        del spec["$schema"]  # an address, and this page names none
        self.specs.append(spec)
        return len(self.specs) - 1

    def json(self) -> str:
        """Return the book as JSON that is safe inside a script element."""
        content = {
            "main": self.main,
            "arms": self.arms,
            "comparison": self.comparison,
            "specs": self.specs,
            "themes": {"light": theme(), "dark": theme(dark=True)},
            "print": light_for_dark(),
        }
        text = json.dumps(content, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
        escapes: dict[str, str | int | None] = {
            "<": "\\u003c",
            ">": "\\u003e",
            "&": "\\u0026",
            "\u2028": "\\u2028",
            "\u2029": "\\u2029",
        }
        return text.translate(str.maketrans(escapes))


def chartbook(found: Sequence[ArmPhases], main: ArmPhases) -> Chartbook:
    """Draw every panel of every arm, all on the density axis of the sparsest arm, and the comparison of arms."""
    book = Chartbook(list(found).index(main), [one.arm.label for one in found])
    sparsest = min(one.shape.last.density for one in found)
    numbers: dict[tuple[str, ...], int] = {}  # arms with the same columns share a drawing
    for one in found:
        drawn: dict[str, Any] = {"label": one.arm.label, "finding": finding(one)}
        for name, panel in PANELS.items():
            data, series = panel_data(one.arm, panel, one), series_of(one.arm, panel)
            if data is None:
                continue
            turns = has_turns(panel, one)
            key = (name, str(turns), *series)
            if key not in numbers:
                numbers[key] = book.add(panel_layers(panel, series, sparsest, "container", turns=turns))
            drawn[name] = _entry(numbers[key], data, list(series.values()))
        book.arms.append(drawn)
    compared = comparison_chart([one.arm for one in found], width="container") if len(found) > 1 else None
    if compared is not None:
        data, compared.datasets = compared.datasets, alt.Undefined
        book.comparison = _entry(book.add(compared), data, book.labels)
    return book


def _entry(spec: int, data: Data, names: Sequence[str]) -> dict[str, Any]:
    # About seven pixels a letter, and the line beside it.
    return {"spec": spec, "data": data, "legend": 7 * max(len(name) for name in names) + 60}
