"""Claims on the arms beside the main one: new initialisations, more noise, other noise, other ways to prune or to stop.

A ticket's arm is told by its retraining; what no column tells (one-shot pruning, whole neurons) by the variant's name.
"""

from __future__ import annotations

import polars as pl

from overparam.papers.sparse_double_descent.contrasts import (
    KIND,
    contrasts,
    named,
    noise_kind,
    noisy,
    on_each,
    reference,
)
from overparam.papers.sparse_double_descent.curves import double_descent, fall_to, interval
from overparam.papers.sparse_double_descent.phases import ArmPhases, phases
from overparam.report.claims import Claim, Finding, claim, join_arms, judge, judged, lacks, together, with_seeds_needed
from overparam.report.paired import paired
from overparam.report.statistics import Estimate
from overparam.report.turning import LEAST, SIGNIFICANT, find_turns
from overparam.report.words import density, percent, seeds

NEEDS = ("test_accuracy", "noise_rate")

ENOUGH = 0.4
"""Share of wrong labels from which on it is enough for a sparse network to be better than the dense one."""


@claim(
    "SDD-8",
    "Where the winning ticket is worst its new initialisation is better, and where the ticket is best it is worse.",
    needs=(*NEEDS, "retraining"),
)
def reinit_wins_then_loses(frame: pl.DataFrame) -> Finding:
    """Supported when reinit minus rewind is above 0 at the ticket's trough and below 0 at its peak, seed by seed."""
    pairs = contrasts(noisy(phases(frame)), "retraining", "rewind", "reinit")
    if not pairs:
        return lacks("two arms that differ in retraining, rewind and reinit, alone")
    return join_arms([(f"{a.arm.label} → {b.arm.label}", _beside(a, b)) for a, b in pairs])


def _beside(ticket: ArmPhases, fresh: ArmPhases) -> Finding:
    trough, peak = ticket.shape.trough, ticket.shape.peak
    if trough is None or peak is None:
        return Finding("inconclusive", "the ticket has no turning point (fall and rise)")
    at_worst, at_best = (_above(fresh, ticket, turn.density) for turn in (trough, peak))
    text = (
        f"reinit minus rewind is {at_worst.text()} points at {density(trough.density)} density, where the ticket is "
        f"worst, and {at_best.text()} at {density(peak.density)}, where it is best ({seeds(at_worst.n)})"
    )
    numbers = {**interval("at_worst_points", at_worst, 100), **interval("at_best_points", at_best, 100)}
    outcome = together([judge(at_worst), judge(-at_best)])
    return with_seeds_needed(Finding(outcome, text, numbers), (at_worst, 0.0), (-at_best, 0.0))


def _above(one: ArmPhases, other: ArmPhases, at: float) -> Estimate:
    """Return test accuracy of one arm above another at the place nearest to a density that both have."""
    found = paired(one.arm, other.arm)
    if not found:
        return Estimate(None, None, None, 0)
    return min(found, key=lambda each: abs(each.at - at)).estimate


@claim(
    "SDD-9",
    "Under enough label noise a sparse network is better than the dense one.",
    needs=NEEDS,
)
def sparse_beats_dense(frame: pl.DataFrame) -> Finding:
    """Supported when the best level after the trough is above the dense network, under noise of 40 % or more."""
    found = [one for one in reference(phases(frame)) if float(one.arm.values["noise_rate"]) >= ENOUGH]
    return on_each(found, _ascent, f"an arm with label noise of {percent(ENOUGH, 0)} or more")


def _ascent(one: ArmPhases) -> Finding:
    if one.shape.peak is None:
        return Finding("inconclusive", "no turning point (fall and rise)")
    above = -fall_to(one, one.shape.peak.level)
    text = f"{above.text()} points above the dense {percent(one.shape.dense.accuracy)} at "
    text += f"{density(one.shape.peak.density)} density, under {percent(one.arm.values['noise_rate'], 0)} noise"
    return judged(above, f"{text} ({seeds(above.n)})", interval("above_dense_points", above, 100))


