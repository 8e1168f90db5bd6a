"""What a paper's folder names in ``references.toml``: the works, and which claim is whose.

A work is a table of :class:`overparam.report.Reference`, by its key; of its lists, ``claims`` has the claims that it
states, ``questions`` those that were put after reading it. ``own`` has the claims that nobody else has made.
"""

from __future__ import annotations

import tomllib
from functools import cache
from importlib import resources
from importlib.metadata import version
from typing import Any

from overparam.report.references import Reference, Source

FILE = "references.toml"
YEAR = 2026
"""Of this version of overparam."""


def software() -> Reference:
    """Return how this version of overparam is cited."""
    title = "overparam: how many parameters a network needs"
    return Reference("overparam", ("The overparam contributors",), title, YEAR, version=version("overparam"))


def references(paper: str) -> list[Reference]:
    """Return the works that a paper's folder names, the one that it is about first; none for ``""``."""
    return [Reference(key, tuple(table["authors"]), **_rest(table)) for key, table in _works(paper).items()]


def _rest(table: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in table.items() if name not in ("authors", "claims", "questions")}


def sources(paper: str) -> dict[str, tuple[Source, ...]]:
    """Return where each claim of a paper's folder comes from, by the claim's name."""
    found: dict[str, tuple[Source, ...]] = {claim: (Source(software()),) for claim in _named(paper).get("own", ())}
    for reference in references(paper):
        table = _named(paper)[reference.key]
        for part in ("claims", "questions"):
            for claim in table.get(part, ()):
                found[claim] = (*found.get(claim, ()), Source(reference, part == "claims"))
    return found


def _works(paper: str) -> dict[str, dict[str, Any]]:
    return {key: value for key, value in _named(paper).items() if isinstance(value, dict)}


@cache
def _named(paper: str) -> dict[str, Any]:
    file = resources.files("overparam.papers").joinpath(paper.replace("-", "_"), FILE)
    return tomllib.loads(file.read_text(encoding="utf-8")) if paper and file.is_file() else {}
