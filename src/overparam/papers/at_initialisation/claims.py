"""The claims of pruning at initialisation as tests.

PAI: Frankle, Dziugaite, Roy & Carbin, ICLR 2021 (https://arxiv.org/abs/2009.08576) on SNIP, GraSP and SynFlow. CTS:
Arora & Teuscher 2025 (https://arxiv.org/abs/2512.07142) on Concrete Ticket Search, once for each of three searches. No
column tells an objective, rounds or a beginning after some training, so arms are told by the names that ``study.yaml``
gives its variants. Each difference is the mean over the densities of the study.
"""

from __future__ import annotations

from collections.abc import Callable
from math import exp, log

import polars as pl

from overparam.report.arms import Arm, arms
from overparam.report.claims import Claim, Finding, all_of, claim, judged, lacks
from overparam.report.paired import Difference, arm_of, paired, pooled
from overparam.report.statistics import Estimate
from overparam.report.words import density, listing, percent, seeds

NEEDS = ("test_accuracy", "variant")
SALIENCY = ("snip", "snip in rounds", "grasp", "synflow")
SEARCHES = {
    "": ("cts", "at initialisation, towards the dense outputs"),
    "-loss": ("cts on the loss", "at initialisation, on the loss"),
    "-later": ("cts later", "after 500 iterations, towards the dense outputs"),
}
"""Suffixes of claims, and the variant and the words of the search that each is about."""
FREE = 0.005
"""A loss of less than half a percentage point of test accuracy counts as none."""
SHARE = 0.2
"""Of the time of iterative magnitude pruning that a search may take."""


@claim("PAI-1", "SNIP, GraSP and SynFlow lose nothing when their mask is shuffled within each layer.", needs=NEEDS)
def shuffled(frame: pl.DataFrame) -> Finding:
    """Supported when each loses less than half a point, with its whole interval."""
    found = arms(frame)
    return all_of(_free(found, name, f"{name}, shuffled") for name in SALIENCY)


@claim("PAI-2", "SNIP, GraSP and SynFlow lose nothing when the weights are drawn anew.", needs=NEEDS)
def reinitialised(frame: pl.DataFrame) -> Finding:
    """Supported when each loses less than half a point, with its whole interval."""
    found = arms(frame)
    return all_of(_free(found, name, f"{name}, reinit") for name in SALIENCY)


@claim("PAI-3", "No mask that is found before training is as good as that of iterative magnitude pruning.", needs=NEEDS)
def below_imp(frame: pl.DataFrame) -> Finding:
    """Supported when iterative magnitude pruning with rewinding is above each of SNIP, GraSP and SynFlow."""
    found = arms(frame)
    return all_of(_better(found, "imp", name) for name in SALIENCY)


@claim("PAI-4", "SNIP is better in rounds, asked anew at each density, than in one.", needs=NEEDS)
def in_rounds(frame: pl.DataFrame) -> Finding:
    """Supported when the difference lies above 0 (de Jorge et al. 2021; Verdenius et al. 2020, arXiv:2006.00896)."""
    return all_of([_better(arms(frame), "snip in rounds", "snip")])


@claim("PAI-5", "At 98 % sparsity and above SynFlow is better than SNIP and GraSP.", needs=NEEDS)
def synflow_best(frame: pl.DataFrame) -> Finding:
    """Supported when both differences lie above 0."""
    found = arms(frame)
    return all_of(_better(found, "synflow", name) for name in ("snip", "grasp"))


