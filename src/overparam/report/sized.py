"""Charts for print: as wide as a paper's column to the point, with type that can be read, as PDF, PNG and SVG.

A chart is laid out larger than it is printed and made smaller as a whole, type, lines and marks alike, so that its
smallest type has the size that is asked for. PDF has its fonts in it, PNG has pixels; SVG names its fonts.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from overparam.errors import SpecError
from overparam.files import write_file
from overparam.registry import suggest
from overparam.report.charts import WIDTH, Chart
from overparam.report.figures import Figure, figures, made_folder, vega_lite_version
from overparam.report.latex import escape
from overparam.report.sections import Section
from overparam.report.theme import theme

WIDTHS = {"single": 3.25, "double": 6.75}
"""Inches of a column, and of both with the gap between them, as conferences print (ICML; others differ by a tenth)."""

UNITS = {"in": 1.0, "mm": 1 / 25.4, "cm": 1 / 2.54, "pt": 1 / 72}
"""Inches in a unit; a point is that of PDF."""

SUFFIXES = (".pdf", ".png", ".svg")
DOTS = 300
"""Of a PNG, an inch."""

POINTS = 8.0
SMALLEST = 12
"""Pixels of the smallest type of the page's theme, which becomes what is asked for."""

FONT = "Liberation Sans, Arial, Helvetica, sans-serif"
"""The first comes with the package that draws, so that a chart looks the same wherever it is made."""

LETTER, SYMBOL = 7, 60
"""Pixels of a letter of a legend, about, and of the line beside it."""

AXES = 54
"""Pixels of the axis beside a chart, about."""

TRIES = 5

NARROW = 160
"""Pixels that a panel of small multiples takes, at least."""


@dataclass(frozen=True)
class Page:
    """How a chart is printed.

    Args:
        width: ``"single"``, ``"double"``, or a length such as ``"140mm"`` or ``"5.5in"``; a number counts inches.
        points: of the smallest type, 5 to 12.
    """

    width: str | float = "single"
    points: float = POINTS

    def __post_init__(self) -> None:
        if isinstance(self.points, bool) or not isinstance(self.points, int | float) or not 5 <= self.points <= 12:
            raise SpecError(f"points must be a size of type from 5 to 12, got {self.points!r}")
        if not 1 <= self.inches <= 20:
            raise SpecError(f"width must be from 1 to 20 inches, got {self.width!r}")

    @property
    def inches(self) -> float:
        """The width."""
        if isinstance(self.width, int | float) and not isinstance(self.width, bool):
            return float(self.width)
        text = str(self.width).strip()
        if text in WIDTHS:
            return WIDTHS[text]
        found = re.fullmatch(r"(\d+(?:\.\d+)?) ?(in|mm|cm|pt)", text)
        if found is None:
            raise SpecError(
                f"width must be {', '.join(WIDTHS)} or a length such as 140mm or 5.5in, got {self.width!r}"
                f"{suggest(text, WIDTHS)}"
            )
        return float(found[1]) * UNITS[found[2]]

    @property
    def scale(self) -> float:
        """Points in print of a pixel of the drawing."""
        return self.points / SMALLEST

    @property
    def pixels(self) -> float:
        """The width of the drawing."""
        return 72 * self.inches / self.scale


def write_figures(
    sections: Sequence[Section],
    folder: str | Path,
    names: Sequence[str] = (),
    page: Page | None = None,
    suffixes: Sequence[str] = SUFFIXES,
    study: str = "",
) -> list[Path]:
    """Write charts of a page as files for print, and ``figures.tex``, which includes them with captions.

    Args:
        sections: of the page.
        folder: where to; made if it is not there.
        names: which charts (:func:`overparam.report.figures.figures`); none: the main ones.
        page: how wide, and in which type.
        suffixes: of ``.pdf``, ``.png`` and ``.svg``.
        study: its name and revision, which each caption ends with.

    Raises:
        SpecError: there is no such chart, or it cannot be so narrow.
        DataError: the folder cannot be made.
    """
    there = figures(sections)
    chosen = {name: _named(there, name) for name in names or [name for name, one in there.items() if one.main]}
    charts = {name: one.draw() for name, one in chosen.items()}
    made, goal = [name for name, chart in charts.items() if chart is not None], made_folder(folder)
    paths = [save_figure(charts[name], goal / f"{name}{suffix}", page) for name in made for suffix in suffixes]
    included = "\n".join(_included(name, chosen[name].caption, page or Page(), study) for name in made)
    write_file(goal / "figures.tex", f"% In the preamble: \\usepackage{{graphicx}}\n\n{included}")
    return [*paths, goal / "figures.tex"]


def chart_named(sections: Sequence[Section], name: str = "") -> Chart:
    """Return a chart of a page by its name, or its first one; raises :class:`SpecError` where there is none."""
    there = figures(sections)
    drawn = _named(there, name or next(iter(there), "")).draw()
    if drawn is None:
        raise SpecError(f"chart {name!r}: nothing of it was measured")
    return drawn


def _named(there: Mapping[str, Figure], name: str) -> Figure:
    if name not in there:
        known = ", ".join(there) or "none, since nothing was measured"
        raise SpecError(f"there is no chart {name!r}{suggest(name, there)} (there are: {known})")
    return there[name]


