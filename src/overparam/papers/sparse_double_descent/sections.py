"""The sections of Sparse Double Descent: headline and large numbers, phases, and the question that they answer."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from overparam.papers.sparse_double_descent.finding import asks, finding, notes
from overparam.papers.sparse_double_descent.phases import ArmPhases, Phase, find_phases
from overparam.papers.sparse_double_descent.shape import FITTED, Turn
from overparam.report.claims import Verdict
from overparam.report.general import (
    claims,
    costs,
    lead,
    learning_curves,
    nothing,
    other_charts,
    places,
    side_by_side,
    tiles_of,
)
from overparam.report.marks import Band, Marks, Point
from overparam.report.sections import Cell, Column, Material, Section, Table
from overparam.report.tables import Extra
from overparam.report.turning import LEAST
from overparam.report.words import count, density, percent

PHASES = ("light", "critical", "sweet", "collapsed")
LOOKS = dict(zip(PHASES, ("plain", "bad", "good", "gone"), strict=True))
DISTANCE = "Learning distance: how far the weights moved from their initial values, pruned weights counted as 0."
ABOUT_PHASES = (
    "Density falls from left to right. Only a curve that falls, rises and falls again has phases. Light: test accuracy "
    "is nearer to the dense network's than to the worst before the best. Critical: from there to the worst. Sweet: "
    "from the worst until test accuracy falls below the dense network's for good. Collapsed: from there on. “Ends” is "
    "the 95 % interval over seeds; one level stands alone where it is that sure. Labels are fitted while train "
    "accuracy is over 99.5 %."
)
ABOUT_SIZES = (
    "Differences in points between the first level, the turning points and the last level, with 95 % intervals. All "
    "levels are put to the question at once: p is that of the nearest curve without one of the three parts. “Yes” "
    "needs p ≤ 0.05 and a fall and rise of a point or more; “no” a rise after a fall that is bounded below one point; "
    "“not decided” is a curve that still moves at its last level."
)


def sections(material: Material, verdicts: Sequence[Verdict] = ()) -> list[Section]:
    """Return the sections of a study of this paper, the first with the headline of its main arm.

    The axis is density; of a study that prunes nothing there is only what any study has.
    """
    if not material.arms:
        return [nothing()]
    lacks = material.lacks
    by_arm = {arm.label: found for arm in material.arms if (found := find_phases(arm, lacks)) is not None}
    shown = list(by_arm.values())
    main = main_arm(shown)
    if main is None:
        told = ["Test accuracy was not measured."] * len(material.arms)
        head = lead(material, "Test accuracy was not measured, so there is no curve to show.")
        return [head, *other_charts(material.arms), places(material.arms, told)]
    said = [finding(by_arm[arm.label]) if arm.label in by_arm else "" for arm in material.arms]
    marks = {label: marks_of(found) for label, found in by_arm.items()}
    text = [*notes(main), *_others(shown, main), *_missing(main)]
    return [
        lead(material, finding(main), text=text, tiles=[_tiles(main)], marks=marks, note=DISTANCE),
        *side_by_side(material.arms, lacks),
        _phases(shown),
        _sizes(shown),
        *claims(verdicts),
        *costs(material.arms),
        *learning_curves(material),
        *other_charts(material.arms),
        places(material.arms, said, {label: _extra(found) for label, found in by_arm.items() if found.phases}),
    ]


def main_arm(found: Sequence[ArmPhases]) -> ArmPhases | None:
    """Return the arm that the page opens with: with label noise, in the paper's main setting, as far as there is."""

    def rank(one: ArmPhases) -> tuple[bool, ...]:
        values = one.arm.values
        return (
            not values.get("noise_rate"),
            values.get("criterion") not in (None, "magnitude"),
            values.get("retraining") not in (None, "rewind"),
            one.verdict != "yes",
        )

    return min(found, key=rank, default=None)


def main_label(material: Material) -> str:
    """Return the label of the arm that charts show first."""
    found = [one for arm in material.arms if (one := find_phases(arm, material.lacks)) is not None]
    main = main_arm(found)
    return main.arm.label if main else ""


def marks_of(found: ArmPhases) -> Marks:
    """Return the phases as ranges, with the turning points; one grey range that says so where nothing is decided."""
    shape = found.shape
    if not found.phases:
        whole = Band(found.verdict, "open", shape.dense.density, shape.last.density)
        return Marks([] if found.verdict == "no" else [whole], word="phase")
    ranges = [Band(one.name, LOOKS[one.name], one.start, one.end) for one in found.phases]
    # The curves of train accuracy run below the trough and above the peak: words go to the other side.
    first = "first" if shape.dense.level > 0 else "dense"
    points = [Point(shape.dense.density, shape.dense.accuracy, f"{first} {percent(shape.dense.accuracy)}", "start")]
    for word, turn, below in (("trough", shape.trough, False), ("peak", shape.peak, True)):
        points += _point(word, turn, below)
    return Marks(ranges, points, word="phase")


def _point(word: str, turn: Turn | None, below: bool) -> list[Point]:
    if turn is None:
        return []
    return [Point(turn.density, turn.accuracy, f"{word} {percent(turn.accuracy)}", "below" if below else "above")]


