"""The claims of Zhou, Lan, Liu & Yosinski (NeurIPS 2019, https://arxiv.org/abs/1905.01067) as tests.

Criteria and ways to begin again are columns of the table (``criterion``, ``retraining``); ways to hold pruned weights
and kinds of supermask are not, so those arms are told by the names that ``pruned-weights.yaml`` and ``supermasks.yaml``
give their variants.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import polars as pl

from overparam.report.arms import Arm, arms
from overparam.report.claims import Finding, all_of, claim, judged, lacks
from overparam.report.paired import Difference, arm_of, paired, pooled
from overparam.report.statistics import Estimate, estimate
from overparam.report.words import density, seeds

NEEDS = ("test_accuracy", "density")
HIGHEST = 0.2
"""Tickets are compared from this density down: above it all do well."""
NEARLY_ALL = 0.03
"""Below this density nearly all weights are pruned."""
ALIKE = 0.005
"""Two arms that differ by less than half a percentage point are alike."""


@claim(
    "ZHOU-C",
    "Masks of large final weights, magnitude increase and movement beat random ones; those of small weights do not.",
    needs=(*NEEDS, "criterion"),
)
def criteria(frame: pl.DataFrame) -> Finding:
    """Supported when, at 20 % density and below, the three lie above random and the two of small ones not above it."""
    found = retrained(frame)
    arm = {name: {"criterion": name, "retraining": "rewind"} for name in ("random", *LARGE, *SMALL)}
    if missing := arm.keys() - {one.values.get("criterion") for one in found}:
        return _lacking(min(missing), "criterion")
    parts = [_above(found, arm[name], arm["random"]) for name in LARGE]
    return all_of([*parts, *(_above(found, arm["random"], arm[name]) for name in SMALL)])


LARGE, SMALL = ("large-final", "magnitude-increase", "movement"), ("small-final", "small-init-small-final")


@claim(
    "ZHOU-1",
    "Of initial values the sign matters: with signs kept, permuted and constant values are as good as rewinding, "
    "without they are worse.",
    needs=(*NEEDS, "retraining"),
)
def signs(frame: pl.DataFrame) -> Finding:
    """Supported when each way without signs is worse than with, and with signs within half a point of rewinding.

    Each is the mean over the densities of 20 % and below.
    """
    found, parts = retrained(frame), []
    for values in ("reinit", "reshuffle", "constant"):
        kept, drawn = ({"retraining": f"{values}, signs {signs}"} for signs in ("kept", "drawn"))
        parts += [_above(found, kept, drawn), _above(found, kept, {"retraining": "rewind, signs kept"}, ALIKE)]
    return all_of(parts)


@claim(
    "ZHOU-2",
    "Pruned weights held at their initial values are worse than at zero; at zero only if they moved toward it they are "
    "no worse.",
    needs=(*NEEDS, "variant"),
)
def held(frame: pl.DataFrame) -> Finding:
    """Supported when zero lies above initial, and zero if toward at most half a point below zero, from 20 to 3 %."""
    found, middle = retrained(frame), (NEARLY_ALL, HIGHEST)
    zero, toward = {"variant": "zero"}, {"variant": "zero if toward"}
    return all_of(
        [
            _above(found, zero, {"variant": "initial"}, between=middle),
            _above(found, toward, zero, ALIKE, between=middle),
            _above(found, toward, {"variant": "zero at random"}, between=middle),
            _above(found, toward, {"variant": "zero if away"}, between=middle),
        ]
    )


@claim(
    "E2-5",
    "Holding pruned weights at their initial values is worse than at zero, unless nearly all weights are pruned.",
    needs=(*NEEDS, "variant"),
)
def turns(frame: pl.DataFrame) -> Finding:
    """Supported when zero lies above initial at 20 to 3 % density, and initial above zero at the lowest density.

    The turning point is between the lowest density at which zero is above, on the mean, and the next.
    """
    found = retrained(frame)
    zero, initial = (arm_of(found, variant=name) for name in ("zero", "initial"))
    if zero is None or initial is None:
        return _lacking("zero" if zero is None else "initial", "variant")
    gaps = paired(zero, initial)
    before = _judged([gap for gap in gaps if NEARLY_ALL <= gap.at <= HIGHEST], "zero", "initial")
    last = replace(gaps[-1], by_seed={seed: -gap for seed, gap in gaps[-1].by_seed.items()})
    after = _judged([last], "initial", "zero")
    above = [place for place, gap in enumerate(gaps) if (gap.estimate.mean or 0) > 0]
    turn = [gaps[above[-1]].at, *(gap.at for gap in gaps[above[-1] + 1 :][:1])] if above else []
    text = f"; the arms meet below {density(turn[0])} density" if len(turn) == 2 else "; the arms do not meet"
    numbers = {"zero is above down to": turn[0] if turn else None}
    told = all_of([before, after])
    return replace(told, explanation=told.explanation.rstrip(".") + text + ".", numbers={**told.numbers, **numbers})


@claim(
    "ZHOU-3",
    "Masks of an untrained network reach 80 % on MNIST by a rule and 95 % when learned.",
    needs=(*NEEDS, "variant"),
)
def supermasks(frame: pl.DataFrame) -> Finding:
    """Supported when both intervals lie above: that of the heuristic on signed constants at its best density, and that
    of the best of the learned masks. Both bests are chosen on the test set, as in the paper.
    """
    heuristic = [untrained(frame, "heuristic, constant")]
    learned = [untrained(frame, name) for name in LEARNED]
    if heuristic[0] is None or not any(learned):
        return _lacking("heuristic, constant" if heuristic[0] is None else LEARNED[-1], "variant")
    parts = []
    for name, tried, bound in (("by a rule", heuristic, 0.8), ("learned", learned, 0.95)):
        best = max((each for each in tried if each is not None), key=lambda each: each.mean or 0)
        text = f"{name} {best.text()} % ({seeds(best.n)})"
        parts.append(judged(_more(best, -bound), text, {name: best.mean}))
    return all_of(parts)


LEARNED = (
    *("learned, initial", "learned, constant"),
    *("learned and rescaled, initial", "learned and rescaled, constant"),
)
TABLE = ("heuristic, initial", "heuristic, constant", *LEARNED, "trained")
"""The columns of the paper's supermask table, as variants of ``supermasks.yaml``."""


