"""What a journal keeps of a training under way, as tensors and JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from overparam.constraints import Constraint
from overparam.constraints.storage import from_parts, to_parts
from overparam.train.optimisers.state import Slots


@dataclass(frozen=True)
class Point:
    """A training at one iteration: the state of the dense module, and what it is under."""

    state: Mapping[str, Tensor]
    under: Mapping[str, Constraint]


@dataclass(frozen=True)
class Kept:
    """A training under way.

    Attributes:
        iteration: how many were run.
        now: where it is.
        slots: the optimiser's state.
        curve: the rows so far.
        points: the saved ones so far, by length.
    """

    iteration: int
    now: Point
    slots: Slots
    curve: list[dict[str, float]]
    points: Mapping[str, Point] = field(default_factory=dict)

    def parts(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return it as tensors and facts; for :meth:`of`."""
        slots = [(n, slot, value) for n, found in self.slots.items() for slot, value in found.items()]
        tensors = {f"optimiser/{n}/{slot}": value for n, slot, value in slots if isinstance(value, Tensor)}
        facts: dict[str, Any] = {"iteration": self.iteration, "curve": self.curve, "under": {}}
        facts["optimiser"] = [(n, slot, value) for n, slot, value in slots if not isinstance(value, Tensor)]
        for place, point in {"now": self.now, **self.points}.items():  # a point is a length, so none is called so
            under, facts["under"][place] = to_parts(point.under)
            tensors |= {f"state/{place}/{name}": tensor for name, tensor in point.state.items()}
            tensors |= {f"under/{place}/{name}": tensor for name, tensor in under.items()}
        return {name: tensor.cpu() for name, tensor in tensors.items()}, facts

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor], facts: Mapping[str, Any], names: list[str]) -> Kept:
        """Return what :meth:`parts` took apart; ``names`` is the order of the state, as files sort their tensors."""
        slots: Slots = {}
        found: dict[str, dict[str, dict[str, Tensor]]] = {"state": {}, "under": {}}
        for n, slot, value in facts["optimiser"]:
            slots.setdefault(n, {})[slot] = value
        for key, tensor in tensors.items():
            part, place, name = key.split("/", 2)
            if part == "optimiser":
                slots.setdefault(int(place), {})[name] = tensor
            else:
                found[part].setdefault(place, {})[name] = tensor
        points = {
            place: Point(
                {name: found["state"][place][name] for name in names},
                from_parts(found["under"].get(place, {}), under),
            )
            for place, under in facts["under"].items()
        }
        return cls(int(facts["iteration"]), points.pop("now"), slots, list(facts["curve"]), points)
