"""Tables as LaTeX, Markdown and CSV: what a user names is said there, and never run."""

from __future__ import annotations

import csv
import io
import re

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from synthetic import arm, study

from overparam.errors import SpecError
from overparam.report import Material, general_sections
from overparam.report.claims import Verdict
from overparam.report.latex import escape
from overparam.report.references import Reference, Source
from overparam.report.sections import Column, Table
from overparam.report.tables import export
from overparam.report.typeset import claims_table, to_latex, to_markdown, typeset

EVIL = "\\input{/etc/passwd} 50% & a_b #1 $x$ ~^ {x}\n\\end{tabular}"
PAPER = Reference("he2022sparse", ("He, Zheng", "Xie, Zeke"), "Sparse & Dense", 2022, "A Conference", "2206.08684")


def table(*cells: str) -> Table:
    return Table([Column(head, words=True) for head in cells], [cells], title=cells[0], note=cells[0])


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("\\input{x}", r"\textbackslash{}input\{x\}"),
        ("a & b_c #1 50% $y$", r"a \& b\_c \#1 50\% \$y\$"),
        ("one\ntwo\r\n\tthree", "one two three"),
        ("--flag ---x", "-{}-flag -{}-{}-x"),
        ("±–≤", r"$\pm$--$\le$"),
        ("97\u00a0%", r"97~\%"),
    ],
)
def test_every_sign_is_said(text: str, told: str) -> None:
    assert escape(text) == told


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=40))
def test_no_text_leaves_a_command_or_a_group_open(text: str) -> None:
    made = escape(text)
    commands = r"\\(?:textbackslash|textasciitilde|textasciicircum|textless|textgreater|textbar|textasciigrave)\{\}"
    bare = re.sub(rf"{commands}|\\char34\{{\}}|\\[{{}}$&%#_]|\$(?:-|\^2|\\pm|\\times|\\le|\\ge)\$|-\{{\}}", "", made)
    assert not set(bare) & set("\\{}$&%#_^\n\r\0")


def test_a_table_in_latex_has_its_rows_and_nothing_more() -> None:
    head, _, text = to_latex([table(EVIL, "[2cm]", "*")], f"evil{EVIL}@1", EVIL).partition("\n\n")
    assert all(line.startswith("%") for line in head.splitlines())
    assert text.count("\\begin{tabular}") == text.count("\\end{tabular}") == text.count("\\begin{table}") == 1
    assert "\\input" not in text
    first = to_latex([table("[2cm]", "b")], "s", "")
    assert first.count("{}[2cm] & b \\\\") == 2
    assert "\\toprule" in text
    assert "\\label{tab:evil" in text


def test_a_table_in_markdown_has_its_cells_and_nothing_more() -> None:
    text = to_markdown([table("a|b", "<img src=x onerror=alert(1)>", "[x](y)\n# h")], "made <b>")
    line = next(line for line in text.splitlines() if line.startswith("| a"))
    assert line == r"| a\|b | \<img src=x onerror=alert(1)\> | \[x\](y) \# h |"
    assert "<b>" not in text.replace("\\<", "")


def test_what_stands_out_is_bold() -> None:
    heads = [Column("wide", wide=True), Column("a"), Column("b")]
    shown = Table(heads, [["x", "1", "2"], ["x", "3", "4"]], strong=frozenset({1}), best=frozenset({(0, 2)}))
    assert "    1 & \\textbf{2} \\\\\n    \\textbf{3} & \\textbf{4} \\\\\n" in to_latex([shown], "s", "")
    assert "| 1 | **2** |\n| **3** | **4** |\n" in to_markdown([shown], "")


def test_claims_cite_their_works() -> None:
    sources = (Source(PAPER), Source(PAPER, stated=False))
    told = claims_table([Verdict("X-1", "It falls.", "supported", {}, "By 2 points.", sources)])
    assert told.rows[0][2] == "He and Xie, 2022; after He and Xie, 2022"
    assert r"\cite{he2022sparse}; after \cite{he2022sparse}" in to_latex([told], "s", "")
    assert "[He and Xie, 2022](<https://arxiv.org/abs/2206.08684>)" in to_markdown([told], "")
    assert not claims_table([Verdict("X-1", "It falls.", "not tested", {}, "")]).rows


def test_a_study_is_typeset_arm_by_arm() -> None:
    sections = general_sections(Material(study(arm(variant="a_b"), arm(variant="c"))))
    text = typeset(sections, "latex", "own@12", "Computed here.")
    assert text.count("\\begin{tabular}") == 3
    assert r"\caption{\textbf{a\_b" in text
    assert "Study own@12, overparam~\\cite{overparam}." in text
    assert "% Computed here." in text
    heads = next(line for line in text.splitlines() if "level & density" in line)
    assert "of all parameters" not in heads  # paper is as narrow as a terminal
    assert typeset(sections, "markdown", "own@12", "Computed here.").endswith("Computed here.\n")
    with pytest.raises(SpecError, match="form must be latex or markdown, got 'html'"):
        typeset(sections, "html", "", "")


def test_bibtex_says_every_sign() -> None:
    assert PAPER.bibtex.splitlines()[:3] == [
        "@inproceedings{he2022sparse,",
        "  author = {He, Zheng and Xie, Zeke},",
        r"  title = {{Sparse \& Dense}},",
    ]
    program = Reference("p", ("The p_q people",), "p", 2026, version="1.0")
    assert "author = {{The p\\_q people}}" in program.bibtex
    assert "@misc{p," in program.bibtex
    assert program.text == "The p_q people (2026). p, version 1.0"


def test_no_spreadsheet_runs_what_is_in_csv() -> None:
    texts = ["=cmd()", "+1", "-1", "@x", "\t=1", "plain", None, "a=b"]
    frame = pl.DataFrame({"=head": texts, "loss": [-1.5] * 8})
    rows = list(csv.reader(io.StringIO(str(export(frame)))))
    assert rows[0] == ["'=head", "loss"]
    assert [row[0] for row in rows[1:]] == ["'=cmd()", "'+1", "'-1", "'@x", "'\t=1", "plain", "", "a=b"]
    assert rows[1][1] == "-1.5"
    assert '"=cmd()"' in str(export(frame, "json"))
