"""The claims of Rethinking the Value of Network Pruning (Liu et al., ICLR 2019, arXiv:1810.05270) as tests.

No column tells rounds from pruning at once, or a budget of epochs from one of computation, so arms are told by the
names that ``study.yaml`` and ``scratch.yaml`` give their variants and branches. RETH-2 to RETH-6 are about Figure 7.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import polars as pl

from overparam.report.arms import arms
from overparam.report.claims import (
    Finding,
    Outcome,
    claim,
    join_arms,
    judge,
    judged,
    lacks,
    together,
    with_seeds_needed,
)
from overparam.report.paired import Difference, arm_of, paired, pooled
from overparam.report.statistics import Estimate, estimate
from overparam.report.words import density, listing, seeds

RATE = "train.lr"
NEEDS = ("test_accuracy", "variant")
FIGURE = (*NEEDS, RATE)
ALIKE = 0.002
"""Two accuracies are the same if the whole interval of their difference lies within a fifth of a point."""
WORSE = 0.001
"""Scratch may be below finetuning by a tenth of a point."""


@claim(
    "RETH-1",
    "Where units are pruned, training the small network from scratch on the dense network's budget is at least as good "
    "as finetuning what is left.",
    needs=NEEDS,
)
def scratch_is_enough(frame: pl.DataFrame) -> Finding:
    """Supported when scratch-B minus finetuned, the mean over all levels, lies above minus a tenth of a point.

    The numbers have scratch-E beside it, and both for single weights, of which the paper says the opposite.
    """
    found = {(what, how): _pair(frame, f"{what}, {how}", f"{what}, finetuned") for what in PRUNED for how in BUDGETS}
    main = found["units", "scratch-B"]
    if main is None:
        return lacks("the variants 'units, scratch-B' and 'units, finetuned'")
    means = {f"{what}, {how} minus finetuned": pooled(each) for (what, how), each in found.items() if each}
    text = "; ".join(f"{name} {mean.text()}" for name, mean in means.items())
    gain = means["units, scratch-B minus finetuned"]
    numbers = {name: mean.mean for name, mean in means.items()}
    return judged(gain.map(lambda points: points + WORSE), f"{text} points ({seeds(gain.n)})", numbers)


@claim(
    "RETH-2",
    "At the small learning rate a ticket is better than random weights under its mask, the more so the sparser it is.",
    needs=FIGURE,
)
def tickets_at_a_small_rate(frame: pl.DataFrame) -> Finding:
    """Supported when, in rounds and at once, the mean difference and its growth over all levels lie above 0."""
    return _each(frame, ("iterative", "one-shot"), min, _grows)


@claim("RETH-3", "At the large learning rate a ticket and random weights under its mask are alike.", needs=FIGURE)
def none_at_a_large_rate(frame: pl.DataFrame) -> Finding:
    """Supported when, in rounds and at once, the interval of the mean difference lies within a fifth of a point of 0.

    Contradicted when it lies outside.
    """
    return _each(frame, ("iterative", "one-shot"), max, _alike)


@claim("RETH-4", "Every network is better when it is trained at the large learning rate.", needs=FIGURE)
def large_rates_are_better(frame: pl.DataFrame) -> Finding:
    """Supported when the difference, the mean over all levels, lies above 0 for tickets and for random weights."""
    found, (low, high) = arms(frame), _rates(frame)
    parts = []
    for how in ("iterative", "one-shot"):
        for what in ("ticket", "random"):
            large, small = (arm_of(found, variant=f"{how}, {what}", **{RATE: rate}) for rate in (high, low))
            if large is not None and small is not None:
                parts.append((f"{how}, {what}", _gain(paired(large, small), f"rate {high:g} minus {low:g}")))
    return join_arms(parts, together) if parts else lacks("two learning rates, as the study rethinking has")


@claim("RETH-5", "Late rewinding brings the ticket back at the large learning rate.", needs=FIGURE)
def late_rewinding(frame: pl.DataFrame) -> Finding:
    """Supported when late rewinding minus random weights under the same masks, over all levels, lies above 0."""
    return _each(frame, ("late",), max, lambda found: _gain(found, "ticket minus random"))


@claim(
    "RETH-6",
    "The ticket's edge at the small learning rate is one of single weights: where whole units go there is less of it.",
    needs=FIGURE,
)
def granularity(frame: pl.DataFrame) -> Finding:
    """Supported when the edge of weights is above that of units, at equal counts, as the mean over all levels.

    N of M (2:4 and 1:4) is told beside them.
    """
    rate = _rates(frame)[0]
    fine, coarse = (_edge(frame, name, rate) for name in ("one-shot", "units"))
    if fine is None or coarse is None:
        return lacks("tickets and random weights, one-shot and units, as the study rethinking has")
    groups = _edge(frame, "n-of-m", rate) or []
    edges = {what: pooled(each) for what, each in (("weights", fine), ("N of M", groups), ("units", coarse))}
    more = pooled(_apart(fine, coarse))
    told = ", ".join(f"{what} {edge.text()}" for what, edge in edges.items())
    text = (
        f"ticket minus random at rate {rate:g}: {told}; weights above units by {more.text()} points ({seeds(more.n)})"
    )
    return judged(more, text, {**{what: edge.mean for what, edge in edges.items()}, "difference": more.mean})


CLAIMS = (
    scratch_is_enough,
    tickets_at_a_small_rate,
    none_at_a_large_rate,
    large_rates_are_better,
    late_rewinding,
    granularity,
)

PRUNED = ("units", "weights")
BUDGETS = ("scratch-B", "scratch-E")


def _rates(frame: pl.DataFrame) -> tuple[float, float]:
    """Return the smallest and the largest learning rate."""
    rates = [float(rate) for rate in frame[RATE].drop_nulls().to_list()]
    return min(rates), max(rates)


def _pair(frame: pl.DataFrame, first: str, second: str, **others: float) -> list[Difference] | None:
    """Return the differences of two variants; None where the study lacks one."""
    found = arms(frame)
    one, two = (arm_of(found, variant=name, **others) for name in (first, second))
    return None if one is None or two is None else paired(one, two)


def _edge(frame: pl.DataFrame, how: str, rate: float) -> list[Difference] | None:
    return _pair(frame, f"{how}, ticket", f"{how}, random", **{RATE: rate})


def _each(
    frame: pl.DataFrame,
    names: Sequence[str],
    choose: Callable[[Sequence[float]], float],
    test: Callable[[list[Difference]], Finding],
) -> Finding:
    """Run a test on the edges of tickets at the smallest or the largest rate; all must hold."""
    rate = choose(_rates(frame))
    found = {how: _edge(frame, how, rate) for how in names}
    parts = [(f"{how} at {rate:g}", test(edge)) for how, edge in found.items() if edge]
    if len(parts) < len(names):
        return lacks(f"tickets and random weights, {listing(list(names))}")
    return join_arms(parts, together)


def _gain(found: Sequence[Difference], what: str) -> Finding:
    mean = pooled(found)
    return judged(mean, f"{what} {mean.text()} points ({seeds(mean.n)})", {"difference": mean.mean})


def _grows(found: Sequence[Difference]) -> Finding:
    """Judge that differences lie above 0, and that of the last level above that of the first."""
    mean, first, last = pooled(found), found[0], found[-1]
    growth = estimate(last.by_seed[s] - first.by_seed[s] for s in last.by_seed.keys() & first.by_seed.keys())
    finding = Finding(
        together([judge(mean), judge(growth)]),
        f"ticket minus random {mean.text()} points, {growth.text()} more at {density(last.at)} than at "
        f"{density(first.at)} density ({seeds(mean.n)})",
        {"difference": mean.mean, "growth": growth.mean},
    )
    return with_seeds_needed(finding, (mean, 0.0), (growth, 0.0))


def _alike(found: Sequence[Difference]) -> Finding:
    mean = pooled(found)
    return Finding(
        _same(mean), f"ticket minus random {mean.text()} points ({seeds(mean.n)})", {"difference": mean.mean}
    )


def _same(mean: Estimate) -> Outcome:
    if mean.above(-ALIKE) and mean.below(ALIKE):
        return "supported"
    return "contradicted" if mean.above(ALIKE) or mean.below(-ALIKE) else "inconclusive"


def _apart(first: Sequence[Difference], second: Sequence[Difference]) -> list[Difference]:
    """Return the difference of two differences, level by level, seed by seed."""
    return [
        Difference(one.at, {s: one.by_seed[s] - two.by_seed[s] for s in one.by_seed.keys() & two.by_seed.keys()})
        for one, two in zip(first, second, strict=False)
    ]
