"""The claims of the Lottery Ticket Hypothesis and of what followed it, as tests.

Frankle & Carbin, ICLR 2019, arXiv:1803.03635; Frankle, Dziugaite, Roy & Carbin, ICML 2020, arXiv:1912.05671; Renda,
Frankle & Carbin, ICLR 2020, arXiv:2003.02389. Tickets and their controls are told by what was done (``retraining``,
``mask``); where no column tells it (rounds or at once, found by one optimiser for another) by the variants' names.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from math import log2

import numpy as np
import polars as pl

from overparam.errors import DataError
from overparam.report.arms import Arm, arms
from overparam.report.claims import Finding, claim, join_arms, judge, judged, lacks, together, with_seeds_needed
from overparam.report.paired import Difference, arm_of, means, paired, pooled
from overparam.report.statistics import Estimate, estimate
from overparam.report.words import density, listing, seeds

NEEDS = ("test_accuracy", "retraining")
EARLY = (*NEEDS, "early_stop_iteration")
SPARSE = 0.215
"""The density from which on a new initialisation costs accuracy, 21.1 % in the paper, with room for rounding."""
EQUAL = 0.001
"""Less than a tenth of a percentage point of test accuracy below counts as not below."""
STABLE = 0.02
"""An error that rises by less than this between two trainings is no barrier (Frankle et al. 2020)."""


@claim("LTH-1", "Tickets of 10 to 50 % of the weights are more accurate than the dense network.", needs=NEEDS)
def better_than_dense(frame: pl.DataFrame) -> Finding:
    """Supported when the gain, the mean over all levels between these densities, lies above 0.

    The paper claims that there is such a density. To choose the best of several by the same test set would favour the
    claim, so all are taken together; the best is told beside it.
    """
    return _on(frame, ["ticket"], lambda ticket: _gain(gains(ticket), 0.1, 0.52))


@claim(
    "LTH-2",
    "A new initialisation under the ticket's mask costs accuracy at 21 % and below, and ever more.",
    needs=NEEDS,
)
def reinit_is_worse(frame: pl.DataFrame) -> Finding:
    """Supported when the mean difference at 21 % and below lies above 0, and is larger below 5 % than above 10 %."""
    return _on(frame, ["ticket", "reinit"], lambda ticket, other: _falls_behind(paired(ticket, other)))


@claim("LTH-3", "At 13.5 % of the weights a ticket is at least as accurate as the dense network.", needs=NEEDS)
def as_good_as_dense(frame: pl.DataFrame) -> Finding:
    """Supported when the gain over the dense network lies above minus a tenth of a point."""

    def test(ticket: Arm) -> Finding:
        found = pooled(gains(ticket), 0.12, 0.15)
        text = f"ticket minus dense {found.text()} points at 13.5 % density ({seeds(found.n)})"
        return judged(found.map(lambda gain: gain + EQUAL), text, {"gain": found.mean})

    return _on(frame, ["ticket"], test)


@claim("LTH-4", "At 21 % of the weights the validation loss is least earlier than in the dense network.", needs=EARLY)
def earlier_than_dense(frame: pl.DataFrame) -> Finding:
    """Supported when log2 of dense iterations over the ticket's lies above 0, the mean over 13 to 22 % density."""

    def test(ticket: Arm) -> Finding:
        return _sooner(gains(ticket, "log_early_stop"), "dense network")

    return _on(_with_logarithm(frame), ["ticket"], test)


@claim(
    "LTH-5",
    "At 21 % of the weights a ticket's validation loss is least earlier than after a new initialisation.",
    needs=EARLY,
)
def earlier_than_reinit(frame: pl.DataFrame) -> Finding:
    """Supported as LTH-4 is, against the new initialisation."""

    def test(ticket: Arm, other: Arm) -> Finding:
        return _sooner(paired(ticket, other, "log_early_stop"), "new initialisation")

    return _on(_with_logarithm(frame), ["ticket", "reinit"], test)


@claim(
    "LTH-6", "Random masks with as many weights in each layer are worse than the ticket at 21 % and below.", needs=NEEDS
)
def random_sparsity_is_worse(frame: pl.DataFrame) -> Finding:
    """Supported when the mean difference at 21 % and below lies above 0."""

    def test(ticket: Arm, other: Arm) -> Finding:
        return _gain(paired(ticket, other), 0.0, SPARSE, "ticket minus shuffled mask")

    return _on(frame, ["ticket", "shuffled"], test)