def _claims_about(suffix: str, variant: str, what: str) -> tuple[Claim, ...]:
    """Return the claims on one search."""
    search = f"Concrete Ticket Search, {what}, "

    def best(frame: pl.DataFrame) -> Finding:
        found = arms(frame)
        return all_of(_better(found, variant, name) for name in ("synflow", "snip", "random"))

    def quick(frame: pl.DataFrame) -> Finding:
        return all_of([_quick(arms(frame.with_columns(pl.col("seconds_before").log())), variant)])

    def placed(frame: pl.DataFrame) -> Finding:
        return all_of([_better(arms(frame), variant, f"{variant}, shuffled")])

    def valued(frame: pl.DataFrame) -> Finding:
        return all_of([_better(arms(frame), variant, f"{variant}, reinit")])

    def sparsest(frame: pl.DataFrame) -> Finding:
        return all_of([_better(arms(frame), variant, "imp", last=True)])

    tests: list[tuple[Callable[[pl.DataFrame], Finding], str, tuple[str, ...]]] = [
        (best, "is better than SynFlow, SNIP and random masks (ERK) at 98 % sparsity and above.", ()),
        (quick, "takes at most a fifth of the time of iterative magnitude pruning.", ("seconds_before",)),
        (placed, "loses when its mask is shuffled within each layer.", ()),
        (valued, "loses when the weights are drawn anew.", ()),
        (sparsest, "is better than iterative magnitude pruning at the highest sparsity.", ()),
    ]
    return tuple(
        claim(f"CTS-{place}{suffix}", search + sentence, needs=(*NEEDS, *needs))(test)
        for place, (test, sentence, needs) in enumerate(tests, 1)
    )


CLAIMS: tuple[Claim, ...] = (
    *(shuffled, reinitialised, below_imp, in_rounds, synflow_best),
    *(one for suffix, (variant, what) in SEARCHES.items() for one in _claims_about(suffix, variant, what)),
)


def _pairs(found: list[Arm], first: str, second: str, column: str = "test_accuracy") -> list[Difference] | Finding:
    """Return the differences of two variants at all densities that both were pruned to, or what is lacking.

    A network that is trained a little first, or pruned in many trainings, has a row before any pruning.
    """
    one, two = arm_of(found, variant=first), arm_of(found, variant=second)
    missing = [name for name, arm in ((first, one), (second, two)) if arm is None]
    if one is None or two is None:
        return lacks(f"the variant {listing(missing)} of at-initialisation")
    pairs = [each for each in paired(one, two, column) if each.at < 1]
    return pairs or Finding("not tested", f"{first} and {second} have no density in common")


def _better(found: list[Arm], first: str, second: str, last: bool = False) -> Finding:
    """Test that the first is above the second; ``last``: at the lowest density alone."""
    pairs = _pairs(found, first, second)
    if isinstance(pairs, Finding):
        return pairs
    gap = pooled(pairs[-1:] if last else pairs)
    return judged(gap, _told(gap, pairs[-1:] if last else pairs, first, second), _numbers(pairs, first, second))


def _free(found: list[Arm], first: str, control: str) -> Finding:
    """Test that the control is less than half a point below."""
    pairs = _pairs(found, first, control)
    if isinstance(pairs, Finding):
        return pairs
    gap = pooled(pairs)
    room = (-gap).map(lambda change: change + FREE)
    return judged(room, _told(gap, pairs, first, control), _numbers(pairs, first, control))


def _quick(found: list[Arm], variant: str) -> Finding:
    """Test that the time to a mask is a fifth at most, given its logarithms."""
    pairs = _pairs(found, variant, "imp", "seconds_before")
    if isinstance(pairs, Finding):
        return pairs
    ratio = pooled(pairs)
    share = ratio.map(exp).text(lambda value: percent(value, 0))
    text = f"{variant} takes {share} of the seconds of imp, {_over(pairs)} ({seeds(ratio.n)})"
    room = (-ratio).map(lambda size: size + log(SHARE))
    return judged(room, text, {f"{variant}: share of the time": None if ratio.mean is None else exp(ratio.mean)})


def _told(gap: Estimate, pairs: list[Difference], first: str, second: str) -> str:
    return f"{first} minus {second}: {gap.text()} points, {_over(pairs)} ({seeds(gap.n)})"


def _over(pairs: list[Difference]) -> str:
    places = [density(each.at) for each in pairs]
    return f"at {places[0]} density" if len(places) == 1 else f"{places[0]} to {places[-1]} density"


def _numbers(pairs: list[Difference], first: str, second: str) -> dict[str, float | None]:
    return {f"{first} minus {second} at {density(each.at)}": each.estimate.mean for each in pairs}
