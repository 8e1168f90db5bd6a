"""The claims of Sparse Double Descent (He, Xie, Zhu, Qin, 2022, https://arxiv.org/abs/2206.08684) as tests.

Arms are told by what was done (criterion, retraining, noise rate), never by the names a study gives them. A
claim about several noise rates is tested on each; they must agree.
"""

from __future__ import annotations

import polars as pl

from overparam.papers.sparse_double_descent import capacity, distilled, flatness, other_arms
from overparam.papers.sparse_double_descent.contrasts import (
    OWN_CLAIMS,
    contrasts,
    named,
    noise_spreads,
    noisy,
    on_each,
    reference,
    turns_earlier,
)
from overparam.papers.sparse_double_descent.curves import (
    distance_against_worst,
    double_descent,
    falls_while_still_fitting,
)
from overparam.papers.sparse_double_descent.phases import phases
from overparam.report.claims import Claim, Finding, Verdict, claim, join_arms, lacks
from overparam.report.words import percent

ALWAYS = ("test_accuracy", "noise_rate")
NO_NOISE = "a pruned arm with label noise (noise_rate > 0)"


@claim("SDD-1", "Under label noise, test accuracy falls, rises and falls again as density drops.", needs=ALWAYS)
def falls_rises_falls(frame: pl.DataFrame) -> Finding:
    """Supported when the verdict on the curve is "yes" (see :class:`ArmPhases`)."""
    return on_each(reference(phases(frame)), double_descent, NO_NOISE)


@claim(
    "SDD-2",
    "Test accuracy falls while train accuracy on the noisy labels is still near 100 %.",
    needs=(*ALWAYS, "train_accuracy"),
)
def falls_while_fitting(frame: pl.DataFrame) -> Finding:
    """Supported when test accuracy is significantly down at the last level with train over 99.5 %."""
    found = [one for one in reference(phases(frame)) if one.shape.fitted is not None]
    return on_each(found, falls_while_still_fitting, NO_NOISE)


@claim(
    "SDD-3",
    "The learning distance peaks where test accuracy is worst (within two levels).",
    needs=(*ALWAYS, "learning_distance"),
)
def distance_peaks_at_worst(frame: pl.DataFrame) -> Finding:
    """Supported when the interval of (distance-peak level - worst-test level) lies within two levels."""
    found = [one for one in reference(phases(frame)) if one.arm.has("learning_distance")]
    return on_each(found, distance_against_worst, NO_NOISE)


@claim(
    "SDD-3k",
    "The kept weights' part of the learning distance peaks where test accuracy is worst (within two levels).",
    needs=(*ALWAYS, "learning_distance_kept"),
)
def kept_distance_peaks_at_worst(frame: pl.DataFrame) -> Finding:
    """Supported as SDD-3 is, on the kept weights only.

    Not a claim of the paper. Its distance counts pruned weights as 0, so the norm of their initial values is part of
    it and grows with sparsity, whatever is learned. Where training is short that part hides a peak of the rest.
    """
    found = [one for one in reference(phases(frame)) if one.arm.has("learning_distance_kept")]
    return on_each(found, lambda one: distance_against_worst(one, "learning_distance_kept"), NO_NOISE)


@claim(
    "SDD-4",
    "Random pruning reaches its turning point at a higher density than magnitude pruning.",
    needs=(*ALWAYS, "criterion"),
)
def random_turns_earlier(frame: pl.DataFrame) -> Finding:
    """Supported when log density of the worst test, random minus magnitude, has an interval above 0."""
    return _compare(frame, "criterion", "magnitude", "random")


@claim(
    "SDD-5",
    "More label noise moves the start of the train-accuracy decline to higher density, and the best test "
    "accuracy to lower density.",
    needs=(*ALWAYS, "train_accuracy"),
)
def noise_spreads_the_turns(frame: pl.DataFrame) -> Finding:
    """Supported when, from least to most noise, both shifts have intervals on the claimed side of 0."""
    found = reference(phases(frame))
    rates = sorted({float(one.arm.values["noise_rate"]) for one in found})
    pairs = contrasts(found, "noise_rate", rates[0], rates[-1]) if len(rates) > 1 else []
    if not pairs:
        have = ", ".join(percent(rate, 0) for rate in rates) or "none"
        return lacks(f"two arms with different label noise above zero (it has {have})")
    return join_arms([(f"{less.arm.label} → {more.arm.label}", noise_spreads(less, more)) for less, more in pairs])


@claim("SDD-6", "Finetuning instead of rewinding shows the double descent too.", needs=(*ALWAYS, "retraining"))
def finetuning_shows_it(frame: pl.DataFrame) -> Finding:
    """Supported as SDD-1 is, on the arms that train on from the pruned weights.

    What is pruned at initialisation is trained afterwards, too, but not on: its chain begins with no training.
    """
    tuned = [one for one in noisy(phases(frame)) if one.arm.values["retraining"] == "finetune"]
    found = [one for one in tuned if one.arm.frame["step"].min() == 0]
    return on_each(found, double_descent, "an arm with retraining 'finetune' and label noise")


@claim(
    "SDD-7",
    "Reinitialised tickets turn earlier (at a higher density) than rewound ones.",
    needs=(*ALWAYS, "retraining"),
)
def reinit_turns_earlier(frame: pl.DataFrame) -> Finding:
    """Supported when log density of the worst test, reinit minus rewind, has an interval above 0."""
    return _compare(frame, "retraining", "rewind", "reinit")


CLAIMS: tuple[Claim, ...] = (
    falls_rises_falls,
    falls_while_fitting,
    distance_peaks_at_worst,
    kept_distance_peaks_at_worst,
    random_turns_earlier,
    noise_spreads_the_turns,
    finetuning_shows_it,
    reinit_turns_earlier,
    *other_arms.CLAIMS,
    *distilled.CLAIMS,
    *flatness.CLAIMS,
    *capacity.CLAIMS,
)


def verdicts(frame: pl.DataFrame) -> list[Verdict]:
    """Test all claims on a results table."""
    return [one(frame) for one in CLAIMS]


def _compare(frame: pl.DataFrame, trait: str, usual: str, other: str) -> Finding:
    """Test "``other`` turns at a higher density than ``usual``" on every two arms alike in all else."""
    found = [one for one in noisy(phases(frame)) if named(one) not in OWN_CLAIMS]
    pairs = contrasts(found, trait, usual, other)
    if not pairs:
        have = {one.arm.values[trait] for one in found}
        absent = [f"{trait} '{name}'" for name in (usual, other) if name not in have]
        text = f"an arm with {' and one with '.join(absent)}" if absent else f"two arms that differ in {trait} only"
        return lacks(f"{text}, under label noise")
    parts = [(f"{a.arm.label} → {b.arm.label}", turns_earlier(a, b, usual, other)) for a, b in pairs]
    return join_arms(parts)