@claim(
    "LTH-7",
    "Tickets found in rounds are more accurate than those found at once, at 13 % and below.",
    needs=(*NEEDS, "variant"),
)
def rounds_are_better(frame: pl.DataFrame) -> Finding:
    """Supported when the mean difference lies above 0; arms by the names of ``retraining.yaml``."""
    return _between(frame, "rewound, iterative", "one-shot, rewound", 0.0, 0.135)


@claim(
    "LRR-1",
    "Rewinding the learning rate is at least as good as finetuning for as many epochs, at 33 % and below.",
    needs=(*NEEDS, "variant"),
)
def rate_rewinding(frame: pl.DataFrame) -> Finding:
    """Supported when the mean difference lies above 0, in rounds and at once; names as in ``retraining.yaml``."""
    pairs = {"in rounds": "{}, iterative", "at once": "one-shot, {}"}
    found = [
        (how, _between(frame, form.format("lr-rewound"), form.format("finetuned"), 0.0, 0.33))
        for how, form in pairs.items()
    ]
    return next((each for _, each in found if each.outcome == "not tested"), None) or join_arms(found)


@claim(
    "LMC-1",
    "Two orders of the data bring a ticket of 3.6 % to one basin, and a random mask of equal layer densities not.",
    needs=(*NEEDS, "test_error_barrier", "variant"),
)
def tickets_are_stable(frame: pl.DataFrame) -> Finding:
    """Supported when the ticket's error barrier lies below 2 points and the shuffled mask's above.

    Arms by the names of the branches in ``instability.yaml``, whose last row looks back at the same weights trained
    with another order.
    """
    found = {name: arm_of(arms(frame), variant=name) for name in ("ticket", "shuffled", "reinit", "dense")}
    ticket, shuffled = found["ticket"], found["shuffled"]
    if ticket is None or shuffled is None:
        return lacks(listing([name for name in ("ticket", "shuffled") if found[name] is None]))
    heights = {name: _last(arm, "test_error_barrier") for name, arm in found.items() if arm is not None}
    stable = heights["ticket"].map(lambda height: height - STABLE)
    unstable = heights["shuffled"].map(lambda height: height - STABLE)
    text = ", ".join(f"{name} {height.text()}" for name, height in heights.items())
    finding = Finding(
        together([judge(-stable), judge(unstable)]),
        f"Error barriers in points: {text} ({seeds(heights['ticket'].n)}).",
        {name: height.mean for name, height in heights.items()},
    )
    return with_seeds_needed(finding, (-stable, 0.0), (unstable, 0.0))


@claim(
    "E1-9",
    "Of as many weights, a ticket is the better the wider the network that it was found in.",
    needs=(*NEEDS, "variant"),
)
def more_to_choose_from(frame: pl.DataFrame) -> Finding:
    """Supported when test accuracy rises with log2 of the width, by the slope of each seed.

    Widths are the names of the variants in ``widths.yaml``, whose last levels have as many weights. The numbers say
    also which share of the seeds comes within a tenth of a point of the dense network of width 1.
    """
    found = {float(arm.values["variant"]): arm for arm in arms(frame) if _is_number(arm.values.get("variant"))}
    if len(found) < 3 or 1.0 not in found:
        return lacks("three widths or more, 1 among them, such as those of the study lottery-ticket-widths")
    tickets = {width: arm.at("test_accuracy", arm.places[-1]) for width, arm in sorted(found.items())}
    dense = found[1.0].at("test_accuracy", found[1.0].places[0])
    whole = [seed for seed in dense if all(each.get(seed) is not None for each in tickets.values())]
    slope = estimate(_slope({log2(width): float(each[seed] or 0) for width, each in tickets.items()}) for seed in whole)
    means = {f"width {width:g}": estimate(each.values()).mean for width, each in tickets.items()}
    match = {
        f"width {width:g}: share of seeds that match dense": sum(
            float(each[seed] or 0) >= float(dense[seed] or 0) - EQUAL for seed in whole
        )
        / max(1, len(whole))
        for width, each in tickets.items()
    }
    text = f"accuracy changes by {slope.text()} points when the width doubles ({seeds(slope.n)})"
    return judged(slope, text, {**means, **match})


