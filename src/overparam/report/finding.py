"""The finding of an arm in plain sentences: what test accuracy does, and what to know beside it."""

from __future__ import annotations

from overparam.report.phases import ArmPhases
from overparam.report.words import count, density, listing, percent

INTERPOLATES = 0.99
"""Train accuracy on its (noisy) labels from which a dense network counts as fitting them."""


def finding(found: ArmPhases) -> str:
    """Say in one plain sentence what the mean test accuracy does as density drops."""
    shape = found.shape
    dense, last = shape.dense, shape.last
    start = f"{percent(dense.accuracy)} ({'dense' if dense.level == 0 else density(dense.density) + ' density'})"
    if shape.trough and shape.peak:
        return (
            f"Test accuracy falls from {start} to {percent(shape.trough.accuracy)} at "
            f"{density(shape.trough.density)} density, then rises to {percent(shape.peak.accuracy)} at "
            f"{density(shape.peak.density)}: {_name(found)}."
        )
    if last.level == dense.level:
        return f"Test accuracy is {start}; no pruned network was measured."
    end = f"{percent(last.accuracy)} at {density(last.density)} density"
    if shape.collapse is None:
        return f"Test accuracy goes from {start} to {end} and neither falls nor rises much: no double descent."
    return (
        f"Test accuracy stays near {start} down to {density(shape.collapse)} density, then falls to {end}: "
        "no double descent."
    )


def _name(found: ArmPhases) -> str:
    """Name a fall and rise as surely as its seeds allow."""
    if found.fall.n < 2:
        return "the shape of sparse double descent, on one seed"
    if found.verdict == "yes":
        return "sparse double descent"
    if found.verdict == "no":
        return "too little to call it a double descent"
    if found.fall.above(0) and found.rise.above(0):
        return "sparse double descent, except that its second fall was not reached"
    return f"the shape of sparse double descent, but not certain with {count(found.fall.n, 'seed')}"


def notes(found: ArmPhases) -> list[str]:
    """Return the sentences that a reader of the finding must know, e.g. that the labels were never fitted."""
    arm, shape = found.arm, found.shape
    said = []
    if shape.dense.level > 0:
        said.append(
            f"The dense network was not measured; level {shape.dense.level} "
            f"({density(shape.dense.density)} density) stands in for it."
        )
    fits = [value for value in arm.at("train_accuracy", shape.dense.level).values() if value is not None]
    if not fits:
        said.append("Train accuracy was not measured, so where its decline starts is unknown.")
    elif (mean := sum(fits) / len(fits)) < INTERPOLATES:
        said.append(
            f"The dense network fits only {percent(mean)} of its training labels; the first fall shows best "
            "when it fits them all (train longer)."
        )
    if shape.peak and shape.peak.level == shape.last.level:
        said.append("Test accuracy still rises at the last level: prune further to see the second fall.")
    ends = {seed: one.last.level for seed, one in found.by_seed.items()}
    short = [str(seed) for seed in arm.seeds if ends.get(seed, -1) < max(arm.levels)]
    if short:
        which = f"seed{'s' if len(short) > 1 else ''} {listing(short)}"
        said.append(f"Of {count(len(arm.seeds), 'seed')}, {which} did not reach the last level.")
    return said
