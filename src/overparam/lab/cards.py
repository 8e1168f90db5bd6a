"""The cards of a study and of its results; making one never fails, trains nothing and builds no data."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from overparam.errors import OverparamError, counted
from overparam.report.card import Card

if TYPE_CHECKING:
    from overparam.lab.results import Results
    from overparam.lab.study import Study
    from overparam.report.arms import Arm

USUAL = {"normalize": True, "seed": 0}  # of a world, not worth a word
MOST = 8  # items of a list
READ_ON = ".table(), .frame, .curves, .best(), .module(...), .compare(), .claims(), .report(FILE)"


def results_card(results: Results) -> Card:
    """Return what results print of themselves: how whole they are, what was compared, and what to ask next."""
    from overparam.report.tables import words_table

    try:
        arms, trouble = results.material.arms, ""
        tables = [words_table(arm) for arm in arms]
    except OverparamError as error:
        arms, tables, trouble = [], [], str(error)
    lines = {
        "arms": _few(arm.label for arm in arms) or trouble,
        "seeds": _few(dict.fromkeys(str(seed) for arm in arms for seed in arm.seeds)),
        **_axis(arms),
        "missing": counted(results.missing, "row") if results.missing else "",
        "failed": results.failures[0] if results.failures else "",
        "remarks": " ".join(results.remarks),
        "notes": " ".join(results.notes),
        "read on": READ_ON,
    }
    told = {word: text for word, text in lines.items() if text}
    return Card(f"Results of {results.shown or results.name}", told, tables, results.spec, "the study as YAML")


def _axis(arms: Sequence[Arm]) -> dict[str, str]:
    """Return where on their axis arms were measured."""
    places = [place for arm in arms for place in arm.positions if place is not None]
    if not places:
        return {}
    axis, most = arms[0].axis, max(len(arm.places) for arm in arms)
    ends = sorted((min(places), max(places)), reverse=axis.falling)
    spread = axis.write(ends[0]) if ends[0] == ends[1] else f"{axis.write(ends[0])} to {axis.write(ends[1])}"
    return {axis.word: f"{spread}, {counted(most, 'place')}"}


def study_card(study: Study) -> Card:
    """Return what a study prints of itself: its world, network and chain, and how many trainings it plans."""
    from overparam.lab.readable import readable

    document = {name: readable(value) for name, value in study.document.items()}
    lines = {
        "about": study.description,
        "world": _in_words(document["world"], "dataset"),
        "network": _in_words(document["network"], "name"),
        "chain": " → ".join(_steps(document["chain"])),
        "sweep": "; ".join(f"{path}: {_few(map(_value, values), ', ')}" for path, values in study.sweep.items()),
        "variants": _few(study.variants),
        "probes": _few(probe.kind for probe in study.probes),
        "paper": study.about.paper,
        "plan": _extent(study),
    }
    return Card(f"Study {study.name}", {word: text for word, text in lines.items() if text}, source=study.yaml())


def _few(items: Iterable[str], between: str = "; ") -> str:
    """Join items, or the first of many and how many more there are.

    >>> _few("abcdefghij")
    'a; b; c; d; e; f; g; h; and 2 more'
    """
    every = list(items)
    more = [f"and {len(every) - MOST} more"] if len(every) > MOST else []
    return between.join([*every[:MOST], *more])


def _extent(study: Study) -> str:
    """Say how many chains and trainings there are; those that chains share are counted once in each."""
    try:
        chains = study.experiments
    except OverparamError as error:
        return f"cannot be run: {error}"
    trainings = sum(step.trains for each in chains for step in list(each.chain.flat())[each.begins :])
    return f"{counted(len(chains), 'chain')}, {counted(trainings, 'training')} at most; .run(), .checked(), .yaml()"


def _in_words(value: Any, main: str) -> str:
    """Return a world or a network as its main field and what is not as usual."""
    if not isinstance(value, Mapping) or "digest" in value:
        return _value(value)
    head = value.get(main, "")
    fields = {**{name: each for name, each in value.items() if name != "options"}, **(value.get("options") or {})}
    rest = {name: each for name, each in fields.items() if name != main and each not in (None, {})}
    told = [f"{name} {_value(each)}" for name, each in rest.items() if USUAL.get(name) != each or name not in USUAL]
    return ", ".join(filter(None, [_value(head), *told]))


def _value(value: Any) -> str:
    """Return a value in a few words; of one with a name and a digest, the name."""
    if not isinstance(value, Mapping):
        return str(value)
    if "digest" in value:
        return str(value.get("name", "data"))
    return " ".join(f"{name} {_value(each)}" for name, each in value.items() if each not in (None, {}))


def _steps(entries: Any) -> Iterator[str]:
    """Yield the steps of a chain as YAML has it, repeats in brackets, without their settings."""
    for entry in entries if isinstance(entries, list) else [entries]:
        if not isinstance(entry, Mapping):
            yield str(entry)
        elif "steps" in entry:
            head = f"{entry['repeat']} ×" if "repeat" in entry else f"branch {entry.get('branch')}:"
            yield f"{head} ({' → '.join(_steps(entry['steps']))})"
        else:
            yield from map(str, entry)
