"""The claims of Han, Pool, Tran & Dally (NIPS 2015, https://arxiv.org/abs/1506.02626) as tests.

No column tells a penalty or a way of retraining, so arms are told by the names that ``study.yaml`` gives its variants.
"""

from __future__ import annotations

import polars as pl

from overparam.report.arms import Arm, arms
from overparam.report.claims import Finding, Outcome, all_of, claim, judge, judged, lacks
from overparam.report.paired import Difference, arm_of, paired, pooled
from overparam.report.statistics import Estimate, estimate
from overparam.report.words import density, listing, seeds

NEEDS = ("test_accuracy", "variant")
FREE = 0.005
"""A loss of less than half a percentage point of test accuracy counts as none."""
VISIBLE = {"not retrained": 0.02, "retrained": FREE}
"""From which loss on, of two arms together, the penalties are compared."""
CHANCE = 0.3
"""Below this mean accuracy a network of ten classes is broken, and tells no penalties apart."""


@claim(
    "HAN-1",
    "Right after pruning a network trained with L1 is more accurate than one trained with L2; after retraining L2 is "
    "better, wherever the loss is visible.",
    needs=NEEDS,
)
def penalties(frame: pl.DataFrame) -> Finding:
    """Supported when both differences, each the mean over the densities with a visible loss, lie above 0.

    A density at which the order is turned round, with its interval, leaves it open: "wherever" is part of the claim.
    """
    found = arms(frame)
    parts = [_penalties(found, "L1", "L2", "not retrained"), _penalties(found, "L2", "L1", "retrained")]
    return all_of(parts)


@claim(
    "HAN-2",
    "Pruned and retrained in steps, a network is more accurate at 10 % of its weights and fewer than pruned at once.",
    needs=NEEDS,
)
def iterative(frame: pl.DataFrame) -> Finding:
    """Supported when the difference, the mean over all densities up to 10 % and at least 2 %, lies above 0.

    Steps bring more epochs of retraining, in the paper too; the second comparison is with as many after one pruning.
    """
    found = arms(frame)
    first = _compared(found, "L2, iterative", "L2, retrained", low=0.019, high=0.101)
    control = _compared(found, "L2, iterative", "L2, retrained as long", low=0.019, high=0.041)
    numbers = {**first.numbers, **control.numbers}
    text = f"{first.explanation}; with as many epochs after one pruning: {control.explanation} ({control.outcome})"
    return Finding(first.outcome, f"{text}.", numbers)


@claim(
    "E2-1",
    "Half of the weights go for nothing without retraining, 9 of 10 with it, and 9 times fewer in steps.",
    needs=NEEDS,
)
def free(frame: pl.DataFrame) -> Finding:
    """Supported when each arm's loss at its density is below half a percentage point, with its whole interval.

    Densities are those of the study next to 1/2, 1/10 and 1/9 from below; the order of the penalties is HAN-1.
    """
    found = arms(frame)
    places = {"L2, not retrained": 0.5, "L2, retrained": 0.1, "L2, iterative": 1 / 9}
    return all_of([_free(found, name, at) for name, at in places.items()])


@claim(
    "HAN-T1",
    "LeNet-300-100 keeps its accuracy with 12 times fewer weights, 8, 9 and 26 % of its layers' (Tables 1 and 2).",
    needs=NEEDS,
)
def table(frame: pl.DataFrame) -> Finding:
    """Supported when the loss of the arm with the table's densities is below half a percentage point."""
    found = arm_of(arms(frame), variant="L2, kept as in Table 2")
    if found is None:
        return _lacking(["L2, kept as in Table 2"])
    return all_of([_free([found], "L2, kept as in Table 2", found.positions[-1])])