def retrained(frame: pl.DataFrame) -> list[Arm]:
    """Return the arms of a table without what was measured and not trained."""
    return arms(frame.filter(pl.col("kind") != "measure") if "kind" in frame.columns else frame)


def untrained(frame: pl.DataFrame, variant: str) -> Estimate | None:
    """Return the test accuracy of a variant's best row, over seeds; rows of the trained network count for it alone."""
    own = frame.filter(pl.col("variant") == variant)
    if "level" in own.columns and own["level"].n_unique() > 1:
        own = own.filter(pl.col("level") > 0)
    if own.is_empty():
        return None
    best = own.group_by("level").agg(pl.col("test_accuracy").mean()).sort("test_accuracy", "level").tail(1)
    return estimate(own.filter(level=best["level"].item())["test_accuracy"])


def _above(
    found: Sequence[Arm],
    first: dict[str, str],
    second: dict[str, str],
    below: float = 0.0,
    between: tuple[float, float] = (0.0, HIGHEST),
) -> Finding:
    """Judge "first lies above second", or at most ``below`` under it, by the mean over a range of densities."""
    chosen = []
    for values in (first, second):
        trait, value = next(iter(values.items()))
        if (arm := arm_of(found, **values)) is None:
            return _lacking(value, trait)
        chosen.append((value, arm))
    (name, one), (other, two) = chosen
    shown = [gap for gap in paired(one, two) if between[0] <= gap.at <= between[1]]
    return _judged(shown, name, other, below)


def _judged(places: Sequence[Difference], first: str, second: str, below: float = 0.0) -> Finding:
    if not places:
        return Finding("inconclusive", f"{first} and {second} share no density there; prune further")
    gap, at = pooled(places), [each.at for each in places]
    where = density(at[0]) if len(at) == 1 else f"{density(max(at))} to {density(min(at))}"
    text = f"{first} minus {second} is {gap.text()} points at {where} density ({seeds(gap.n)})"
    name = f"{first} minus {second}"
    numbers = {name: gap.mean, f"{name}: low": gap.low, f"{name}: high": gap.high}
    return judged(_more(gap, below), text, numbers)


def _more(found: Estimate, by: float) -> Estimate:
    return found.map(lambda value: value + by)


def _lacking(value: str, trait: str) -> Finding:
    return lacks(f"an arm with the {trait} {value!r}")


CLAIMS = (criteria, signs, held, turns, supermasks)
