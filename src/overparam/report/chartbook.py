"""All charts of a page as one JSON text, with what arms share (descriptions, equal data) stored once."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from overparam.report.charts import PANELS, Chart, comparison_chart, panel_chart
from overparam.report.phases import ArmPhases
from overparam.report.theme import theme

MORE_PANELS = ("loss", "soft-error")


@dataclass
class Chartbook:
    """Charts by arm and panel: each the number of its description, the keys of its data, its legend's width."""

    main: int
    labels: list[str]
    arms: list[dict[str, Any]] = field(default_factory=list)
    comparison: dict[str, Any] | None = None
    specs: list[str] = field(default_factory=list)
    datasets: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def add(self, chart: Chart, names: Sequence[str]) -> dict[str, Any]:
        """Store a chart whose legend shows ``names`` and return its entry."""
        spec = chart.to_dict(validate=False)  # half a second a chart; the tests validate
        data = spec.pop("datasets")
        self.datasets |= data
        text = json.dumps(spec)
        for position, key in enumerate(data):
            text = text.replace(json.dumps(key), f'"data{position}"')
        if text not in self.specs:
            self.specs.append(text)
        # About seven pixels a letter, and the line beside it.
        width = 7 * max(len(name) for name in names) + 60
        return {"spec": self.specs.index(text), "data": list(data), "legend": width}

    def json(self) -> str:
        """Return the book as JSON that is safe inside a script element."""
        content = {
            "main": self.main,
            "arms": [{"label": label, **arm} for label, arm in zip(self.labels, self.arms, strict=True)],
            "comparison": self.comparison,
            "specs": [json.loads(text) for text in self.specs],
            "datasets": self.datasets,
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
    for one in found:
        drawn = {}
        for name, panel in PANELS.items():
            chart = panel_chart(one.arm, panel, one, sparsest=sparsest, width="container")
            if chart is not None:
                drawn[name] = book.add(chart, list(panel.series.values()))
        book.arms.append(drawn)
    if len(found) > 1:
        compared = comparison_chart([one.arm for one in found], width="container")
        book.comparison = book.add(compared, book.labels)
    return book
