"""The report page: one HTML file that opens from disk, with everything in it and no network."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup, escape

from overparam.files import write_file
from overparam.report.chartbook import chartbook
from overparam.report.claims import Number
from overparam.report.glossary import GLOSSARY, pieces, word_of
from overparam.report.packing import library, packed
from overparam.report.rows import digits_of, embedded, first_look
from overparam.report.sections import ArmCharts, Comparison, Material, Picture, Section, Table, name_of

OPEN_TABLES = 150_000
"""Letters of tables that a page has as they are; what is beyond is packed, and needs its scripts to be seen."""

SCRIPTS = ("lines.js", "tips.js", "explorer.js", "charts.js")
TIPS = ("tips.js",)


def write_page(
    path: str | Path,
    *,
    name: str,
    sections: Sequence[Section],
    material: Material,
    spec_yaml: str,
    facts: Mapping[str, str],
    failures: Sequence[str] = (),
    remarks: Sequence[str] = (),
    main: str = "",
) -> Path:
    """Write the report of a study as one self-contained HTML file and return its path.

    The page asks for nothing outside itself (a Content-Security-Policy in it forbids it to), follows the reader's
    light or dark setting, and prints. Whatever a user can name is escaped. It carries the study's rows, compressed:
    its charts are drawn of them, and any others that a reader asks for.

    Args:
        path: the file to write.
        name: the study's name.
        sections: what the page says, the first with its headline (:func:`overparam.report.general_sections`).
        material: what they were made of. While rows are lacking, the page says so first.
        spec_yaml: the exact study, as text.
        facts: versions, machine, threads, times: what a reader needs to judge or repeat the numbers.
        failures: one sentence per failed step.
        remarks: further sentences that a reader must know, shown below the headline.
        main: the label of the arm that charts show first; empty: the first one.

    Raises:
        SpecError: the file cannot be written.
    """
    page = _Page(sections, material, main)
    text = page.environment().from_string(_text("page.html")).render(
        name=name,
        lead=sections[0],
        sections=sections[1:],
        lacks=material.lacks,
        remarks=[*sections[0].text, *remarks],
        labels=page.labels if page.charts else [],
        first=page.first,
        failures=failures,
        facts=facts,
        spec_yaml=spec_yaml,
        charts=page.charts,
        packs=page.packs,
        digits=digits_of(material.drawn),
        glossary=GLOSSARY,
        used=lambda: sorted(page.used),
        fresh=set,
        book=page.book,
        library=library() if page.charts else "",
        css=_text("page.css"),
        scripts="\n".join(_text(script) for script in (SCRIPTS if page.charts else TIPS)),
    )  # fmt: skip
    write_file(path, text)
    return Path(path)


class _Page:
    """What is found out about a page while it is written: words to explain, tables to pack, charts to draw."""

    def __init__(self, sections: Sequence[Section], material: Material, main: str) -> None:
        self.material, self.arms = material, material.arms
        self.labels = [arm.label for arm in self.arms]
        self.first = self.labels.index(main) if main in self.labels else 0
        tables = [table for section in sections for table in section.tables if table.look == "levels"]
        found = {table.title: table.finding for table in tables}
        book = chartbook(sections, [(label, found.get(label, "")) for label in self.labels], self.first)
        self.charts = bool(self.arms)
        self._content = book.content()
        self.packs = sum(_size(table) for table in tables) > OPEN_TABLES
        self.used: set[str] = set()
        self.tables: list[str] = []

    def book(self) -> str:
        """Return what the scripts know, packed: to be asked for when all else is written."""
        rows = embedded(self.material.drawn, self.arms)
        look = first_look(rows, self.material)
        content = {**self._content, "rows": rows, "axis": self.material.axis.column, "explorer": look}
        content["tables"] = self.tables
        return packed(json.dumps(content, separators=(",", ":"), ensure_ascii=False, allow_nan=False))

    def environment(self) -> Environment:
        """Return Jinja with what pages need; all text is escaped."""
        made = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
        made.filters["nb"] = _unbroken
        made.filters["words"] = self.words
        made.filters["head"] = self.head
        made.filters["packed_if_large"] = self.packed_if_large
        made.filters["anchor"] = _anchor
        made.filters["figure"] = figure_text
        made.filters["chart_name"] = name_of
        made.filters["label"] = _label
        made.filters["parts"] = lambda cell: (cell, "") if isinstance(cell, str) else cell
        made.tests["by_arm"] = lambda chart: (
            isinstance(chart, ArmCharts) or bool(isinstance(chart, Picture) and chart.arms)
        )
        made.tests["folded"] = lambda table: isinstance(table, Table) and table.look in ("levels", "compared", "costs")
        return made

    def words(self, text: str, seen: set[str]) -> Markup:
        """Return a sentence in which the words of the glossary, but those ``seen`` before, lead to it."""
        return Markup("").join(self._word(piece, word) for piece, word in pieces(text, seen))

    def head(self, text: str) -> Markup:
        """Return a text that stands alone, such as the head of a column: a word of the glossary leads there."""
        return self._word(text, word_of(text))

    def _word(self, text: str, word: str | None) -> Markup:
        if word is None:
            return escape(_unbroken(text))
        self.used.add(word)
        link = '<a class="word" href="#{0}" aria-describedby="{0}">{1}</a>'
        return Markup(link).format(_anchor(word), _unbroken(text))

    def packed_if_large(self, text: Markup) -> Markup:
        """Return a table as it is, or of a page with many the place where a script puts it."""
        if not self.packs:
            return text
        self.tables.append(str(text))
        return Markup('<div data-table="{}"></div>').format(len(self.tables) - 1)


def _size(table: Table) -> int:
    """Return about how many letters a table takes."""
    return len(table.rows) * len(table.columns) * 20


def _unbroken(text: object) -> str:
    return str(text).replace(" %", "\u00a0%")


def _anchor(word: str) -> str:
    return f"word-{word.replace(' ', '-')}"


def _label(chart: ArmCharts | Comparison | Picture) -> str:
    """Return what a screen reader says of a chart."""
    if isinstance(chart, Picture):
        return chart.says
    axis, more = chart.arms[0].axis.word, "arrow keys tell its values, and the tables below have the numbers."
    if isinstance(chart, ArmCharts):
        return f"{chart.panel.title} over {axis}; {more}"
    return f"{chart.column.replace('_', ' ')} over {axis}, one line per arm; {more}"


def _text(name: str) -> str:
    return resources.files("overparam.report").joinpath("web", name).read_text(encoding="utf-8")


def figure_text(value: Number) -> str:
    """Write a number of a claim: whole numbers as they are, others with four significant digits."""
    if value is None:
        return "–"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
