"""All charts of a page, with the drawings that arms share stored once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import altair as alt
from altair.utils.schemapi import debug_mode

from overparam.report.arms import Arm
from overparam.report.charts import Chart, Data, Extent, marks_data, panel_layers
from overparam.report.marks import NONE
from overparam.report.multiples import comparison_chart
from overparam.report.panels import series_of
from overparam.report.sections import ArmCharts, Comparison, Picture, Section, name_of
from overparam.report.theme import light_for_dark, theme

DIGITS = 5


@dataclass
class Chartbook:
    """Charts by name: for each arm, or the one for all, the number of its drawing, its data, its legend's width.

    ``arms`` are those that a reader can choose from, as (label, what its curve does).
    """

    arms: list[tuple[str, str]]
    main: int = 0
    charts: dict[str, list[dict[str, Any] | None]] = field(default_factory=dict)
    specs: list[dict[str, Any]] = field(default_factory=list)
    _numbers: dict[tuple[str, ...], int] = field(default_factory=dict)  # arms with the same columns share a drawing

    def add(self, section: Section) -> None:
        """Draw the charts of a section."""
        for chart in section.charts:
            if isinstance(chart, ArmCharts):
                extent = Extent.of(chart.arms)
                self.charts[chart.panel.name] = [self._of_arm(chart, arm, extent) for arm in chart.arms]
            elif isinstance(chart, Picture):
                drawn = [chart.draw(arm, "container") for arm in chart.drawn_of]
                self.charts[chart.name] = [one and self._whole(one, chart.letters) for one in drawn]
            else:
                self.charts[name_of(chart)] = [self._compared(chart)]

    def _of_arm(self, chart: ArmCharts, arm: Arm, extent: Extent) -> dict[str, Any] | None:
        """Return the drawing of a panel and what it shows: the page makes the lines, of its rows."""
        marks, panel = chart.marks.get(arm.label, NONE), chart.panel
        series = series_of(arm, panel)
        if not series:
            return None
        key = (panel.name, str(bool(marks.points)), marks.word, *series)
        if key not in self._numbers:
            self._numbers[key] = self._stored(panel_layers(panel, series, extent, "container", marks=marks))
        data = marks_data(panel, marks, Extent.of([arm]).axis)
        entry = _entry(self._numbers[key], data, max(map(len, series.values())))
        return {**entry, "series": series, "write": panel.written}

    def _compared(self, chart: Comparison) -> dict[str, Any] | None:
        drawn = comparison_chart(chart.arms, column=chart.column, title=chart.title, width="container")
        return drawn and self._whole(drawn, max(len(arm.label) for arm in chart.arms))

    def _whole(self, drawn: Chart, letters: int) -> dict[str, Any]:
        """Store a chart that has its data."""
        data, drawn.datasets = _shortened(drawn.datasets), alt.Undefined
        return _entry(self._stored(drawn), data, letters)

    def _stored(self, chart: Chart) -> int:
        """Store a drawing, unless there is an equal one, and return its number."""
        spec = chart.to_dict(validate=False)
        del spec["$schema"]  # an address, and a page names none
        if spec not in self.specs:
            self.specs.append(spec)
        return self.specs.index(spec)

    def content(self) -> dict[str, Any]:
        """Return what the scripts of a page know of its charts."""
        return {
            "main": self.main,
            "labels": [label for label, _ in self.arms],
            "findings": [finding for _, finding in self.arms],
            "charts": self.charts,
            "specs": self.specs,
            "themes": {"light": theme(), "dark": theme(dark=True)},
            "print": light_for_dark(),
        }


def chartbook(sections: Sequence[Section], arms: list[tuple[str, str]], main: int = 0) -> Chartbook:
    """Draw every chart of ``sections``, all on one axis; ``main`` is the place of the arm that is shown first."""
    book = Chartbook(arms, main)
    with debug_mode(False):  # descriptions are checked by tests, not for every page
        for section in sections:
            book.add(section)
    return book


def _shortened(data: Data) -> Data:
    """Return the tables of a chart with as many digits as can be seen."""
    return {name: [{key: _short(value) for key, value in row.items()} for row in rows] for name, rows in data.items()}


def _short(value: Any) -> Any:
    return float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value


def _entry(spec: int, data: Data, letters: int) -> dict[str, Any]:
    # About seven pixels a letter, and the line beside it.
    return {"spec": spec, "data": data, "legend": 7 * letters + 60}
