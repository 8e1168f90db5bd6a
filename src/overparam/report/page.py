"""The report page: one HTML file that opens from disk, with everything in it and no network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib import resources
from pathlib import Path

from jinja2 import Environment, StrictUndefined

from overparam.files import write_file
from overparam.report.chartbook import chartbook
from overparam.report.claims import Number
from overparam.report.figures import vega_lite_version
from overparam.report.sections import ArmCharts, Comparison, Picture, Section, Table, name_of
from overparam.report.tables import tables_of


def write_page(
    path: str | Path,
    *,
    name: str,
    sections: Sequence[Section],
    spec_yaml: str,
    facts: Mapping[str, str],
    failures: Sequence[str] = (),
    lacks: str | None = None,
    remarks: Sequence[str] = (),
    main: str = "",
) -> Path:
    """Write the report of a study as one self-contained HTML file and return its path.

    The page asks for nothing outside itself (a Content-Security-Policy in it forbids it to), follows the reader's
    light or dark setting, and prints. Whatever a user can name is escaped.

    Args:
        path: the file to write.
        name: the study's name.
        sections: what the page says, the first with its headline (:func:`overparam.report.general_sections`).
        spec_yaml: the exact study, as text.
        facts: versions, machine, threads, times: what a reader needs to judge or repeat the numbers.
        failures: one sentence per failed step.
        lacks: how much of the study is there ("14 of 84 rows") while it is not whole; the page says so first.
        remarks: further sentences that a reader must know, shown below the headline.
        main: the label of the arm that charts show first; empty: the first one.

    Raises:
        SpecError: the file cannot be written.
    """
    arms = [(table.title, table.finding) for table in tables_of(sections)]
    labels = [label for label, _ in arms]
    first = labels.index(main) if main in labels else 0
    book = chartbook(sections, arms, first)
    charts = any(entry for entries in book.charts.values() for entry in entries)
    text = _environment().from_string(_text("page.html")).render(
        name=name,
        lead=sections[0],
        sections=sections[1:],
        lacks=lacks,
        remarks=[*sections[0].text, *remarks],
        labels=labels if charts else [],
        first=first,
        failures=failures,
        facts=facts,
        spec_yaml=spec_yaml,
        charts=book.json() if charts else "",
        library=library() if charts else "",
        css=_text("page.css"),
    )  # fmt: skip
    write_file(path, text)
    return Path(path)


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
    made.filters["chart_name"] = name_of
    made.filters["label"] = _label
    made.filters["parts"] = lambda cell: (cell, "") if isinstance(cell, str) else cell
    made.tests["by_arm"] = lambda chart: (
        isinstance(chart, ArmCharts) or (isinstance(chart, Picture) and bool(chart.arms))
    )
    made.tests["folded"] = lambda table: isinstance(table, Table) and table.look in ("levels", "compared", "costs")
    return made


def _label(chart: ArmCharts | Comparison | Picture) -> str:
    """Return what a screen reader says of a chart."""
    if isinstance(chart, Picture):
        return chart.says
    axis = chart.arms[0].axis.word
    if isinstance(chart, ArmCharts):
        return f"{chart.panel.title} over {axis}; the numbers are in the tables below."
    return f"{chart.column.replace('_', ' ')} over {axis}, one line per arm; the numbers are in the tables below."


def _text(name: str) -> str:
    return resources.files("overparam.report").joinpath(name).read_text(encoding="utf-8")


def figure_text(value: Number) -> str:
    """Write a number of a claim: whole numbers as they are, others with four significant digits."""
    if value is None:
        return "–"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
