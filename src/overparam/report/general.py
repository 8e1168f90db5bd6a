"""The sections that every study has, whatever its axis; a paper's own stand among them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from overparam.report.arms import Arm
from overparam.report.claims import Verdict
from overparam.report.comparison import compared, comparison_table, headline
from overparam.report.curves import curve
from overparam.report.finding import finding
from overparam.report.learning import LEVELS, POINTS, Learned, measured
from overparam.report.marks import Marks
from overparam.report.measure import measure_of
from overparam.report.panels import (
    DISTANCE,
    KEPT_DISTANCE,
    LOSS,
    PARTS,
    SOFT_ERROR,
    drawn,
    other_panels,
    rows_with,
)
from overparam.report.pareto import cost_table, tradeoffs, words
from overparam.report.roles import TOGETHER
from overparam.report.sections import ArmCharts, Column, Comparison, Material, Picture, Section, Table
from overparam.report.statistics import spread_is
from overparam.report.tables import Extra, words_table
from overparam.report.turning import LEAST
from overparam.report.words import listing


def general_sections(material: Material, verdicts: Sequence[Verdict] = ()) -> list[Section]:
    """Return the sections of any study: headline and curves, arms side by side, claims, other panels, every place."""
    if not material.arms:
        return [nothing()]
    told = [finding(arm, material.lacks) for arm in material.arms]
    tiles = size_tiles(material.arms[0]) if material.lacks is None else []
    said = headline(compared(material.arms, measure_of(material.arms))) if material.lacks is None else ""
    first = f"Numbers and curves here are of the arm “{material.arms[0].label}”"
    text = [f"{first}{f': {told[0]}' if said else '.'}"] if len(material.arms) > 1 else []
    return [
        lead(material, said or told[0], text=text, tiles=tiles),
        *side_by_side(material.arms, material.lacks),
        *claims(verdicts),
        *costs(material.arms),
        *learning_curves(material),
        *other_charts(material.arms),
        places(material.arms, told),
    ]


def nothing() -> Section:
    """Return the headline of a study of which nothing is there."""
    return Section("No checkpoint was measured, so there is nothing to show yet.")


def lead(
    material: Material,
    headline: str,
    *,
    text: Sequence[str] = (),
    tiles: Sequence[Table] = (),
    marks: Mapping[str, Marks] | None = None,
    note: str = "",
) -> Section:
    """Return the first section: headline, sentences, large numbers, and the main panels of each arm, with marks."""
    shown = material.arms
    panels = drawn([measure_of(shown).panel, DISTANCE, KEPT_DISTANCE], shown)
    axis = f"{axis_words(material)} {note}".strip()
    lines = f"Lines are means over the seeds{bands(shown)}." if panels else ""
    charts = [ArmCharts(panel, shown, marks or {}) for panel in panels]
    return Section(headline, [*_remarks(material), *text], tiles, charts, f"{lines} {axis}".strip() if panels else "")


def _remarks(material: Material) -> list[str]:
    said = []
    if material.axis.column != material.named:
        axis = material.axis
        said.append(f"Nothing was pruned, so tables and charts are over {axis.title} (axis: {axis.column}).")
    of = measure_of(material.arms)
    if not any(arm.has(of.column) for arm in material.arms):
        missing = "evaluate_every to the training" if material.named == "iteration" else "the accuracy probe"
        said.append(f"{of.title} was not measured, so there is no curve of it to show; add {missing}.")
    if any(arm.every is not None for arm in material.arms):
        said.append("Where a chain was measured more than once at one place, charts show the last; tables have all.")
    return said


def axis_words(material: Material) -> str:
    """Say what the axis is and which way it runs."""
    axis = material.axis.scaled([place for arm in material.arms for place in arm.positions])
    runs = f"{'is linear' if axis.scale == 'linear' else 'is logarithmic'}{' and falls to the right' * axis.falling}"
    return f"The axis, {axis.title}, {runs}; point at a place for its values."


def bands(shown: Sequence[Arm]) -> str:
    """Say what the bands of charts are, as tables say what stands beside a mean."""
    counts = sorted({len(arm.seeds) for arm in shown})
    if counts[-1] == 1:
        return "; one seed, so there are no bands"
    several = [spread_is(seeds) for seeds in counts if seeds > 1]
    return f", bands are {' or '.join(dict.fromkeys(several))}"


def tiles_of(tiles: Sequence[tuple[str, str, str]]) -> Table:
    """Return large numbers, given as (title, value, detail), as a table."""
    return Table(
        [Column(title) for title, _, _ in tiles], [[(value, detail) for _, value, detail in tiles]], look="tiles"
    )


def size_tiles(arm: Arm) -> list[Table]:
    """Return first, best and last test accuracy, or loss, and the least size within a point of the best accuracy."""
    axis, of = arm.axis, measure_of([arm])
    rows = [
        (float(str(row[axis.column])), float(str(row[of.column])), row.get("kept"))
        for row in (rows_with(curve(arm, [of.column]), of.column) if arm.has(of.column) else ())
    ]
    if not rows:
        return []
    best = max(rows, key=lambda row: of.sign * row[1])
    ends = [(f"{of.title} at {axis.at(x)}", of.write(y), _weights(kept)) for x, y, kept in (rows[0], rows[-1])]
    named = f"{of.superlative.capitalize()} {of.title.lower()}"
    tiles = [*ends[: len(rows)], (named, of.write(best[1]), f"at {axis.at(best[0])}")]
    if axis.size and of.share and len(rows) > 1:
        least = min((row for row in rows if row[1] >= best[1] - LEAST), key=lambda row: row[0])
        tiles.append(("Within 1 point of the best", axis.write(least[0]), _weights(least[2]) or axis.word))
    return [tiles_of(tiles)]


def _weights(kept: object) -> str:
    return f"{kept:,} weights" if isinstance(kept, int) else ""


def side_by_side(shown: Sequence[Arm], lacks: str | None = None) -> list[Section]:
    """Return the arms against each other, in a chart and place by place; nothing for a single one."""
    of = measure_of(shown)
    measured = [arm for arm in shown if arm.has(of.column)]
    if len(measured) < 2:
        return []
    many = len(measured) > TOGETHER
    behind = " Faint: the arms of the other panels; the axis leaves out far ends that few arms reach." if many else ""
    note = f"Means over seeds{bands(measured)}.{behind} Click a name to single it out."
    found = compared(measured, of)
    tables = [comparison_table(each, lacks) for each in found if each.places]
    return [
        Section(
            "Arms side by side",
            tables=tables,
            charts=[Comparison(measured, of.column, f"{of.title}, arm by arm")],
            note=note,
        )
    ]


def costs(shown: Sequence[Arm]) -> list[Section]:
    """Return what networks cost beside what they do; nothing where that is no more than the curve of a single arm."""
    of = measure_of(shown)
    found = [each for each in tradeoffs(shown, of) if len(each.drawn) > (len(shown) == 1)]
    if not found:
        return []

    def draw(_: Arm | None, width: int | str) -> Any:
        from overparam.report.pareto_chart import pareto_chart  # which loads Altair

        return pareto_chart(found, f"{of.title} over cost")

    note = f"{words(found[0])} The line joins the networks that no other beats in both; faint ones are beaten."
    says = f"{of.title} over what networks cost; the numbers are in the table below."
    letters = max(len(each.arm) for each in found[0].networks)
    chart = Picture("cost", says, draw, letters=letters)
    return [Section("What it costs", tables=[cost_table(each) for each in found], charts=[chart], note=note)]


def learning_curves(material: Material) -> list[Section]:
    """Return what was measured while networks trained, level by level; nothing where nothing was."""
    curves, shown = material.curves, material.arms
    if curves.is_empty() or material.named == "iteration":  # whose main chart it is
        return []
    single = False if len(shown) <= TOGETHER else None

    def picture(what: Learned) -> Picture:
        def draw(arm: Arm | None, width: int | str) -> Any:
            from overparam.report.learning_chart import learning_chart  # which loads Altair

            return learning_chart(curves, arm or shown[0], what, width, each_seed=single)

        letters = max(map(len, what.series.values()))
        return Picture(what.name, f"{what.title}, over iterations, level by level.", draw, shown, letters)

    pictures = [picture(what) for what in measured(curves)]
    note = f"Means over seeds{bands(shown)}, not smoothed: of at most {LEVELS} levels and {POINTS} iterations."
    lines = "" if single is not None else " The lines of single seeds are drawn by results.learning_chart(arm=...)."
    return [Section("Learning curves", charts=pictures, note=note + lines)] if pictures else []


def claims(verdicts: Sequence[Verdict]) -> list[Section]:
    """Return the claims that were tested, if any were."""
    return [Section("Claims from the literature", verdicts=verdicts)] if verdicts else []


def other_charts(shown: Sequence[Arm]) -> list[Section]:
    """Return loss and soft error, and whatever else probes measured."""
    losses, others = drawn([PARTS, LOSS, SOFT_ERROR], shown), other_panels(shown)
    losses = [panel for panel in losses if panel is not measure_of(shown).panel]  # which stands at the top
    title = listing([panel.title.lower() for panel in losses]).capitalize() if losses else ""
    made = [Section(title, charts=[ArmCharts(panel, shown) for panel in losses])] if losses else []
    return made + ([Section("Other measurements", charts=[ArmCharts(p, shown) for p in others])] if others else [])


def places(shown: Sequence[Arm], told: Sequence[str], extras: Mapping[str, Extra] | None = None) -> Section:
    """Return the tables of every arm, a row for each measured place; ``told`` has a sentence for each arm."""
    title = "Every level" if shown[0].key == "level" else f"Every {shown[0].axis.word}"
    tables = [words_table(arm, (extras or {}).get(arm.label), said) for arm, said in zip(shown, told, strict=True)]
    return Section(title, tables=tables)