@claim(
    "E2-8",
    "To prune biases too, at the densities of the weights, saves next to nothing and costs accuracy.",
    needs=(*NEEDS, "weights"),
)
def biases(frame: pl.DataFrame) -> Finding:
    """Supported when weights alone are above weights and biases, as the mean over all densities.

    Biases that stay are not counted as kept by the first: what they would save is told beside it.
    """
    found = arms(frame)
    alone, both = (arm_of(found, variant=name) for name in ("weights", "weights and biases"))
    if alone is None or both is None:
        return lacks("the variants weights and weights and biases of han-biases")
    pairs = [each for each in paired(alone, both) if each.at < 1]
    gap, most = pooled(pairs), pairs[-1]
    few, many = (frame.filter(variant=name)["weights"].max() for name in ("weights", "weights and biases"))
    share = 1 - float(few) / float(many)  # type: ignore[arg-type]
    text = (
        f"weights alone minus weights and biases: {gap.text()} points, {most.estimate.text()} at {density(most.at)} "
        f"density; biases are {100 * share:.2f} % of the parameters ({seeds(gap.n)})"
    )
    return judged(gap, text, {"difference": gap.mean, "share of biases": share})


def losses(arm: Arm, place: object) -> Estimate:
    """Return the dense network's test accuracy minus that at a place, seed by seed, as one estimate."""
    dense, there = arm.at("test_accuracy", arm.places[0]), arm.at("test_accuracy", place)
    return estimate(dense[s] - there[s] for s in dense if dense[s] is not None and there.get(s) is not None)  # type: ignore[operator]


def _free(found: list[Arm], name: str, at: float) -> Finding:
    arm = arm_of(found, variant=name)
    if arm is None:
        return _lacking([name])
    position, place = max((p, q) for p, q in zip(arm.positions, arm.places, strict=True) if p <= 1.001 * at)
    loss = losses(arm, place)
    room = (-loss).map(lambda change: change + FREE)
    text = f"{name}: loses {loss.text()} points at {density(position)} density ({seeds(loss.n)})"
    return judged(room, text, {f"{name}: density": position, f"{name}: loss": loss.mean})


def _penalties(found: list[Arm], better: str, worse: str, how: str) -> Finding:
    names = [f"{penalty}, {how}" for penalty in (better, worse)]
    one, two = (arm_of(found, variant=name) for name in names)
    if one is None or two is None:
        return _lacking([name for name, arm in zip(names, (one, two), strict=True) if arm is None])
    shown = [each for each in paired(one, two) if _visible(one, two, each, VISIBLE[how])]
    return _judged(shown, *names)


def _visible(one: Arm, two: Arm, at: Difference, loss: float) -> bool:
    """Whether two arms together have lost so much at a place of both, and are not broken yet."""
    means = [arm.table("test_accuracy").mean(axis=0) for arm in (one, two)]
    near = [
        min(zip(arm.positions, mean, strict=True), key=lambda each: abs(each[0] - at.at))[1]
        for arm, mean in zip((one, two), means, strict=True)
    ]
    lost = sum(float(mean[0]) for mean in means) - sum(map(float, near))
    return sum(map(float, near)) / 2 >= CHANCE and lost / 2 >= loss


def _compared(found: list[Arm], first: str, second: str, low: float, high: float) -> Finding:
    one, two = arm_of(found, variant=first), arm_of(found, variant=second)
    if one is None or two is None:
        return _lacking([name for name, arm in ((first, one), (second, two)) if arm is None])
    return _judged([each for each in paired(one, two) if low <= each.at <= high], first, second)


def _judged(places: list[Difference], first: str, second: str) -> Finding:
    name = f"{first} minus {second}"
    if not places:
        return Finding("inconclusive", f"{name}: no density at which the loss is visible; prune further")
    gap, at = pooled(places), [each.at for each in places]
    text = f"{name}: {gap.text()} points at {density(max(at))} to {density(min(at))} density ({seeds(gap.n)})"
    against = [density(each.at) for each in places if each.estimate.below(0)]
    outcome: Outcome = "inconclusive" if against and not gap.below(0) else judge(gap)
    text += f", but it is less at {listing(against)}" if outcome == "inconclusive" and against else ""
    return Finding(outcome, text, {name: gap.mean, f"{name}: low": gap.low, f"{name}: high": gap.high})


def _lacking(names: list[str]) -> Finding:
    return lacks(f"the variant {listing(names)} of han-five-curves")


CLAIMS = (penalties, iterative, free, table, biases)
