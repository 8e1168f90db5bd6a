"""Chains: steps in order, with repeats."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from overparam.errors import SpecError
from overparam.spec import field_names
from overparam.steps import STEPS, Step

MOST_STEPS = 100_000  # of one chain: a typing error in a repeat shall not fill the memory


@dataclasses.dataclass(frozen=True)
class Repeat:
    """``steps`` in order, ``times`` times over; repeats nest. One of 0 times has no steps.

    >>> from overparam.steps import Train
    >>> len(list(Chain(Train(epochs=1), Repeat(3, Train(epochs=1), Train(epochs=2))).flat()))
    7
    """

    times: int
    steps: tuple[Step | Repeat, ...]

    def __init__(self, times: int, *steps: Step | Repeat) -> None:
        if isinstance(times, bool) or not isinstance(times, int) or times < 0:
            raise SpecError(f"repeat must be a whole number of times, 0 or more, got {times!r}")
        object.__setattr__(self, "times", times)
        object.__setattr__(self, "steps", _checked(steps, "repeat.steps"))


@dataclasses.dataclass(frozen=True)
class Chain:
    """Steps in order, each starting from the result of the one before; the first from the initialisation."""

    steps: tuple[Step | Repeat, ...]

    def __init__(self, *steps: Step | Repeat) -> None:
        object.__setattr__(self, "steps", _checked(steps, "chain"))
        length = _length(self.steps)
        if length > MOST_STEPS:
            raise SpecError(f"chain has {length:,} steps, {MOST_STEPS:,} at most are possible; look at its repeats")

    def flat(self) -> Iterator[Step]:
        """Yield the steps in the order they run, repeats written out."""

        def walk(parts: tuple[Step | Repeat, ...]) -> Iterator[Step]:
            for part in parts:
                if isinstance(part, Repeat):
                    for _ in range(part.times):
                        yield from walk(part.steps)
                else:
                    yield part

        return walk(self.steps)


def _length(parts: tuple[Step | Repeat, ...]) -> int:
    """Return how many steps there are with repeats written out."""
    return sum(part.times * _length(part.steps) if isinstance(part, Repeat) else 1 for part in parts)


def _checked(steps: tuple[Any, ...], where: str) -> tuple[Step | Repeat, ...]:
    if not steps:
        raise SpecError(f"{where} has no steps; give at least one, such as train")
    for step in steps:
        if not isinstance(step, Step | Repeat):
            raise SpecError(f"{where}: {step!r} is not a step (steps are made like Train(epochs=10) or Repeat(...))")
    return steps


def chain_from(entries: Any, settings: Mapping[str, Mapping[str, Any]]) -> Chain:
    """Read a chain as a study file writes it.

    Each entry is a step's name (``train``: it takes the settings of that name), a mapping with one step
    (``{train: {epochs: 10}}``: its own keys override the settings; ``{rewind: init}``: a bare value sets the step's
    main field), a repeat (``{repeat: 27, steps: [...]}``), or a step object.

    Raises:
        SpecError: naming the entry that is wrong.
    """
    return Chain(*_entries(entries, settings, "chain"))


def _entries(entries: Any, settings: Mapping[str, Mapping[str, Any]], where: str) -> list[Step | Repeat]:
    if isinstance(entries, Chain):
        entries = entries.steps
    if not isinstance(entries, list | tuple):
        raise SpecError(f"{where} must be a list of steps, got {entries!r}")
    return [_entry(entry, settings, f"{where}[{index}]") for index, entry in enumerate(entries)]


def _entry(entry: Any, settings: Mapping[str, Mapping[str, Any]], where: str) -> Step | Repeat:
    if isinstance(entry, Step):
        return entry
    if isinstance(entry, Repeat):
        return Repeat(entry.times, *_entries(list(entry.steps), settings, where))
    if isinstance(entry, str):
        return _step(entry, None, settings, where)
    if isinstance(entry, Mapping) and "repeat" in entry:
        extra = sorted(set(entry) - {"repeat", "steps"})
        if extra or "steps" not in entry:
            got = ", ".join(map(str, entry))
            raise SpecError(f"{where}: a repeat has the form {{repeat: 27, steps: [...]}}, got the keys {got}")
        steps = _entries(entry["steps"], settings, f"{where}.steps")
        try:
            return Repeat(entry["repeat"], *steps)
        except SpecError as error:
            raise SpecError(f"{where}: {error}") from None
    if isinstance(entry, Mapping) and len(entry) == 1:
        ((name, own),) = entry.items()
        return _step(str(name), own, settings, where)
    raise SpecError(
        f"{where} must be a step's name, a mapping with one step, or {{repeat: ..., steps: [...]}}, got {entry!r}"
    )


def _step(name: str, own: Any, settings: Mapping[str, Mapping[str, Any]], where: str) -> Step:
    try:
        kind = STEPS.get(name)
        if not (isinstance(kind, type) and issubclass(kind, Step)):
            return STEPS.resolve(name if own is None else {name: own})
        if own is None:
            own = {}
        elif not isinstance(own, Mapping):
            if kind.main is None:
                raise SpecError(f"{name} takes no bare value, got {own!r}")
            own = {kind.main: own}
        called = {"called": name} if name in STEPS.names() and name != kind.kind else {}
        return STEPS.resolve({name: {**called, **kind.merged(settings.get(name, {}), own)}})
    except SpecError as error:
        raise SpecError(f"{where}: {error}") from None


def with_field(chain: Any, name: str, kind: type[Step], field: str, change: Callable[[Any], Any]) -> Any:
    """Return ``chain``, in the form it has, with ``field`` changed in each step ``name`` that sets it itself.

    Steps that take the field from the study's settings stay as they are; step objects set all of their fields.
    """
    rivals = {field}.union(*(group for group in kind.alternatives if field in group))

    def changed(own: Mapping[str, Any]) -> dict[str, Any]:
        return kind.merged(own, {field: change(own.get(field))})

    def walk(entry: Any) -> Any:
        if isinstance(entry, Repeat):
            return Repeat(entry.times, *map(walk, entry.steps))
        if isinstance(entry, Step) and entry.kind == kind.kind and (":" in name or entry.name == name):
            return type(entry)(**changed({name: getattr(entry, name) for name in field_names(type(entry))}))
        if isinstance(entry, Mapping) and "repeat" in entry and isinstance(entry.get("steps"), list | tuple):
            return {**entry, "steps": [walk(step) for step in entry["steps"]]}
        if isinstance(entry, Mapping) and list(entry) == [name]:
            own = entry[name]
            own = own if isinstance(own, Mapping) or own is None else {str(kind.main): own}
            return {name: changed(own)} if own and rivals.intersection(own) else entry
        return entry

    if isinstance(chain, Chain):
        return Chain(*map(walk, chain.steps))
    return [walk(entry) for entry in chain] if isinstance(chain, list | tuple) else chain
