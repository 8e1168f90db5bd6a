"""A comparison as its readers see it: sentences, and a table of places by arms."""

from __future__ import annotations

from collections.abc import Sequence

from overparam.report.arms import Arm
from overparam.report.compared import Compared, Standing
from overparam.report.measure import Measure
from overparam.report.paired import Difference
from overparam.report.roles import by_condition, values_of, varying
from overparam.report.sections import Cell, Column, Table
from overparam.report.words import count, listing, number, seeds

NAMED = 3
"""Most arms, and most conditions, that a sentence names."""


def compared(arms: Sequence[Arm], of: Measure) -> list[Compared]:
    """Return the arms that have ``of``, compared under each condition, but conditions of a single arm."""
    measured = [arm for arm in arms if arm.has(of.column)]
    groups = [group for group in by_condition(measured) if len(group[1]) > 1]
    return [Compared(found, names, of, condition, not _sizes(found)) for condition, found, names in groups]


def _sizes(arms: Sequence[Arm]) -> bool:
    """Whether it is networks of several sizes that are compared."""
    return any(name.partition(".")[0] == "network" for name in varying(values_of(arms)))


def headline(found: Sequence[Compared]) -> str:
    """Say what comparisons under one or several conditions found; empty where they found nothing."""
    told = [(each.condition, text) for each in found if (text := sentence(each))]
    if len(told) <= NAMED:
        return " ".join(f"At {condition}: {text}" if condition else text for condition, text in told)
    first = [each.names[each.order[0]] for each in found if each.ranks]
    most = max(set(first), key=first.count)
    return f"“{most}” ranks first under {first.count(most)} of {len(first)} conditions."


def sentence(found: Compared) -> str:
    """Say which arm is best over the places that most arms share, and by how much, as far as the seeds tell."""
    if not found.ranks:
        return "" if found.of.sign else f"Nobody has said whether more {found.of.title.lower()} is better."
    lead, *others = [arm for arm in found.order if arm in found.ranks]
    behind = {arm: found.difference(arm, lead) for arm in others}
    near = [arm for arm in others if not found.worse(behind[arm], len(others))]
    where = f"over {_places(found)}"
    name, n = f"“{found.names[lead]}”", seeds(len(behind[others[0]].by_seed))
    if not near:
        second = f"“{found.names[others[0]]}”{f', the next of {len(others)}' * (len(others) > 1)}"
        return (
            f"{name} has the best {found.of.title.lower()} {where}: {_gap(found.of, behind[others[0]])} {second} ({n})."
        )
    alike = (
        listing([f"“{found.names[arm]}”" for arm in near])
        if len(near) <= NAMED
        else f"{len(near)} of {len(others)} others"
    )
    return f"{name} ranks first in {found.of.title.lower()} {where}, but {alike} cannot be told from it ({n})."


def _places(found: Compared) -> str:
    axis, places = found.arms[0].axis, [found.places[n][0] for n in found.ranked[1]]
    if len(places) == 1:
        return axis.at(places[0])
    return f"{len(places)} places from {axis.at(places[0])} to {axis.at(places[-1])}"


def _gap(of: Measure, behind: Difference) -> str:
    apart = behind.estimate if of.sign < 0 else -behind.estimate
    return f"{apart.text(of.change)}{of.unit} {'above' if of.sign > 0 else 'below'}"


def comparison_table(found: Compared, lacks: str | None = None) -> Table:
    """Return the table of places by arms: means, and below them the paired difference to the best arm of the place.

    Arms are columns where there are no more of them than places, and else rows, ranked ones first. Of a study that
    ``lacks`` rows no sentence says which arm is best.
    """
    axis, upright = found.arms[0].axis, len(found.arms) <= len(found.places)
    shared = {arm for row in found.standings for arm in row}
    order = [arm for arm in (range(len(found.arms)) if upright else found.order) if arm in shared]
    rows = [[_cell(found, row.get(arm)) for arm in order] for row in found.standings]
    best = {
        (n, place) for n, row in enumerate(found.standings) for place, arm in enumerate(order) if _open(row.get(arm))
    }
    names, places = [found.names[arm] for arm in order], [axis.write(at) for at, _ in found.places]
    if found.ranks:
        rows.append([number(found.ranks[arm].mean, 1) if arm in found.ranks else "–" for arm in order])
        places.append("mean rank")
    if not upright:
        rows, names, places = [list(row) for row in zip(*rows, strict=True)], places, names
        best = {(place, n) for n, place in best}
    heads = [Column(axis.word if upright else "arm", words=not upright), *(Column(name) for name in names)]
    shown = [[place, *row] for place, row in zip(places, rows, strict=True)]
    marked = frozenset((row, column + 1) for row, column in best)
    title = found.condition or f"{found.of.title}, arm by arm"
    return Table(
        heads, shown, title, _note(found), look="compared", finding="" if lacks else sentence(found), best=marked
    )


def _cell(found: Compared, standing: Standing | None) -> Cell:
    if standing is None:
        return "–"
    told = found.of.write(standing.mean)
    if standing.best:
        return told, "best"
    if standing.behind is None:
        return told
    if not any(standing.behind.by_seed.values()):
        return told, "equal"
    return told, f"{'≈ ' * standing.open}{standing.behind.estimate.text(found.of.change)}"


def _open(standing: Standing | None) -> bool:
    return standing is not None and standing.open


def _note(found: Compared) -> str:
    counts = sorted({len(arm.seeds) for arm in found.arms})
    means = f"{found.of.title}, means over {' or '.join(map(str, counts))} {'seed' if counts == [1] else 'seeds'}."
    if not found.of.sign:
        return means
    text = (
        f"{means} Beside each the difference to the best, paired by seeds, with its 95 % interval. “≈” cannot be told "
    )
    text += "from the best: the truly best arm is among these with 95 % confidence (Bonferroni)."
    alone = [f"“{name}”" for arm, name in enumerate(found.names) if not any(arm in row for row in found.standings)]
    if alone:
        text += f" Of no size and place that another arm has: {listing(alone)}."
    if found.ranks:
        over = f"{count(len(found.ranks), 'arm')} over the {count(len(found.ranked[1]), 'place')} that they share"
        text += f" Mean rank: 1 is best; of {over}, seed by seed."
    return text
