"""Any text as LaTeX that says it: nothing that a user named is run as a command, and nothing breaks a table."""

from __future__ import annotations

import re
from collections.abc import Iterable

SAID = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        **{sign: f"\\{sign}" for sign in "{}$&%#_"},
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "|": r"\textbar{}",
        '"': r"\char34{}",  # which some languages of babel make a command
        "`": r"\textasciigrave{}",
        "\0": "{}",
        "\u00a0": "~",
        "\u2013": "--",
        "\u2014": "---",
        "\u2018": "`",
        "\u2019": "'",
        "\u201c": "``",
        "\u201d": "''",
        "\u2212": "$-$",
        "\u00b1": r"$\pm$",
        "\u00b2": "$^2$",
        "\u00d7": r"$\times$",
        "\u2192": r"$\to$",
        "\u2248": r"$\approx$",
        "\u2260": r"$\ne$",
        "\u2264": r"$\le$",
        "\u2265": r"$\ge$",
    }
)
"""What LaTeX reads as something else than the sign, and signs that its older fonts lack."""


def escape(text: str) -> str:
    r"""Return ``text``, on one line, as LaTeX for running text or a cell of a table.

    >>> print(escape("50 % of a_b & \\input{x}"))
    50~\% of a\_b \& \textbackslash{}input\{x\}
    """
    line = one_line(text).replace(" %", "\u00a0%")
    return re.sub("-(?=-)", "-\0", line).translate(SAID)  # two hyphens would be a dash


def one_line(text: str) -> str:
    """Return ``text`` with one space for whatever ends a line or is not printed."""
    printed = "".join(sign if sign.isprintable() or sign == "\u00a0" else " " for sign in text)
    return re.sub(" +", " ", printed).strip(" ")


def joined(cells: Iterable[str]) -> str:
    """Join escaped cells to a row; ``[`` or ``*`` at its beginning must be no option of the end of the row above."""
    line = " & ".join(cells)
    return f"{'{}' if line.startswith(('[', '*')) else ''}{line} \\\\"
