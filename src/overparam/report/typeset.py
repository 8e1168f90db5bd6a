"""Tables of words as LaTeX (booktabs) and as Markdown, escaped for where they go."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from overparam.errors import SpecError
from overparam.registry import suggest
from overparam.report.claims import Verdict
from overparam.report.latex import escape, joined, one_line
from overparam.report.references import Source
from overparam.report.sections import Cell, Column, Section, Table
from overparam.report.tables import compared_of, tables_of

TYPESET = ("latex", "markdown")

MARKED = re.compile(r"([\\`*_{}\[\]<>|~&$#!])")
"""Signs that Markdown reads as something else in a cell; those of HTML and of formulas among them."""


class Whose(str):
    """The cell that says where a claim comes from, with the works themselves."""

    sources: Sequence[Source]

    def __new__(cls, sources: Sequence[Source]) -> Whose:
        """Make the cell, in words."""
        made = super().__new__(cls, "; ".join(source.short for source in sources) or "–")
        made.sources = sources
        return made

    @property
    def latex(self) -> str:
        """Commands that cite the works."""
        cited = [f"{'' if one.stated else 'after '}\\cite{{{one.reference.key}}}" for one in self.sources]
        return "; ".join(cited) or "--"

    @property
    def markdown(self) -> str:
        """Links to the works."""
        linked = [(_marked(one.short), one.reference.link) for one in self.sources]
        return "; ".join(f"[{short}](<{link}>)" if link else short for short, link in linked) or "–"


def claims_table(verdicts: Sequence[Verdict]) -> Table:
    """Return the claims that were tested as a table: name, claim, whose it is, verdict, and what was found."""
    heads = ("claim", "what it says", "from", "verdict", "what was found")
    tested = [one for one in verdicts if one.verdict != "not tested"]
    rows = [[one.id, one.sentence, Whose(one.sources), one.verdict, one.explanation] for one in tested]
    return Table([Column(head, words=True) for head in heads], rows, "Claims from the literature")


def typeset_tables(sections: Sequence[Section]) -> list[Table]:
    """Return what of a page is typeset: arms against each other, each arm alone, and the claims that were tested."""
    claims = claims_table([verdict for section in sections for verdict in section.verdicts])
    return [*compared_of(sections), *tables_of(sections), *([claims] if claims.rows else [])]


def typeset(sections: Sequence[Section], form: str, study: str, made: str) -> str:
    """Return the tables of a page as ``"latex"`` or ``"markdown"``; raises :class:`SpecError` for another form.

    Args:
        sections: of the page.
        form: what to write.
        study: its name and revision, ``NAME@REVISION``, which each caption ends with.
        made: how the numbers were made, which is told once.
    """
    if form not in TYPESET:
        raise SpecError(f"form must be {' or '.join(TYPESET)}, got {form!r}{suggest(form, TYPESET)}")
    tables = typeset_tables(sections)
    return to_latex(tables, study, made) if form == "latex" else to_markdown(tables, made)


def to_latex(tables: Sequence[Table], study: str, made: str) -> str:
    """Return tables as LaTeX, one float each, for a document that uses the package ``booktabs``.

    Labels are ``tab:NAME-TITLE``; rows that stand out are bold. As in a terminal, columns for which a page of paper is
    too narrow are left out.
    """
    head = f"% In the preamble: \\usepackage{{booktabs}}\n% {one_line(made)}\n"
    return head + "".join(f"\n{_float(_narrow(table), study)}" for table in tables)


def to_markdown(tables: Sequence[Table], made: str) -> str:
    """Return tables as Markdown, each with its title, what it says and its note, and last how it all was made."""
    return "\n".join([*(_markdown(_narrow(table)) for table in tables), _marked(made), ""])


def _narrow(table: Table) -> Table:
    kept = [place for place, column in enumerate(table.columns) if not column.wide]
    rows = [[row[place] for place in kept] for row in table.rows]
    best = frozenset((row, kept.index(place)) for row, place in table.best if place in kept)
    return replace(table, columns=[table.columns[place] for place in kept], rows=rows, best=best)


def _float(table: Table, study: str) -> str:
    told = [f"\\textbf{{{escape(table.title)}.}}" if table.title else "", *map(escape, _told(table))]
    told.append(f"Study {escape(study)}, overparam~\\cite{{overparam}}.")
    name = re.sub(r"[^A-Za-z0-9]+", "-", f"{study.partition('@')[0]}-{table.title}").strip("-").lower()
    lines = [joined(escape(column.head) for column in table.columns), "\\midrule"]
    lines += [joined(cells) for cells in _cells(table, _cell, "\\textbf{{{}}}")]
    body = "\n".join(f"    {line}" for line in lines)
    return (
        "\\begin{table}\n  \\centering\n"
        f"  \\caption{{{' '.join(part for part in told if part)}}}\n"
        f"  \\label{{tab:{name}}}\n"
        f"  \\begin{{tabular}}{{@{{}}{''.join(map(_aligned, table.columns))}@{{}}}}\n"
        f"    \\toprule\n{body}\n    \\bottomrule\n"
        "  \\end{tabular}\n\\end{table}\n"
    )


def _told(table: Table) -> list[str]:
    return [part for part in (table.finding, table.note) if part]


def _aligned(column: Column) -> str:
    """Return the kind of a column: words that may be sentences are broken to lines."""
    if not column.words:
        return "r"
    return "p{0.26\\linewidth}" if column.head.startswith("what ") else "l"


def _cell(cell: Cell) -> str:
    if isinstance(cell, Whose):
        return cell.latex
    text, small = (cell, "") if isinstance(cell, str) else cell
    return escape(text) + (f" {{\\footnotesize {escape(small)}}}" if small else "")


def _markdown(table: Table) -> str:
    def line(cells: Sequence[str]) -> str:
        return f"| {' | '.join(cells)} |"

    rows = [line(cells) for cells in _cells(table, _linked, "**{}**")]
    head = [line([_marked(column.head) for column in table.columns])]
    head += [line(["---" if column.words else "---:" for column in table.columns])]
    title = [f"**{_marked(table.title)}**", ""] if table.title else []
    said = [" ".join(map(_marked, _told(table))), ""] if _told(table) else []
    return "\n".join([*title, *head, *rows, "", *said])


def _cells(table: Table, write: Callable[[Cell], str], bold: str) -> Iterator[list[str]]:
    """Yield the written cells of each row; what stands out is bold, empty cells are not."""

    def standing(row: int, column: int, text: str) -> str:
        return bold.format(text) if text and (row in table.strong or (row, column) in table.best) else text

    for row, cells in enumerate(table.rows):
        yield [standing(row, column, write(cell)) for column, cell in enumerate(cells)]


def _linked(cell: Cell) -> str:
    if isinstance(cell, Whose):
        return cell.markdown
    return _marked(cell if isinstance(cell, str) else " ".join(cell).strip())


def _marked(text: str) -> str:
    return MARKED.sub(r"\\\1", one_line(text))