def _included(name: str, caption: str, page: Page, study: str) -> str:
    kind = "figure*" if page.inches > WIDTHS["single"] * 1.2 else "figure"
    source = f" Study {escape(study)}, overparam~\\cite{{overparam}}." if study else ""
    return (
        f"\\begin{{{kind}}}\n  \\centering\n"
        f"  \\includegraphics[width={page.inches:.2f}in]{{{name}}}\n"
        f"  \\caption{{{escape(caption)}{source}}}\n"
        f"  \\label{{fig:{name.lower()}}}\n\\end{{{kind}}}\n"
    )


def save_figure(chart: Chart, path: str | Path, page: Page | None = None) -> Path:
    """Write a chart as wide as ``page`` says, as PDF, PNG (300 dots an inch) or SVG, by the suffix of ``path``.

    Raises :class:`SpecError` for another suffix, a chart that cannot be as narrow as that, or a file that cannot be
    written.
    """
    import vl_convert

    path = Path(path)
    if path.suffix not in SUFFIXES:
        raise SpecError(f"path: a figure cannot be written as {path.name!r}; end it in {', '.join(SUFFIXES)}")
    svg = drawing(chart, page or Page())
    if path.suffix == ".pdf":
        write_file(path, vl_convert.svg_to_pdf(svg))
    elif path.suffix == ".png":
        write_file(path, vl_convert.svg_to_png(svg, ppi=DOTS))
    else:
        write_file(path, re.sub(r'(width|height)="([\d.]+)"', r'\1="\2pt"', svg, count=2))
    return path


def drawing(chart: Chart, page: Page) -> str:
    """Return a chart as SVG whose width is that of ``page``, in points.

    How much of it is axes and legends is known when it is drawn, so it is drawn, measured, and drawn again. Raises
    :class:`SpecError` where the width cannot be had.
    """
    spec = _prepared(chart.to_dict(), page)
    inner = (page.pixels - AXES) / _across(spec)
    for _ in range(TRIES):
        svg = _svg(spec, inner)
        wide, high = (float(size) for size in re.findall(r'(?:width|height)="([\d.]+)"', svg)[:2])
        if 0 <= page.pixels + 0.5 - wide <= 1 + _across(spec):  # drawings are of whole pixels, panel by panel
            shape = f'width="{72 * page.inches:.2f}" height="{high * 72 * page.inches / wide:.2f}"'
            return re.sub(r'width="[\d.]+" height="[\d.]+"', shape, svg, count=1)
        inner -= (wide - page.pixels) / _across(spec)
        if inner < SMALLEST:
            break
    raise SpecError(
        f"width: this chart does not fit into {page.inches:.2f} inches with type of {page.points:g} points; "
        "give it more width, or smaller type"
    )


def _svg(spec: dict[str, Any], inner: float) -> str:
    import vl_convert

    for view in _views(spec):
        view["width"] = inner
    drawn: str = vl_convert.vegalite_to_svg(spec, vl_version=vega_lite_version())
    return drawn


def _prepared(spec: dict[str, Any], page: Page) -> dict[str, Any]:
    """Return a chart's description with the theme of print: lower, with legends and titles as wide as the column."""
    spec = copy.deepcopy(spec)
    longest = min(max(map(len, _names(spec)), default=0) * LETTER, int(page.pixels) - SYMBOL)
    look = theme(columns=max(1, int(page.pixels / (longest + SYMBOL))))
    look["font"] = FONT
    look["title"]["limit"] = page.pixels
    look["legend"]["labelLimit"] = page.pixels - SYMBOL
    if "vconcat" in spec:
        spec.pop("title", None)  # which a caption says
    lower = min(1.0, (page.pixels / WIDTH) ** 0.5)
    for view in _views(spec):
        view["height"] = round(view.get("height", WIDTH / 3) * lower)
    if "facet" in spec:
        spec["columns"] = max(1, min(spec.get("columns", 1), int(page.pixels / NARROW)))
        _shorten(spec["spec"])
        spec["spacing"] = {"row": 4, "column": 14}
    return {**spec, "config": look}


def _shorten(view: dict[str, Any]) -> None:
    """Leave out of the x axis's title what is in brackets: panels beside each other have no room for it."""
    for layer in view.get("layer", [view]):
        x = layer.get("encoding", {}).get("x", {})
        if isinstance(x.get("title"), str):
            x["title"] = x["title"].partition(" (")[0]


def _names(part: Any) -> Iterator[str]:
    """Yield the words of all legends of a description."""
    if isinstance(part, list):
        yield from (name for one in part for name in _names(one))
    elif isinstance(part, dict):
        scale = part.get("scale")
        domain = scale.get("domain") if isinstance(scale, dict) else None
        yield from (name for name in domain or () if isinstance(name, str))
        yield from (name for key, one in part.items() if key != "datasets" for name in _names(one))


def _views(spec: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the views of a description that have a width: itself, those on top of each other, or the repeated one."""
    if "facet" in spec:
        yield spec["spec"]
    elif "vconcat" in spec:
        yield from spec["vconcat"]
    else:
        yield spec


def _across(spec: dict[str, Any]) -> int:
    """Return how many views stand beside each other."""
    return int(spec["columns"]) if "facet" in spec else 1
