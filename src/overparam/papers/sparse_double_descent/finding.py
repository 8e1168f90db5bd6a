"""The finding of an arm in plain sentences: what test accuracy does, and what to know beside it."""

from __future__ import annotations

from overparam.papers.sparse_double_descent.phases import ArmPhases
from overparam.papers.sparse_double_descent.shape import Shape
from overparam.report.turning import LEAST
from overparam.report.words import count, density, percent, points

INTERPOLATES = 0.99
"""Train accuracy on its (noisy) labels from which a dense network counts as fitting them."""


def finding(found: ArmPhases) -> str:
    """Say in one plain sentence what the mean test accuracy does as density drops, as far as the seeds tell."""
    shape, verdict = found.shape, found.verdict
    if verdict == "incomplete":
        return f"Incomplete: {found.lacks}. What test accuracy does is told when the study is whole."
    if shape.last.level == shape.dense.level:
        return f"Test accuracy is {_start(shape)}; no pruned network was measured."
    if verdict == "yes":
        name = ": sparse double descent over density" if asks(found) else ""
        return f"{_turns(shape)}, and falls again to {_end(shape)}{name}."
    if verdict == "not decided":
        course = _turns(shape) if shape.trough else f"Test accuracy goes from {_start(shape)} to {_end(shape)}"
        return f"{course}. Not decided: still {found.moving} at {density(shape.last.density)}."
    if verdict == "no":
        return f"{_course(shape)}{': no double descent over density' if asks(found) else ''}."
    return f"{_turns(shape) if shape.trough else _course(shape)}; {_doubt(found)}."


def asks(found: ArmPhases) -> bool:
    """Whether double descent is spoken of: only where there is label noise, which it is about."""
    return (found.arm.values.get("noise_rate") or 0) > 0


def _turns(shape: Shape) -> str:
    assert shape.trough is not None
    assert shape.peak is not None
    return (
        f"Test accuracy falls from {_start(shape)} to {percent(shape.trough.accuracy)} at "
        f"{density(shape.trough.density)} density, then rises to {percent(shape.peak.accuracy)} at "
        f"{density(shape.peak.density)}"
    )


def _course(shape: Shape) -> str:
    """Say where a curve without a descent goes: up, along, down."""
    last, dense, best = shape.last.accuracy, shape.dense.accuracy, shape.best
    if best.accuracy - dense >= LEAST:
        at = "" if best.level == shape.last.level else f" at {density(best.density)} density"
        text = f"Test accuracy rises by {points(best.accuracy - dense)} points, from {_start(shape)} to "
        if not at:
            return text + _end(shape)
        text += f"{percent(best.accuracy)}{at}"
        return f"{text}, then falls to {_end(shape)}" if best.accuracy - last >= LEAST else f"{text} and stays there"
    collapse = shape.density("collapse")
    if collapse is None:
        return f"Test accuracy stays near {_start(shape)} down to {density(shape.last.density)} density"
    return f"Test accuracy stays near {_start(shape)} down to {density(collapse)} density, then falls to {_end(shape)}"


def _doubt(found: ArmPhases) -> str:
    """Say what the seeds leave open."""
    seeds, turning = len(found.arm.seeds), found.shape.turning
    if turning is None or turning.p_value is None:
        return "one seed cannot tell whether it falls, rises and falls again"
    with_seeds = f"with {count(seeds, 'seed')} it is unclear whether it falls, rises and falls again"
    bound = f"a rise of up to {points(turning.dip.high)} points after a fall is not ruled out"
    return f"{with_seeds} (p = {turning.p_value:.2f}; {bound})"


def _start(shape: Shape) -> str:
    dense = shape.dense
    return f"{percent(dense.accuracy)} ({'dense' if dense.level == 0 else density(dense.density) + ' density'})"


def _end(shape: Shape) -> str:
    return f"{percent(shape.last.accuracy)} at {density(shape.last.density)} density"


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
    elif asks(found) and (mean := sum(fits) / len(fits)) < INTERPOLATES:
        said.append(
            f"The dense network fits only {percent(mean)} of its training labels; the first fall shows best "
            "when it fits them all (train longer)."
        )
    if shape.chosen_on != "test":
        said.append(
            f"All places were found on the {shape.chosen_on} set, and so were the sizes of falls and rises; the "
            "accuracies told are those of the test set."
        )
    if found.verdict == "not decided":
        what = "the second fall" if found.moving == "rising" and shape.trough else "where this ends"
        said.append(f"Test accuracy is still {found.moving} at the last level: prune further to see {what}.")
    return said