def _others(shown: Sequence[ArmPhases], main: ArmPhases) -> list[str]:
    """Say which arm the headline is about and, under label noise, how the rest of the study agrees with it."""
    if len(shown) < 2:
        return []
    said = f"The headline is the arm “{main.arm.label}”."
    if main.lacks is not None or not any(asks(one) for one in shown):
        return [said]
    groups = [
        (title, [one for one in shown if asks(one) is noisy]) for title, noisy in (("with", True), ("without", False))
    ]
    parts = [
        f"{sum(one.verdict == 'yes' for one in group)} of {count(len(group), 'arm')} {title} label noise"
        for title, group in groups
        if group
    ]
    return [f"{said} A double descent over density shows in {' and '.join(parts)}."]


def _missing(main: ArmPhases) -> list[str]:
    if main.arm.has("learning_distance"):
        return []
    return ["The learning distance was not measured, so it is not drawn (probe learning-distance)."]


def _tiles(main: ArmPhases) -> Table:
    shape = main.shape
    first = "Dense network" if shape.dense.level == 0 else f"First level ({density(shape.dense.density)})"
    tiles = [(first, percent(shape.dense.accuracy), "test accuracy")]
    if main.lacks is not None:
        return tiles_of(tiles)
    if main.phases and shape.trough and shape.peak:
        for word, turn in (("Worst before the best", shape.trough), ("Best after it", shape.peak)):
            tiles.append((word, percent(turn.accuracy), f"at {density(turn.density)} density"))
    mean = main.arm.mean()
    enough = mean.filter(pl.col("test_accuracy") >= shape.dense.accuracy - LEAST).sort("density")
    kept = enough["kept"][0] if "kept" in enough.columns else None
    detail = f"down to {round(kept):,} weights" if kept is not None else "down to this density"
    return tiles_of([*tiles, ("Within 1 point of dense", density(enough["density"][0]), detail)])


def _phases(shown: Sequence[ArmPhases]) -> Section:
    names = [name for name in PHASES if any(phase.name == name for one in shown for phase in one.phases)]
    heads = [Column(head, words=True) for head in ("Arm", *(names or ["Phases"]), "Labels fitted down to")]
    rows = [[one.arm.label, *_phase_cells(one, names), _fitted(one)] for one in shown]
    return Section("Phases", [ABOUT_PHASES], [Table(heads, rows)])


def _phase_cells(one: ArmPhases, names: Sequence[str]) -> list[Cell]:
    found = {phase.name: _phase_cell(phase) for phase in one.phases}
    cells: list[Cell] = [found.get(name, "–") for name in names or ["Phases"]]
    if not one.phases:
        cells[0] = f"none ({one.verdict})"
    return cells


def _phase_cell(phase: Phase) -> Cell:
    over = phase.end_over_seeds
    ends = ""
    if over and over.high is not None and over.low is not None:
        low, high = density(over.low), density(over.high)
        ends = f"ends at {low}" if low == high else f"ends {high} to {low}"
    return f"{density(phase.start)} → {density(phase.end)}", ends


def _fitted(one: ArmPhases) -> Cell:
    shape, onset = one.shape, one.over_seeds("onset")
    if not onset.mean:
        return "–" if shape.fitted is None or shape.turning is None else "never left"
    told = [f"{density(onset.high)} to {density(onset.low)}"] if onset.known else []
    if shape.threshold and shape.threshold != FITTED:
        told.append(f"over {percent(shape.threshold)} only")
    return density(onset.mean), ", ".join(told)


def _sizes(shown: Sequence[ArmPhases]) -> Section:
    heads = [Column("Arm", words=True), *(Column(head) for head in ("fall", "rise", "second fall", "p"))]
    heads += [Column("answer", words=True), Column("seeds")]
    rows = [
        [
            one.arm.label,
            *("–" if size.n == 0 else size.text() for size in (one.fall, one.rise, one.second_fall)),
            _p_value(one),
            one.verdict,
            str(len(one.arm.seeds)),
        ]
        for one in shown
    ]
    title = "Does test accuracy fall, rise and fall again over density?"
    return Section(title, [ABOUT_SIZES], [Table(heads, rows)])


def _p_value(one: ArmPhases) -> str:
    turning = one.shape.turning
    return "–" if turning is None or turning.p_value is None else f"{turning.p_value:.3f}"


def _extra(found: ArmPhases) -> Extra:
    """Return the phase of each level, and which are trough and peak."""
    means = found.arm.mean()
    words = {row["level"]: phase_at(found, row["density"]) for row in means.iter_rows(named=True)}
    turns = {turn.level: word for turn, word in ((found.shape.trough, "trough"), (found.shape.peak, "peak")) if turn}
    return Extra("phase", words | turns, frozenset(turns), "trough: the worst before the best")


def phase_at(found: ArmPhases, at: float) -> str:
    """Return the phase that a density lies in, ``""`` without phases; a border belongs to the phase it ends."""
    return next((phase.name for phase in found.phases if at >= phase.end - 1e-12), "")
