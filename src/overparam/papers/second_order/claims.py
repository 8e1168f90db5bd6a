"""The claims of second-order pruning as tests: OBD, OBS, WoodFisher, ExactOBS and SparseGPT without retraining.

Arms are told by criterion and dataset; where two arms have one criterion, such as SparseGPT at a mask of its own and at
magnitude's, by the variant's name.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import polars as pl

from overparam.report.arms import Arm, arms
from overparam.report.claims import Claim, Finding, claim, join_arms, judge, judged, lacks, together, with_seeds_needed
from overparam.report.paired import Difference, paired, pooled
from overparam.report.statistics import Estimate, estimate
from overparam.report.words import percent, seeds

AT_MAGNITUDE = "sparsegpt at magnitude"
"""The variant in which SparseGPT moves what magnitude has chosen."""


@claim(
    "OBD-1",
    "With 30 to 60 % deleted, Optimal Brain Damage raises the training loss less than magnitude does.",
    needs=("train_loss", "criterion"),
)
def damage_beats_magnitude(frame: pl.DataFrame) -> Finding:
    """Supported when the training loss, magnitude minus OBD, meaned over these densities, has an interval above 0."""
    parts = []
    for plain, other in _rivals(arms(frame), "obd"):
        found = pooled(paired(plain, other, "train_loss"), 0.39, 0.71)
        if found.n:
            text = f"magnitude's training loss is {found.text(_nats)} above it"
            parts.append((other.label, judged(found, text, _numbers(found))))
    return join_arms(parts) if parts else lacks("arms of magnitude and obd with 30 to 60 % deleted")


@claim(
    "OBS-2",
    "Optimal Brain Surgeon leaves fewer parameters than OBD and magnitude at equal training accuracy.",
    needs=("train_accuracy", "kept", "weights", "criterion", "dataset"),
)
def surgeon_leaves_fewer(frame: pl.DataFrame) -> Finding:
    """Supported when the fewest parameters, other minus OBS, have intervals above 0 on every problem.

    The fewest are those of any network on the way down whose training accuracy is no less than that of the dense
    network, which is 100 % but where labels are wrong; seeds whose dense network has not learned that are left out.
    """
    found = arms(frame)
    parts = []
    for surgeon in (arm for arm in found if arm.values.get("criterion") == "obs"):
        own = fewest(surgeon)
        for other in _alike(found, surgeon, ("magnitude", "obd")):
            theirs = fewest(other)
            less = estimate(theirs[seed] - own[seed] for seed in sorted(own.keys() & theirs.keys()))
            ours, those = (sum(each.values()) / len(each) for each in (own, theirs))
            rival, gain = other.values["criterion"], f"{less.text(_count)} ({seeds(less.n)})"
            text = f"{ours:.1f} parameters, {rival} {those:.1f}, fewer by {gain}"
            label = f"{surgeon.values['dataset']} against {rival}"
            parts.append((label, judged(less, text, {"fewest": ours, "theirs": those, **_numbers(less)})))
    return _all(parts, "arms of obs with one of magnitude or obd on the same dataset")


@claim(
    "OBS-3",
    "At 10 % density without retraining, Optimal Brain Surgeon in layers has at most half of magnitude's error.",
    needs=("test_accuracy", "criterion"),
)
def surgeon_halves_the_error(frame: pl.DataFrame) -> Finding:
    """Supported when half of magnitude's error, minus ExactOBS's, has an interval above 0."""
    parts = []
    for plain, other in _rivals(arms(frame), "exact-obs"):
        one, two = _at(plain, 0.1), _at(other, 0.1)
        if both := sorted(one.keys() & two.keys()):
            spare = estimate((1 - one[seed]) / 2 - (1 - two[seed]) for seed in both)
            errors = [sum(1 - each[seed] for seed in both) / len(both) for each in (two, one)]
            text = f"error {percent(errors[0])} against {percent(errors[1])}; below half by {spare.text()} points"
            parts.append((other.label, judged(spare, text, _numbers(spare))))
    return join_arms(parts) if parts else lacks("arms of magnitude and exact-obs at 10 % density")


@claim(
    "WF-1",
    "One-shot at 5 % density, Fisher blocks lose at most 14 points, and at least 30 fewer than the diagonal.",
    needs=("test_accuracy", "criterion", "variant"),
)
def blocks_beat_the_diagonal(frame: pl.DataFrame) -> Finding:
    """Supported when both means hold and both intervals lie above 0; the arms are variants of these names."""
    found = arms(frame)
    blocks = next((arm for arm in found if arm.values.get("variant") == "blocks"), None)
    diagonal = next((arm for arm in found if arm.values.get("variant") == "diagonal"), None)
    if blocks is None or diagonal is None:
        return lacks("variants 'blocks' and 'diagonal'")
    dense, one, two = _at(blocks, 1.0), _at(blocks, 0.05), _at(diagonal, 0.05)
    both = sorted(dense.keys() & one.keys() & two.keys())
    if not both:
        return lacks("both at 5 % density")
    spare = estimate(0.14 - (dense[seed] - one[seed]) for seed in both)
    gap = estimate(one[seed] - two[seed] for seed in both)
    lost = [estimate(dense[seed] - each[seed] for seed in both) for each in (one, two)]
    text = (
        f"from {percent(sum(dense[seed] for seed in both) / len(both))}, blocks lose {lost[0].text()} points and the "
        f"diagonal {lost[1].text()}, {gap.text()} more"
    )
    outcome = together([judge(spare), judge(gap, at_least=0.3)])
    finding = Finding(outcome, text, {"lost": lost[0].mean, "gap": gap.mean})
    return with_seeds_needed(finding, (spare, 0.0), (gap, 0.3))


@claim(
    "FAM-1",
    "At one mask, a layer's outputs are nearest to what they were after the refit, then SparseGPT, then no update.",
    needs=("layer_error", "criterion", "variant"),
)
def refit_then_sparsegpt_then_none(frame: pl.DataFrame) -> Finding:
    """Supported when both differences have intervals above 0 at every density.

    The masks are magnitude's. On the inputs that were fitted to, the first is a theorem, which tests hold the library
    to; here the error is measured on others.
    """
    found = arms(frame)
    none = next((arm for arm in found if arm.values.get("criterion") == "magnitude"), None)
    swept = next((arm for arm in found if arm.values.get("variant") == AT_MAGNITUDE), None)
    best = next((arm for arm in found if arm.values.get("criterion") == "refit"), None)
    if none is None or swept is None or best is None:
        return lacks(f"arms of magnitude and refit, and a variant {AT_MAGNITUDE!r}")
    parts = []
    for label, worse, better in (
        ("SparseGPT above the refit", swept, best),
        ("no update above SparseGPT", none, swept),
    ):
        places = [each for each in paired(worse, better, "layer_error") if each.at < 1]
        parts += [(f"{label} at {percent(each.at, 0)} density", _above(each)) for each in places]
    return _all(parts, "these at one density")


CLAIMS: tuple[Claim, ...] = (
    damage_beats_magnitude,
    surgeon_leaves_fewer,
    surgeon_halves_the_error,
    blocks_beat_the_diagonal,
    refit_then_sparsegpt_then_none,
)


def fewest(arm: Arm) -> dict[int, int]:
    """Return for each seed the fewest parameters at which the training accuracy is no less than that of level 0.

    A seed whose dense network is less accurate than another's has not learned the problem, which next to no parameters
    do as well; it is left out.
    """
    rows = (arm.frame if arm.every is None else arm.every).filter(pl.col("train_accuracy").is_not_null())
    goal = rows.filter(pl.col("level") == 0)["train_accuracy"].max()
    found = {}
    for (seed,), own in rows.partition_by("seed", as_dict=True).items():
        if own.filter(pl.col("level") == 0)["train_accuracy"].max() < goal:  # type: ignore[operator]
            continue
        as_good = own.filter((pl.col("level") > 0) & (pl.col("train_accuracy") >= goal))
        found[int(seed)] = int((as_good["kept"] if len(as_good) else own["weights"]).min())  # type: ignore[arg-type]
    return found


def _rivals(found: Sequence[Arm], criterion: str) -> Iterator[tuple[Arm, Arm]]:
    """Yield each arm of a criterion, with that of magnitude in the same world before it."""
    for other in found:
        if other.values.get("criterion") == criterion:
            for plain in _alike(found, other, ("magnitude",)):
                yield plain, other


def _alike(found: Sequence[Arm], like: Arm, criteria: Sequence[str]) -> list[Arm]:
    same = [arm for arm in found if arm.values.get("dataset") == like.values.get("dataset")]
    return [arm for arm in same if arm.values.get("criterion") in criteria]


def _at(arm: Arm, density: float) -> dict[int, float]:
    """Return the test accuracy of each seed at a density; empty where there is none."""
    near = [place for place, at in zip(arm.places, arm.positions, strict=True) if abs(at - density) < 0.01 * density]
    found = arm.at("test_accuracy", near[0]) if near else {}
    return {seed: value for seed, value in found.items() if value is not None}


def _above(found: Difference) -> Finding:
    change = found.estimate
    return judged(change, f"by {change.text(_share)} of the outputs' mean square", _numbers(change))


def _all(parts: Sequence[tuple[str, Finding]], missing: str) -> Finding:
    return join_arms(parts, together) if parts else lacks(missing)


def _numbers(found: Estimate) -> dict[str, float | None]:
    return {"difference": found.mean, "low": found.low, "high": found.high}


def _nats(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _count(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