@claim("SDD-10a", "Asymmetric label noise shows the double descent too.", needs=(*NEEDS, KIND))
def asymmetric_noise_shows_it(frame: pl.DataFrame) -> Finding:
    """Supported as SDD-1 is, on the arms whose classes are confused as a map says."""
    return _of_kind(frame, "asymmetric")


@claim("SDD-10p", "Pair-flip label noise shows the double descent too.", needs=(*NEEDS, KIND))
def pair_flip_noise_shows_it(frame: pl.DataFrame) -> Finding:
    """Supported as SDD-1 is, on the arms whose classes become the next ones."""
    return _of_kind(frame, "pair-flip")


def _of_kind(frame: pl.DataFrame, kind: str) -> Finding:
    found = [one for one in noisy(phases(frame)) if noise_kind(one) == kind]
    return on_each(found, double_descent, f"an arm with {kind} label noise")


@claim("SDD-11", "Rewinding the learning rate alone shows the double descent too.", needs=(*NEEDS, "retraining"))
def lr_rewinding_shows_it(frame: pl.DataFrame) -> Finding:
    """Supported as SDD-1 is, on the arms that keep their weights and go back in the schedule."""
    found = [one for one in noisy(phases(frame)) if one.arm.values["retraining"] == "lr-rewind"]
    return on_each(found, double_descent, "an arm with retraining 'lr-rewind' and label noise")


@claim("SDD-12", "Pruning in one shot shows the double descent too.", needs=NEEDS)
def one_shot_shows_it(frame: pl.DataFrame) -> Finding:
    """Supported as SDD-1 is, on the variant ``one-shot``."""
    return on_each(_variant(frame, "one-shot"), double_descent, "a variant 'one-shot' with label noise")


@claim("SDD-13", "Pruning whole neurons or filters shows the double descent too.", needs=NEEDS)
def neurons_show_it(frame: pl.DataFrame) -> Finding:
    """Supported as SDD-1 is, on the variant ``neurons``."""
    return on_each(_variant(frame, "neurons"), double_descent, "a variant 'neurons' with label noise")


@claim(
    "SDD-14",
    "The test accuracy of the best epoch does not fall, rise and fall: the double descent is one of the last epoch.",
    needs=(*NEEDS, "early_stop_test_accuracy"),
)
def best_epoch_shows_none(frame: pl.DataFrame) -> Finding:
    """Supported when any rise after a fall is below a point at the epoch of the least validation loss, and not at last.

    The paper takes the epoch that is best on the test set; here it is chosen on a validation set.
    """
    found = [one for one in noisy(phases(frame)) if one.arm.has("early_stop_test_accuracy")]
    return on_each(found, _early, "an arm with label noise whose trainings are measured on their way")


def _early(one: ArmPhases) -> Finding:
    if one.verdict != "yes":
        return Finding("inconclusive", f"the last epoch shows no double descent here ({one.verdict})")
    turning = find_turns(one.arm.table("early_stop_test_accuracy"))
    rise = turning.dip
    if turning.p_value is None or rise.high is None:
        return Finding("inconclusive", "one seed, no interval")
    text = (
        f"at the best epoch any rise after a fall is below {100 * rise.high:.1f} points, at the last one it is "
        f"{one.rise.text()} ({seeds(len(one.arm.seeds))})"
    )
    numbers = {"largest_rise_points": 100 * rise.high, "p_value": turning.p_value}
    if rise.high < LEAST:
        return Finding("supported", text, numbers)
    return Finding("contradicted" if turning.p_value <= SIGNIFICANT else "inconclusive", text, numbers)


def _variant(frame: pl.DataFrame, name: str) -> list[ArmPhases]:
    return [one for one in noisy(phases(frame)) if named(one) == name]


CLAIMS: tuple[Claim, ...] = (
    reinit_wins_then_loses,
    sparse_beats_dense,
    asymmetric_noise_shows_it,
    pair_flip_noise_shows_it,
    lr_rewinding_shows_it,
    one_shot_shows_it,
    neurons_show_it,
    best_epoch_shows_none,
)