@claim("E1-9s", "A second and a third ticket are to be found in what the first has left.", needs=NEEDS)
def spare_copies(frame: pl.DataFrame) -> Finding:
    """Supported when the third of three disjoint tickets is at most a tenth of a point below the first.

    Tickets are the levels of one arm after which the density rises again, as in ``spare.yaml``, and its last level.
    """
    found = [arm for arm in arms(frame) if len(_tickets(arm)) == 3]
    if len(found) != 1:
        return lacks("an arm with three tickets, each found in what the others left, as lottery-ticket-spare has")
    arm = found[0]
    tickets = [arm.at("test_accuracy", place) for place in _tickets(arm)]
    dense = arm.at("test_accuracy", arm.places[0])
    behind = [estimate(float(each[s] or 0) - float(dense[s] or 0) for s in dense) for each in tickets]
    spare = estimate(float(tickets[2][s] or 0) - float(tickets[0][s] or 0) for s in dense)
    told = ", ".join(gain.text() for gain in behind)
    text = f"tickets minus dense {told} points; third minus first {spare.text()} ({seeds(spare.n)})"
    numbers = {f"ticket {number}": gain.mean for number, gain in enumerate(behind, 1)}
    return judged(spare.map(lambda points: points + EQUAL), text, {**numbers, "third minus first": spare.mean})


@claim(
    "E2-7",
    "A ticket found with one optimiser is better than a shuffled mask under another optimiser.",
    needs=(*NEEDS, "variant"),
)
def tickets_transfer(frame: pl.DataFrame) -> Finding:
    """Supported when it holds both ways between Adam and SGD, as means over 21 % density and below.

    Arms by the names of ``transfer.yaml``. The numbers have what a ticket of the optimiser's own is above the one that
    was found with the other, and what became of tickets that were found on random labels.
    """
    ways = [("sgd", "adam"), ("adam", "sgd")]
    parts = [
        (f"{a} for {b}", _between(frame, f"{a} for {b}, ticket", f"{a} for {b}, shuffled", 0.0, SPARSE))
        for a, b in ways
    ]
    if any(each.outcome == "not tested" for _, each in parts):
        return next(each for _, each in parts if each.outcome == "not tested")
    joined = join_arms(parts)
    more = {
        f"own ticket minus {one} for {two}": _between(
            frame, f"{two} for {two}, ticket", f"{one} for {two}, ticket", 0.0, SPARSE
        )
        for one, two in [*ways, ("random labels", "adam")]
    } | {
        "random labels for adam minus its shuffled mask": _between(
            frame, "random labels for adam, ticket", "random labels for adam, shuffled", 0.0, SPARSE
        )
    }
    told = "; ".join(f"{name}: {each.explanation}" for name, each in more.items() if each.outcome != "not tested")
    return Finding(
        together(each.outcome for _, each in parts),
        f"{joined.explanation} Beside it: {told}" if told else joined.explanation,
        {**joined.numbers, **{name: each.numbers.get("difference") for name, each in more.items()}},
    )


CLAIMS = (
    better_than_dense,
    reinit_is_worse,
    as_good_as_dense,
    earlier_than_dense,
    earlier_than_reinit,
    random_sparsity_is_worse,
    rounds_are_better,
    rate_rewinding,
    tickets_are_stable,
    more_to_choose_from,
    spare_copies,
    tickets_transfer,
)

KINDS: dict[str, dict[str, str | None]] = {
    "ticket": {"retraining": "rewind", "mask": None},
    "reinit": {"retraining": "reinit", "mask": None},
    "shuffled": {"retraining": "rewind", "mask": "shuffled"},
}


def gains(arm: Arm, column: str = "test_accuracy") -> list[Difference]:
    """Return what each level of an arm is above its dense network, seed by seed."""
    dense = arm.at(column, arm.places[0])
    made = []
    for place, at in zip(arm.places[1:], arm.positions[1:], strict=True):
        here = arm.at(column, place)
        found = {s: one - two for s, one in here.items() if one is not None and (two := dense.get(s)) is not None}
        if found:
            made.append(Difference(at, found))
    return made


