"""Claims: sentences from the literature as tests on a study's results table.

A claim is a function from the table to a :class:`Finding`; :func:`claim` gives it its name, its sentence and the
columns it cannot do without. "supported" is reserved for what an interval over at least two seeds shows, and
nothing is tested on part of a study.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import polars as pl

from overparam.errors import DataError
from overparam.report.arms import lacking
from overparam.report.references import Source
from overparam.report.statistics import MOST_SEEDS, Estimate, seeds_needed
from overparam.report.words import listing

Outcome = Literal["supported", "contradicted", "inconclusive", "not tested"]
Number = float | int | str | None


@dataclass(frozen=True)
class Finding:
    """What a test found: the outcome, one sentence with numbers and count of seeds, and the numbers."""

    outcome: Outcome
    explanation: str
    numbers: Mapping[str, Number] = field(default_factory=dict)


@dataclass(frozen=True)
class Verdict:
    """A claim with what a study says about it; ``sources`` are the works that it comes from."""

    id: str
    sentence: str
    verdict: Outcome
    numbers: Mapping[str, Number]
    explanation: str
    sources: tuple[Source, ...] = ()


def _remedy(absent: Sequence[str]) -> str:
    """Return what brings columns into a table: those with a dot are of swept values, the others are measured."""
    swept = [name for name in absent if "." in name]
    return f"sweep {listing(swept)}" if swept else "add the probe that measures it"


@dataclass(frozen=True)
class Claim:
    """A sentence from the literature and the test for it; call it with a results table.

    Args:
        id: short name, unique in a paper, e.g. ``"SDD-1"``.
        sentence: the claim in plain words.
        needs: columns of the table without which it is not tested.
        test: the table in, the finding out.
    """

    id: str
    sentence: str
    needs: tuple[str, ...]
    test: Callable[[pl.DataFrame], Finding]

    def __call__(self, frame: pl.DataFrame, missing: int = 0) -> Verdict:
        """Test the claim on a results table; one that lacks what it needs, or ``missing`` rows, gives "not tested"."""
        absent = [name for name in self.needs if name not in frame.columns or frame[name].count() == 0]
        if absent:
            found = Finding("not tested", f"The results lack {listing(absent)}; {_remedy(absent)}.")
        elif (lacks := lacking(frame, missing)) is not None:
            found = Finding("not tested", f"Incomplete: {lacks}; the claim is tested when none is lacking.")
        else:
            found = self._tested(frame)
        return Verdict(self.id, self.sentence, found.outcome, found.numbers, _sentence(found.explanation))

    def _tested(self, frame: pl.DataFrame) -> Finding:
        """Return the finding; a table that leaves open which arms the claim is about gives "not tested", with why."""
        try:
            return self.test(frame)
        except DataError as error:
            return Finding("not tested", str(error))


def claim(id: str, sentence: str, *, needs: Sequence[str]) -> Callable[[Callable[[pl.DataFrame], Finding]], Claim]:
    """Decorator that makes a :class:`Claim` of a test function."""

    def make(test: Callable[[pl.DataFrame], Finding]) -> Claim:
        return Claim(id, sentence, tuple(needs), test)

    return make


def judge(found: Estimate, *, at_least: float = 0.0) -> Outcome:
    """Judge "this is above zero" by an interval over seeds.

    Args:
        found: the difference that the claim says is positive.
        at_least: smallest mean that counts; an interval that lies wholly below it contradicts the claim.

    Returns:
        "supported" if the interval lies above 0 and the mean reaches ``at_least``, "contradicted" if the
        interval lies below ``at_least``, else (and always without an interval) "inconclusive".
    """
    if found.below(at_least):
        return "contradicted"
    return "supported" if found.above(0) and (found.mean or 0) >= at_least else "inconclusive"


def judged(
    found: Estimate, text: str, numbers: Mapping[str, Number] | None = None, *, at_least: float = 0.0
) -> Finding:
    """Return the finding of "this is above zero" (:func:`judge`), with the seeds that it takes where that is open."""
    return with_seeds_needed(Finding(judge(found, at_least=at_least), text, numbers or {}), (found, at_least))


def with_seeds_needed(finding: Finding, *parts: tuple[Estimate, float]) -> Finding:
    """Return a finding; one that is inconclusive says how many seeds would decide it, as the number ``seeds_needed``.

    Args:
        finding: what was found.
        parts: estimates that must lie above zero, each with the smallest mean that counts; those that are open are
            looked at, and the one that takes most seeds tells.
    """
    unsure = [
        (found, least) for found, least in parts if found.known and judge(found, at_least=least) == "inconclusive"
    ]
    if finding.outcome != "inconclusive" or not unsure:
        return finding
    needed = [seeds_needed(found, _to_bound(found.mean or 0.0, least)) for found, least in unsure]
    known = [seeds for seeds in needed if seeds is not None]
    most = max(known) if len(known) == len(needed) else None
    told = f"more than {MOST_SEEDS:,}" if most is None else f"about {most:,}"
    text = f"{finding.explanation}; {told} seeds would decide it, at this spread"
    return replace(finding, explanation=text, numbers={**finding.numbers, "seeds_needed": most})


def _to_bound(mean: float, least: float) -> float:
    """Return how far a mean is from the bound that an interval has to leave out to decide."""
    return mean if mean >= least else least - mean


def together(outcomes: Iterable[Outcome]) -> Outcome:
    """Join the outcomes of the parts of one claim, all of which must hold: the weakest part decides."""
    known = list(outcomes)
    order: tuple[Outcome, ...] = ("contradicted", "not tested", "inconclusive", "supported")
    return next((outcome for outcome in order if outcome in known), "not tested")


def across(outcomes: Iterable[Outcome]) -> Outcome:
    """Join the outcomes of one claim on several arms: they must agree, otherwise it is "inconclusive"."""
    known = {outcome for outcome in outcomes if outcome != "not tested"}
    if not known:
        return "not tested"
    return known.pop() if len(known) == 1 else "inconclusive"


def join_arms(
    parts: Sequence[tuple[str, Finding]], outcome: Callable[[Iterable[Outcome]], Outcome] = across
) -> Finding:
    """Join the findings of one claim on several arms, given as (label, finding), into one that names them.

    Args:
        parts: at least one.
        outcome: :func:`across`, where arms must agree, or :func:`together`, where the claim must hold on all.
    """
    if len(parts) == 1:
        found = parts[0][1]
        return Finding(found.outcome, _sentence(found.explanation), found.numbers)
    numbers = {f"{label}: {name}": value for label, found in parts for name, value in found.numbers.items()}
    text = "; ".join(f"{label} ({found.outcome}): {found.explanation}" for label, found in parts)
    return Finding(outcome(found.outcome for _, found in parts), _sentence(text), numbers)


def all_of(parts: Iterable[Finding]) -> Finding:
    """Join the parts of one claim, all of which must hold, whose explanations say what they are about."""
    known = list(parts)
    if len(known) == 1:
        return known[0]
    numbers = {name: value for part in known for name, value in part.numbers.items()}
    told = dict.fromkeys(f"{_bare(part.explanation)} ({part.outcome})" for part in known)
    return Finding(together(part.outcome for part in known), "; ".join(told), numbers)


def lacks(what: str) -> Finding:
    """Return that a claim is not tested since the study lacks ``what``."""
    return Finding("not tested", f"The study lacks {what}.")


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{_bare(text[1:])}."


def _bare(text: str) -> str:
    return text.removesuffix(".")
