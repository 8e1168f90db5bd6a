"""Chains: steps in order, with repeats and branches."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from overparam.errors import SpecError, within
from overparam.spec import field_names
from overparam.steps import STEPS, Step

NESTED = {"repeat": "27", "branch": "reinit"}  # what a chain has besides steps, with an example of what is said of it
MOST_STEPS = 100_000  # of one chain: a typing error in a repeat shall not fill the memory


@dataclasses.dataclass(frozen=True)
class Branch:
    """``steps`` that leave the chain here and end: they are measured, and the chain goes on as if they were not there.

    So a control stands beside what it controls: at each level a ticket's mask under a new initialisation, say. In
    tables a branch is a variant of its name, with a row for each place where the chain has it.
    """

    name: str
    steps: tuple[Step | Repeat, ...]

    def __init__(self, name: str, *steps: Step | Repeat) -> None:
        if not isinstance(name, str) or not name or set(name) & set("/@"):
            raise SpecError(f"branch must be a name without '/' and '@', got {name!r}")
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "steps", _checked(steps, f"branch {name!r}"))
        if _branches(self.steps):
            raise SpecError(f"branch {name!r} has a branch itself; give both to the chain")


@dataclasses.dataclass(frozen=True)
class Repeat:
    """``steps`` in order, ``times`` times over; repeats nest. One of 0 times has no steps.

    >>> from overparam.steps import Train
    >>> len(list(Chain(Train(epochs=1), Repeat(3, Train(epochs=1), Train(epochs=2))).flat()))
    7
    """

    times: int
    steps: tuple[Step | Repeat | Branch, ...]

    def __init__(self, times: int, *steps: Step | Repeat | Branch) -> None:
        if isinstance(times, bool) or not isinstance(times, int) or times < 0:
            raise SpecError(f"repeat must be a whole number of times, 0 or more, got {times!r}")
        object.__setattr__(self, "times", times)
        object.__setattr__(self, "steps", _checked(steps, "repeat.steps"))


@dataclasses.dataclass(frozen=True)
class Chain:
    """Steps in order, each starting from the result of the one before; the first from the initialisation."""

    steps: tuple[Step | Repeat | Branch, ...]

    def __init__(self, *steps: Step | Repeat | Branch) -> None:
        object.__setattr__(self, "steps", _checked(steps, "chain"))
        length = _length(self.steps)
        if length > MOST_STEPS:
            raise SpecError(f"chain has {length:,} steps, {MOST_STEPS:,} at most are possible; look at its repeats")

    def flat(self) -> Iterator[Step]:
        """Yield the steps in the order they run, repeats written out, without those of branches."""
        return (step for step in _written_out(self.steps) if not isinstance(step, Branch))

    def branches(self) -> Iterator[tuple[str, Chain, int]]:
        """Yield each branch: its name, the chain from the beginning to its end, and how many steps are the trunk's.

        Raises :class:`SpecError` for two of one name at one place.
        """
        trunk: list[Step] = []
        seen: set[tuple[str, int]] = set()
        for step in _written_out(self.steps):
            if not isinstance(step, Branch):
                trunk.append(step)
                continue
            if (step.name, len(trunk)) in seen:
                raise SpecError(f"chain has the branch {step.name!r} twice at one place; give them two names")
            seen.add((step.name, len(trunk)))
            yield step.name, Chain(*trunk, *step.steps), len(trunk)


def _written_out(parts: Iterable[Step | Repeat | Branch]) -> Iterator[Step | Branch]:
    for part in parts:
        if isinstance(part, Repeat):
            for _ in range(part.times):
                yield from _written_out(part.steps)
        else:
            yield part


def _branches(parts: Iterable[Step | Repeat | Branch]) -> bool:
    """Tell whether there is a branch among ``parts``, whether or not it is ever reached."""
    return any(isinstance(part, Branch) or (isinstance(part, Repeat) and _branches(part.steps)) for part in parts)


def _length(parts: tuple[Step | Repeat | Branch, ...]) -> int:
    """Return how many steps there are with repeats written out."""
    times = [1 if isinstance(part, Step) else _length(part.steps) for part in parts]
    return sum(n * part.times if isinstance(part, Repeat) else n for n, part in zip(times, parts, strict=True))


def _checked(steps: tuple[Any, ...], where: str) -> tuple[Any, ...]:
    if not steps:
        raise SpecError(f"{where} has no steps; give at least one, such as train")
    for step in steps:
        if not isinstance(step, Step | Repeat | Branch):
            raise SpecError(f"{where}: {step!r} is not a step (steps are made like Train(epochs=10) or Repeat(...))")
    return steps


def chain_from(entries: Any, settings: Mapping[str, Mapping[str, Any]]) -> Chain:
    """Read a chain as a study file writes it.

    Each entry is a step's name (``train``: it takes the settings of that name), a mapping with one step
    (``{train: {epochs: 10}}``: its own keys override the settings; ``{rewind: init}``: a bare value sets the step's
    main field), a repeat (``{repeat: 27, steps: [...]}``), a branch (``{branch: reinit, steps: [...]}``), or an object.

    Raises:
        SpecError: naming the entry that is wrong.
    """
    with within("chain"):
        return Chain(*_entries(entries, settings, "chain"))


def _entries(entries: Any, settings: Mapping[str, Mapping[str, Any]], where: str) -> list[Any]:
    if isinstance(entries, Chain):
        entries = entries.steps
    if not isinstance(entries, list | tuple):
        raise SpecError(f"{where} must be a list of steps, got {entries!r}")
    made: list[Any] = []
    for index, entry in enumerate(entries):
        with within(index):
            made.append(_entry(entry, settings, f"{where}[{index}]"))
    return made


def _entry(entry: Any, settings: Mapping[str, Mapping[str, Any]], where: str) -> Step | Repeat | Branch:
    if isinstance(entry, Step):
        return entry
    if isinstance(entry, Repeat | Branch):
        return _with_steps(entry, _entries(list(entry.steps), settings, where))
    if isinstance(entry, str):
        return _step(entry, None, settings, where)
    if isinstance(entry, Mapping) and (kind := next((kind for kind in NESTED if kind in entry), None)):
        return _nested(kind, entry, settings, where)
    if isinstance(entry, Mapping) and len(entry) == 1:
        ((name, own),) = entry.items()
        return _step(str(name), own, settings, where)
    raise SpecError(
        f"{where} must be a step's name, a mapping with one step, or {{repeat: ..., steps: [...]}}, got {entry!r}"
    )


def _nested(kind: str, entry: Mapping[str, Any], settings: Mapping[str, Any], where: str) -> Repeat | Branch:
    """Return the repeat or the branch that a study file writes."""
    if set(entry) != {kind, "steps"}:
        got = ", ".join(map(str, entry))
        raise SpecError(f"{where}: a {kind} has the form {{{kind}: {NESTED[kind]}, steps: [...]}}, got the keys {got}")
    with within("steps"):
        steps = _entries(entry["steps"], settings, f"{where}.steps")
    try:
        return Repeat(entry["repeat"], *steps) if kind == "repeat" else Branch(entry["branch"], *steps)
    except SpecError as error:
        raise SpecError(f"{where}: {error}", (kind,)) from None


def _with_steps(part: Repeat | Branch, steps: Iterable[Any]) -> Repeat | Branch:
    """Return the same with other steps."""
    return Repeat(part.times, *steps) if isinstance(part, Repeat) else Branch(part.name, *steps)


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
        raise SpecError(f"{where}: {error}", (name, *error.at)) from None


def with_field(chain: Any, name: str, kind: type[Step], field: str, change: Callable[[Any], Any]) -> Any:
    """Return ``chain``, in the form it has, with ``field`` changed in each step ``name`` that sets it itself.

    Steps that take the field from the study's settings stay as they are; step objects set all of their fields.
    """
    rivals = {field}.union(*(group for group in kind.alternatives if field in group))

    def changed(own: Mapping[str, Any]) -> dict[str, Any]:
        return kind.merged(own, {field: change(own.get(field))})

    def walk(entry: Any) -> Any:
        if isinstance(entry, Repeat | Branch):
            return _with_steps(entry, map(walk, entry.steps))
        if isinstance(entry, Step) and entry.kind == kind.kind and (":" in name or entry.name == name):
            return type(entry)(**changed({name: getattr(entry, name) for name in field_names(type(entry))}))
        if isinstance(entry, Mapping) and isinstance(entry.get("steps"), list | tuple):
            return {**entry, "steps": [walk(step) for step in entry["steps"]]}
        if isinstance(entry, Mapping) and list(entry) == [name]:
            own = entry[name]
            own = own if isinstance(own, Mapping) or own is None else {str(kind.main): own}
            return {name: changed(own)} if own and rivals.intersection(own) else entry
        return entry

    if isinstance(chain, Chain):
        return Chain(*map(walk, chain.steps))
    return [walk(entry) for entry in chain] if isinstance(chain, list | tuple) else chain
