"""Which columns of a study are methods and which conditions, and what colour, dash and panel of a chart say."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from overparam.errors import SpecError
from overparam.registry import suggest
from overparam.report.arms import Arm, does, labels

DATA = frozenset({"world", "dataset", "noise_rate"})
"""First parts of columns that tell on what data networks were trained."""

CONDITIONS = DATA | {"network", "train"}
"""First parts of columns that tell under what methods are compared: data, network and training."""

FAMILY, BRANCH = "family", "branch"
"""What ``variant`` says where a study has branches: the trunk that they go out from, and their own names."""

TRUNK = "itself"
"""The branch of a trunk."""

TOGETHER = 6
"""Most arms in one panel; more are drawn as small multiples."""

DASHED = 4
"""How many dashes there are."""

Values = Sequence[Mapping[str, Any]]
Columns = str | Sequence[str] | None


@dataclass(frozen=True)
class Look:
    """How one arm is drawn: the words that its colour, its dash and its panel stand for; empty: all are alike."""

    colour: str = ""
    dash: str = ""
    panel: str = ""


@dataclass(frozen=True)
class Roles:
    """The columns that colour (and the marker's shape), dash and panel tell."""

    colour: tuple[str, ...] = ()
    dash: tuple[str, ...] = ()
    facet: tuple[str, ...] = ()

    def looks(self, values: Values) -> list[Look]:
        """Return how each arm is drawn."""
        said = [words_of(values, names) for names in (self.colour, self.dash, self.facet)]
        return [Look(*words) for words in zip(*said, strict=True)]


def is_condition(name: str) -> bool:
    """Whether a column tells under what methods are compared, and is not a method's own."""
    return name.partition(".")[0] in CONDITIONS


def values_of(arms: Sequence[Arm]) -> list[dict[str, Any]]:
    """Return what tells each arm from others: its values, and ``family`` and ``branch`` where there are branches."""
    variants = list(dict.fromkeys(arm.values["variant"] for arm in arms if arm.values.get("variant") is not None))
    split = families(variants)
    branches = len({trunk for trunk, _ in split.values()}) < len(split)
    made = []
    for arm in arms:
        values, variant = dict(arm.values), arm.values.get("variant")
        if branches and variant is not None:
            values[FAMILY], values[BRANCH] = split[variant][0], split[variant][1] or TRUNK
        if variant == "" and any(variants):
            values["variant"] = does(values)
        made.append(values)
    return made


def families(variants: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Return for each variant the one that it branches off, and its name as a branch, ``""`` for a trunk.

    >>> families(["snip", "snip, reinit", "imp"])
    {'snip': ('snip', ''), 'snip, reinit': ('snip', 'reinit'), 'imp': ('imp', '')}
    """
    found = {}
    for name in variants:
        trunks = [other for other in variants if name.startswith(f"{other}, ")]
        trunk = max(trunks, key=len, default="" if "" in variants else name)
        found[name] = (trunk, name.removeprefix(trunk).removeprefix(", "))
    return found


def words_of(values: Values, names: Iterable[str]) -> list[str]:
    """Return what each arm is called by these columns alone; empty where they are the same for all."""
    columns = list(names)
    rows = [{name: each.get(name) for name in columns} for each in values]
    distinct = list({str(row): row for row in rows}.values())
    if len(distinct) < 2:
        return [""] * len(rows)
    said = dict(zip(map(str, distinct), labels(distinct, columns), strict=True))
    return [said[str(row)] for row in rows]


def varying(values: Values) -> list[str]:
    """Return the columns that are not the same for all arms."""
    names = dict.fromkeys(name for each in values for name in each)
    return [name for name in names if len({str(each.get(name)) for each in values}) > 1]


def by_condition(arms: Sequence[Arm]) -> list[tuple[str, list[Arm], list[str]]]:
    """Return for each condition its words, the arms that are compared under it, and what they are called there.

    Where each condition has one arm, it is the conditions that are compared.
    """
    found = _grouped(arms, is_condition)
    together = len(found) == 1 or all(len(inside) == 1 for _, inside, _ in found)
    return [("", list(arms), [arm.label for arm in arms])] if together else found


def by_data(arms: Sequence[Arm]) -> list[tuple[str, list[Arm], list[str]]]:
    """Return the same for each kind of data alone, whatever network and training."""
    return _grouped(arms, lambda name: name.partition(".")[0] in DATA)


def _grouped(arms: Sequence[Arm], tells: Callable[[str], bool]) -> list[tuple[str, list[Arm], list[str]]]:
    values, found = values_of(arms), []
    differing = [name for name in varying(values) if name not in (FAMILY, BRANCH)]
    under = words_of(values, filter(tells, differing))
    for word in dict.fromkeys(under):
        inside = [place for place, own in enumerate(under) if own == word]
        names = words_of([values[place] for place in inside], [name for name in differing if not tells(name)])
        shown = [name or arms[place].label for name, place in zip(names, inside, strict=True)]
        found.append((word, [arms[place] for place in inside], shown))
    return found


def roles(values: Values, colour: Columns = None, dash: Columns = None, facet: Columns = None) -> Roles:
    """Return what colour, dash and panel tell, so that together they tell all arms apart.

    What is not asked for is found: colour is the method, dash the condition, and where there are more than
    :data:`TOGETHER` arms the panels are conditions, or the trunks of branches, or one column, or all methods.

    Args:
        values: of :func:`values_of`.
        colour, dash, facet: a column or several; ``family`` and ``branch`` are columns where a study has branches.

    Raises:
        SpecError: a column tells no arms apart, or all of them together leave arms that look alike.
    """
    there = varying(values)
    given = {"colour": colour, "dash": dash, "facet": facet}
    asked = {role: _checked(role, names, there) for role, names in given.items() if names is not None}
    return _completed(values, asked, there) if asked else _found(values, there)


def _checked(role: str, names: str | Sequence[str], there: Sequence[str]) -> tuple[str, ...]:
    asked = (names,) if isinstance(names, str) else tuple(names)
    for name in asked:
        if name not in there:
            raise SpecError(
                f"{role} {name!r} does not tell the arms of this study apart{suggest(str(name), there)} "
                f"(what does: {', '.join(there) or 'nothing, there is one arm'})"
            )
    return asked


def _completed(values: Values, asked: Mapping[str, tuple[str, ...]], there: Sequence[str]) -> Roles:
    """Return roles in which columns that were not asked for fill what is left: methods colour, conditions dash."""
    told = [name for names in asked.values() for name in names]
    whole = "variant" if FAMILY not in told and BRANCH not in told else None
    rest = _needed(values, told, [name for name in there if name not in (FAMILY, BRANCH) or not whole])
    filled: dict[str, tuple[str, ...]] = dict(asked)
    for condition, order in ((False, ("colour", "dash", "facet")), (True, ("dash", "facet", "colour"))):
        names = tuple(name for name in rest if is_condition(name) is condition)
        free = next((role for role in order if role not in asked), None)
        if names and free is None:
            raise SpecError(
                f"arms that differ in {', '.join(names)} would look alike; add it to colour, dash or facet, each of "
                "which takes a list of columns too"
            )
        if names and free is not None:
            filled[free] = (*filled.get(free, ()), *names)
    return Roles(**filled)


def _needed(values: Values, told: Sequence[str], names: Sequence[str]) -> list[str]:
    """Return those of ``names`` that tell arms apart which are alike in ``told`` and in the ones before."""
    found: list[str] = []
    for name in sorted(names, key=lambda name: name in ("variant", "criterion", "retraining", "mask")):
        known = [*told, *found]
        if name not in known and _kinds(values, [*known, name]) > _kinds(values, known):
            found.append(name)
    return found


def _kinds(values: Values, names: Iterable[str]) -> int:
    columns = list(names)
    return len({tuple(str(each.get(name)) for name in columns) for each in values})


def _found(values: Values, there: Sequence[str]) -> Roles:
    plain = [name for name in there if name not in (FAMILY, BRANCH)]
    conditions = tuple(name for name in plain if is_condition(name))
    methods = tuple(_needed(values, conditions, [name for name in plain if name not in conditions]))
    if not methods or _kinds(values, conditions) > DASHED:
        together = Roles((*methods, *conditions))
    else:
        together = Roles(methods, conditions)
    if len(values) <= TOGETHER:
        return together
    splits = [conditions] if _kinds(values, methods) > 1 else []
    splits += [(FAMILY,)] if FAMILY in there else []
    splits += [(name,) for name in sorted((*methods, *conditions), key=lambda name: _kinds(values, [name]))]
    fitting = [split for split in splits if split and _largest(values, split) <= TOGETHER and _kinds(values, split) > 1]
    return _completed(values, {"facet": fitting[0] if fitting else methods or conditions}, there)


def _largest(values: Values, split: Sequence[str]) -> int:
    """Return how many arms the fullest panel has."""
    panels = [tuple(str(each.get(name)) for name in split) for each in values]
    return max(panels.count(panel) for panel in panels)
