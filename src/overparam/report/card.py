"""Cards: what a study or its results print of themselves, in a few lines and, in notebooks, as HTML."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape

from overparam.report.sections import Cell, Table

WIDTH = 110  # characters of a line
MOST = 3  # tables that are shown
LEFT, RIGHT = "text-align: left", "text-align: right"


@dataclass(frozen=True, eq=False)
class Card:
    """A title, lines of a word and a text, and in notebooks tables and a source to unfold.

    Every text may be a user's, so all are escaped.
    """

    title: str
    lines: Mapping[str, str]
    tables: Sequence[Table] = ()
    source: str = ""
    source_title: str = "YAML"

    def __str__(self) -> str:
        width = max((len(word) for word in self.lines), default=0)
        told = (f"  {word:<{width}}  {_cut(text, WIDTH - width)}" for word, text in self.lines.items())
        return "\n".join([_flat(self.title), *told])

    def html(self) -> str:
        """Return the card as HTML that looks the same without any style sheet, light or dark."""
        rows = "".join(
            f'<tr><th style="{LEFT}">{escape(_flat(word))}</th><td style="{LEFT}">{escape(_flat(text))}</td></tr>'
            for word, text in self.lines.items()
        )
        more = f"<p>and {len(self.tables) - MOST} more</p>" if len(self.tables) > MOST else ""
        parts = [
            f"<strong>{escape(_flat(self.title))}</strong><table>{rows}</table>",
            *(_unfolding(t.title, _table(t), place == 0) for place, t in enumerate(self.tables[:MOST])),
            more,
            _unfolding(self.source_title, f"<pre>{escape(self.source)}</pre>", False) if self.source else "",
        ]
        return f'<div style="overflow-x: auto">{"".join(parts)}</div>'


def _unfolding(title: str, body: str, unfolded: bool) -> str:
    return f"<details{' open' if unfolded else ''}><summary>{escape(_flat(title))}</summary>{body}</details>"


def _table(table: Table) -> str:
    """Return a table without the columns that a terminal has no room for."""
    shown = [place for place, column in enumerate(table.columns) if not column.wide]
    aligned = {place: LEFT if table.columns[place].words else RIGHT for place in shown}
    head = "".join(f'<th style="{aligned[p]}">{escape(table.columns[p].head)}</th>' for p in shown)
    body = "".join(f"<tr>{''.join(_cells(row, aligned))}</tr>" for row in table.rows)
    note = f"<p>{escape(table.note)}</p>" if table.note else ""
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{note}"


def _cells(row: Sequence[Cell], aligned: Mapping[int, str]) -> Iterator[str]:
    for place, style in aligned.items():
        cell = row[place]
        yield f'<td style="{style}">{escape(cell if isinstance(cell, str) else " ".join(cell))}</td>'


def _flat(text: str) -> str:
    """Return a text in one line, without what a terminal would obey."""
    return "".join(glyph if glyph.isprintable() else " " for glyph in " ".join(text.split()))


def _cut(text: str, width: int) -> str:
    flat = _flat(text)
    return flat if len(flat) <= width else f"{flat[: width - 1]}…"
