"""What the claims that set two arms against each other measure: where each turns, in log density."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product
from math import exp, log
from typing import Any

from overparam.papers.sparse_double_descent.curves import interval
from overparam.papers.sparse_double_descent.phases import ArmPhases, resolution
from overparam.report.arms import TRAITS
from overparam.report.claims import (
    Finding,
    Number,
    Outcome,
    join_arms,
    judge,
    judged,
    lacks,
    together,
    with_seeds_needed,
)
from overparam.report.statistics import Estimate, difference
from overparam.report.words import density, number, percent, seeds

OWN_CLAIMS = ("one-shot", "neurons", "early stopping", "from a sparse network", "from the dense network")
"""Variants, by name, that have claims of their own and are no arms of the paper's main setting."""

PLACES = 5
"""Fewest levels of a curve that claims about its turns look at."""

KIND = "world.label_noise.kind"
USUAL_NOISE = ("symmetric", "random-labels", "")


def noisy(found: Sequence[ArmPhases]) -> list[ArmPhases]:
    """Return the arms with a curve over pruned networks whose labels were wrong in part."""
    return [
        one
        for one in found
        if 0 < (one.arm.values.get("noise_rate") or 0) < 1 and len(one.arm.places) >= PLACES and max(one.arm.places) > 0
    ]


def reference(found: Sequence[ArmPhases]) -> list[ArmPhases]:
    """Return the noisy arms of the paper's main setting (magnitude, rewind), or all if there are none.

    Those that a claim of its own is about, such as another kind of noise, are left out.
    """
    usual = {"criterion": "magnitude", "retraining": "rewind"}
    candidates = [one for one in noisy(found) if named(one) not in OWN_CLAIMS and noise_kind(one) in USUAL_NOISE]
    main = [one for one in candidates if all(one.arm.values.get(name, own) == own for name, own in usual.items())]
    return main or candidates


def named(one: ArmPhases) -> str:
    """Return the variant that an arm is, which alone says how some were made; empty if it is none."""
    return str(one.arm.values.get("variant") or "")


def noise_kind(one: ArmPhases) -> str:
    """Return the kind of label noise of an arm; empty where the study does not sweep over kinds."""
    frame = one.arm.frame
    return str(frame[KIND][0] or "") if KIND in frame.columns else ""


def on_each(found: Sequence[ArmPhases], test: Callable[[ArmPhases], Finding], needed: str) -> Finding:
    """Run a test on every arm that the claim is about."""
    if not found:
        return lacks(needed)
    return join_arms([(one.arm.label, test(one)) for one in found])


def contrasts(found: Sequence[ArmPhases], trait: str, first: Any, second: Any) -> list[tuple[ArmPhases, ArmPhases]]:
    """Return the pairs of arms whose ``trait`` is ``first`` and ``second`` and that are alike in all else.

    A variant or sweep whose value settles the trait (the sweep over criteria, say) tells nothing else and is not
    compared; the other traits always are.
    """
    chosen = [one for one in found if one.arm.values.get(trait) in (first, second)]
    if not chosen:
        return []
    others = [name for name in chosen[0].arm.values if name != trait]
    same = [name for name in others if name in TRAITS or not _settles(chosen, name, trait)]
    groups: dict[tuple[str, ...], dict[Any, list[ArmPhases]]] = {}
    for one in chosen:
        key = tuple(str(one.arm.values.get(name)) for name in same)
        groups.setdefault(key, {first: [], second: []})[one.arm.values[trait]].append(one)
    return [pair for group in groups.values() for pair in product(group[first], group[second])]


def turns_earlier(usual: ArmPhases, other: ArmPhases, usual_name: str, other_name: str) -> Finding:
    """Judge "``other`` is worst at a higher density than ``usual``"; the best points are told beside it."""
    numbers: dict[str, Number] = {}
    for name, one in ((usual_name, usual), (other_name, other)):
        for border, word in (("trough", "worst"), ("peak", "best")):
            numbers[f"{name}_{word}_density"] = one.shape.density(border)
    flat = [name for name, one in ((usual_name, usual), (other_name, other)) if one.shape.trough is None]
    if flat:
        return Finding("inconclusive", f"no turning point (fall and rise) with {' nor '.join(flat)}", numbers)
    trough, peak = (shift(usual, other, border) for border in ("trough", "peak"))
    numbers |= {**interval("worst_shift_log_density", trough), **interval("best_shift_log_density", peak)}
    text = (
        f"{other_name} is worst at {_at(other, 'trough')} density, {usual_name} at {_at(usual, 'trough')} "
        f"({_factor(trough)}); best at {_at(other, 'peak')} against {_at(usual, 'peak')} ({_factor(peak)}; "
        f"{seeds(trough.n)})"
    )
    return judged(trough, text, numbers)


def noise_spreads(less: ArmPhases, more: ArmPhases) -> Finding:
    """Judge "more noise: train accuracy declines from a higher density, test is best at a lower one"."""
    onset, peak = shift(less, more, "onset"), shift(less, more, "peak")
    numbers: dict[str, Number] = {}
    for name, one in (("less", less), ("more", more)):
        numbers[f"{name}_noise_rate"] = float(one.arm.values["noise_rate"])
        numbers[f"{name}_noise_onset_density"] = one.shape.density("onset")
        numbers[f"{name}_noise_best_density"] = one.shape.density("peak")
    numbers |= {**interval("onset_shift_log_density", onset), **interval("best_shift_log_density", peak)}
    first, second = (percent(float(one.arm.values["noise_rate"]), 0) for one in (less, more))
    text = (
        f"from {first} to {second} noise the train-accuracy decline starts at {_at(less, 'onset')} → "
        f"{_at(more, 'onset')} density ({_factor(onset)}; {seeds(onset.n)}) and test accuracy is best at "
        f"{_at(less, 'peak')} → {_at(more, 'peak')} ({_factor(peak)}; {seeds(peak.n)})"
    )
    parts: list[Outcome] = [judge(onset), judge(-peak)]
    if less.shape.peak and less.shape.peak.level == less.shape.last.level:
        # Its true best point may lie at any lower density, so nothing can be said about the shift.
        parts[1] = "inconclusive"
        text += f"; with {first} noise test accuracy still rises at the last level: prune further"
        return Finding(together(parts), text, numbers)
    return with_seeds_needed(Finding(together(parts), text, numbers), (onset, 0.0), (-peak, 0.0))


def shift(first: ArmPhases, second: ArmPhases, border: str) -> Estimate:
    """Return log density of a border in ``second`` minus that in ``first``, from their intervals.

    The onset is interpolated between levels; trough and peak are read off the grid of levels, and claim no more.
    """
    before, after = (one.over_seeds(border).map(log) for one in (first, second))
    both = (one for one in (first, second) if border != "onset" and one.shape.density(border) is not None)
    grid = max((resolution(one.arm, one.shape.density(border) or 0.0) for one in both), default=0.0)
    return difference(before, after, at_least=grid)


def _settles(found: Sequence[ArmPhases], name: str, trait: str) -> bool:
    """Whether knowing ``name`` is knowing ``trait``."""
    pairs = {(str(one.arm.values.get(name)), str(one.arm.values.get(trait))) for one in found}
    return len(pairs) == len({first for first, _ in pairs}) and len({second for _, second in pairs}) > 1


def _at(one: ArmPhases, border: str) -> str:
    return density(one.shape.density(border))


def _factor(found: Estimate) -> str:
    """Tell a shift of log density as the factor that it is."""
    return f"factor {found.map(exp).text(number)}" if found.n else "not in both"