def _on(frame: pl.DataFrame, names: Sequence[str], test: Callable[..., Finding]) -> Finding:
    """Run a test on the arms of these kinds."""
    found, there = arms(frame), []
    for name in names:
        with suppress(DataError):  # several arms of a kind: then none is meant
            if (arm := arm_of(found, **KINDS[name])) is not None:
                there.append(arm)
    if len(there) < len(names):
        return lacks(f"one arm of each kind: {listing(list(names))}, as the study lottery-ticket has")
    return test(*there)


def _between(frame: pl.DataFrame, first: str, second: str, low: float, high: float) -> Finding:
    """Judge that one variant is more accurate than another, as the mean over the densities from ``low`` to ``high``."""
    found = arms(frame)
    one, two = (arm_of(found, variant=name) for name in (first, second))
    if one is None or two is None:
        return lacks(listing([f"the variant {name!r}" for name, arm in ((first, one), (second, two)) if arm is None]))
    return _gain(paired(one, two), low, high, f"{first} minus {second}")


def _gain(found: Sequence[Difference], low: float, high: float, what: str = "ticket minus dense") -> Finding:
    """Judge that the mean difference between two densities lies above 0; with the best place told beside it."""
    inside = [each for each in found if low <= each.at <= high]
    if not inside:
        return lacks(f"levels between {density(low)} and {density(high)} density")
    mean, best = pooled(inside), max(inside, key=lambda each: each.estimate.mean or 0)
    text = (
        f"{what} {mean.text()} points over {len(inside)} levels from {density(inside[0].at)} to "
        f"{density(inside[-1].at)}, most at {density(best.at)}: {best.estimate.text()} ({seeds(mean.n)})"
    )
    return judged(mean, text, {"difference": mean.mean, "low": mean.low, "high": mean.high, "best_density": best.at})


def _falls_behind(found: Sequence[Difference]) -> Finding:
    """Judge that a control is behind at 21 % and below, and further below 5 % than from 10 to 21 %."""
    behind, growing = pooled(found, 0.0, SPARSE), _growth(found)
    levels = [each for each in found if each.at <= SPARSE]
    clear = [each for each in levels if each.estimate.above(0)]
    finding = Finding(
        together([judge(behind), judge(growing)]),
        f"ticket minus new initialisation {behind.text()} points at 21 % and below, above 0 by itself at {len(clear)} "
        f"of {len(levels)} levels; {growing.text()} points more below 5 % than from 10 to 21 % ({seeds(behind.n)})",
        {"difference": behind.mean, "growth": growing.mean, "clear_levels": len(clear), "levels": len(levels)},
    )
    return with_seeds_needed(finding, (behind, 0.0), (growing, 0.0))


def _growth(found: Sequence[Difference]) -> Estimate:
    above, below = means(found, 0.1, SPARSE), means(found, 0.0, 0.05)
    return estimate(below[seed] - above[seed] for seed in sorted(above.keys() & below.keys()))


def _sooner(found: Sequence[Difference], than: str) -> Finding:
    """Judge that early stopping comes sooner, by log2 of iterations, from 13 to 22 % density."""
    longer = pooled(found, 0.13, 0.22)
    sooner = -longer
    share = sooner.map(lambda doublings: float(2**doublings))
    times = share.text(lambda number: f"{number:.2f}")
    text = f"the {than} takes {times} times as many iterations at 13 to 22 % density ({seeds(share.n)})"
    return judged(sooner, text, {"times": share.mean})


def _with_logarithm(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.with_columns(pl.col("early_stop_iteration").cast(pl.Float64).log(2).alias("log_early_stop"))


def _tickets(arm: Arm) -> list[int]:
    """Return the levels after which the density of an arm rises again, and its last."""
    after = [*arm.positions[1:], 1.0]
    return [place for place, here, later in zip(arm.places, arm.positions, after, strict=True) if later > here]


def _last(arm: Arm, column: str) -> Estimate:
    return estimate(arm.at(column, arm.places[-1]).values())


def _slope(points: dict[float, float]) -> float:
    return float(np.polyfit(list(points), list(points.values()), 1)[0])


def _is_number(text: object) -> bool:
    try:
        return float(str(text)) > 0
    except ValueError:
        return False
