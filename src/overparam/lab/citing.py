"""How a study's results are cited: one sentence on how they came about, and the works behind them as BibTeX."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from overparam.papers import paper_names
from overparam.papers.references import references, software
from overparam.report.references import Reference

if TYPE_CHECKING:
    from overparam.lab.results import Results


@dataclass(frozen=True)
class Citation:
    """What to write where results, or a paper's studies, are used.

    Attributes:
        made: how the results came about, for a paper's text: which study, versions, machine, and the commit of the
            user's own repository; empty where nothing was run.
        works: the works to cite, this version of overparam last.
    """

    made: str
    works: Sequence[Reference]

    @property
    def bibtex(self) -> str:
        """The works as BibTeX, one entry after another."""
        return "\n".join(work.bibtex for work in self.works)

    @property
    def text(self) -> str:
        """All of it in words: a paragraph, and a line for each work with its key."""
        lines = [f"[{work.key}] {work.text}" for work in self.works]
        return "\n".join([*([self.made, ""] if self.made else []), *lines])


def cite(name: str) -> Citation:
    """Return the works behind a paper of ``overparam.papers``, by its name, or ``""`` for overparam alone."""
    return Citation("", [*references(name), software()])


def cite_results(results: Results) -> Citation:
    """Return how results are cited."""
    return Citation(made(results), cite(results.about.paper if results.about.paper in paper_names() else "").works)


def made(results: Results) -> str:
    """Return how results came about, in a sentence or two."""
    facts = results.facts
    lacks = f"; incomplete, {len(results.frame)} of {len(results.frame) + results.missing} rows"
    study = f"study {results.name}, revision {results.revision}{lacks if results.missing else ''}"
    if "overparam" not in facts:
        return f"Nothing is computed yet of {study}."
    place, repository = _machine(facts), facts.get("repository", "")
    lives = f" The study lives in {repository}." if repository else ""
    return f"Computed with overparam {facts['overparam']} ({study}) on {place}, {facts['steps made']}.{lives}"


def _machine(facts: Mapping[str, str]) -> str:
    """Return versions and machine; where results came from several, all of them."""
    named = f"PyTorch {facts['torch']} and Python {facts['python']}"
    return ", ".join([named, facts["system"], facts["processor"], f"threads a step: {facts['threads']}"])
