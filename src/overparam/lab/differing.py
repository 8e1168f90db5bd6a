"""How two studies differ, field by field, and what they share of what is computed."""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass
from textwrap import shorten
from typing import TYPE_CHECKING, Any

from overparam.errors import counted, in_bytes
from overparam.lab.contents import Contents
from overparam.lab.dialect import in_line
from overparam.lab.inventory import Inventory, Result
from overparam.lab.needs import needs_of
from overparam.lab.specification import UNIMPORTANT, changes

if TYPE_CHECKING:
    from overparam.lab.study import Study

SHOWN = 200  # characters of a value in a line


@dataclass(frozen=True)
class Side:
    """One of two studies that are compared: its name, its specification as YAML, and the results that it needs."""

    name: str
    spec: str
    needs: Set[Result]

    @classmethod
    def stored(cls, contents: Contents, given: str) -> Side:
        """Return a study of a store, by its name or NAME@REVISION; raises :class:`StoreError`."""
        record = contents.record(given)
        return cls(str(record), record.spec, contents.needs(str(record)))

    @classmethod
    def planned(cls, study: Study, called: str) -> Side:
        """Return a study as it would be run."""
        plan = study.plan
        return cls(called, study.yaml(), needs_of(plan.steps, plan.measurements))


@dataclass(frozen=True)
class Difference:
    """How two studies differ.

    Attributes:
        one, other: the studies.
        fields: what each has at the dotted paths of its specification at which they differ; None where it has nothing.
        shared: the results that both need.
        there: those of them that are in the store.
        bytes: their size.
    """

    one: Side
    other: Side
    fields: Mapping[str, tuple[Any, Any]]
    shared: Set[Result]
    there: Set[Result]
    bytes: int

    def lines(self) -> list[str]:
        """Return the difference in words: a line for each field, then what is shared and what is not."""
        width = max(map(len, self.fields), default=0)
        told = [f"{path:<{width}}  {_change(*pair)}{_aside(path)}" for path, pair in self.fields.items()]
        return [
            f"{self.one.name} -> {self.other.name}",
            *(told or ["the specifications are the same"]),
            *self._meaning(),
        ]

    def _meaning(self) -> list[str]:
        if self.one.needs == self.other.needs:
            return [f"they compute the same, so every result is shared: {_told(self.shared)}"]
        lines = [f"shared: {_told(self.shared)}" if self.shared else "no result is shared"]
        if self.shared:
            lines[0] += f"; {_told(self.there)} of them are stored ({in_bytes(self.bytes)})"
        lines += [f"only {side.name}: {_told(side.needs - self.shared)}" for side in (self.one, self.other)]
        if not any(_decides(path) for path in self.fields):
            lines.append("what decides is not in the specifications: the data, or the code of a step, has changed")
        return lines

    def plain(self) -> dict[str, Any]:
        """Return the difference for programs, JSON-able."""
        return {
            "one": self.one.name,
            "other": self.other.name,
            "fields": [
                {"path": path, "one": a, "other": b, "decides": _decides(path)} for path, (a, b) in self.fields.items()
            ],
            "shared": _counts(self.shared),
            "stored": {**_counts(self.there), "bytes": self.bytes},
            "only_one": _counts(self.one.needs - self.shared),
            "only_other": _counts(self.other.needs - self.shared),
        }


def difference(one: Side, other: Side, inventory: Inventory) -> Difference:
    """Return how two studies differ, and what of the shared is in the store that ``inventory`` is of."""
    shared = one.needs & other.needs
    there = {result for result in shared if inventory.has(*result)}
    return Difference(one, other, changes(one.spec, other.spec), shared, there, inventory.bytes(there))


def _decides(path: str) -> bool:
    return path.split(".")[0] not in UNIMPORTANT


def _aside(path: str) -> str:
    return "" if _decides(path) else "  (decides no result)"


def _counts(results: Set[Result]) -> dict[str, int]:
    kinds = [kind for kind, _ in results]
    return {"steps": kinds.count("steps"), "measurements": kinds.count("probes")}


def _told(results: Set[Result]) -> str:
    counts = _counts(results)
    return f"{counted(counts['steps'], 'step')} and {counted(counts['measurements'], 'measurement')}"


def _change(one: Any, other: Any) -> str:
    """Say in one line what has become of a value; of a list what came and what went, if all else stayed."""
    if isinstance(one, list) and isinstance(other, list):
        gone, come = ([e for e in a if e not in b] for a, b in ((one, other), (other, one)))
        if len(one) - len(gone) == len(other) - len(come) > 0:
            return ", ".join([*(f"- {_value(e)}" for e in gone), *(f"+ {_value(e)}" for e in come)]) or "other order"
    return f"{_value(one)} -> {_value(other)}"


def _value(value: Any) -> str:
    return "(not given)" if value is None else shorten(in_line(value), SHOWN, placeholder=" ...")
