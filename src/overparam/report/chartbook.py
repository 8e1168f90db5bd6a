"""All charts of a page as one JSON text, with what arms share (descriptions, equal data) stored once."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import altair as alt

from overparam.report.charts import PANELS, Chart, Data, comparison_chart, panel_data, panel_layers, series_of
from overparam.report.phases import ArmPhases
from overparam.report.theme import theme

MORE_PANELS = ("loss", "soft-error")


@dataclass
class Chartbook:
    """Charts by arm and panel: each the number of its drawing, its own data, and the width of a legend entry."""

    main: int
    labels: list[str]
    arms: list[dict[str, Any]] = field(default_factory=list)
    comparison: dict[str, Any] | None = None
    specs: list[dict[str, Any]] = field(default_factory=list)

    def add(self, chart: Chart, data: Data, names: Sequence[str]) -> dict[str, Any]:
        """Store a chart whose legend shows ``names`` and return its entry; equal drawings are stored once."""
        spec = chart.to_dict()
        if spec not in self.specs:
            self.specs.append(spec)
        # About seven pixels a letter, and the line beside it.
        return {"spec": self.specs.index(spec), "data": data, "legend": 7 * max(len(name) for name in names) + 60}

    def json(self) -> str:
        """Return the book as JSON that is safe inside a script element."""
        content = {
            "main": self.main,
            "arms": [{"label": label, **arm} for label, arm in zip(self.labels, self.arms, strict=True)],
            "comparison": self.comparison,
            "specs": self.specs,
            "themes": {"light": theme(), "dark": theme(dark=True)},
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
    drawings: dict[tuple[str, ...], Chart] = {}
    for one in found:
        drawn = {}
        for name, panel in PANELS.items():
            data, series = panel_data(one.arm, panel, one), series_of(one.arm, panel)
            if data is None:
                continue
            key = (name, *series)
            if key not in drawings:
                drawings[key] = panel_layers(panel, series, sparsest, "container")
            drawn[name] = book.add(drawings[key], data, list(series.values()))
        book.arms.append(drawn)
    if len(found) > 1 and (compared := comparison_chart([one.arm for one in found], width="container")) is not None:
        data, compared.datasets = compared.datasets, alt.Undefined
        book.comparison = book.add(compared, data, book.labels)
    return book
