"""Units: which neurons and filters can be removed together, found by following marked values through a module.

A unit is an output feature of a linear layer, or an output channel of a convolution. To see what depends on it, the
module is run with NaN in its place, which passes through activations, pooling, normalisation, reshaping, addition and
concatenation whoever wrote them, and stops at the layers that mix their inputs: there it marks the input features that
go with the unit. Each example of a batch marks another unit, so a few runs show all units of a layer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from overparam.networks.forward import Inputs
from overparam.networks.marking import by_example, keeps_channels, look, mixes

TOGETHER = 64  # units a run: the examples that they are marked in must fit into memory


class Place(NamedTuple):
    """A feature or channel of a layer, counted from 0 on its input or its output side."""

    path: str
    position: int
    leaf: str = "weight"

    @property
    def name(self) -> str:
        """The name of the weight of which it is a row or a column."""
        return f"{self.path}.{self.leaf}"


@dataclass(frozen=True)
class Group:
    """Units that can only be removed together, with all that depends on them.

    Attributes:
        outputs: the units: output features or channels of linear and convolution layers.
        inputs: input features or channels of the layers that read them.
        channels: channels of layers between that treat each alone: batch norms and depth-wise convolutions.
        kept: why the group cannot be removed, in words; empty if it can.
    """

    outputs: frozenset[Place]
    inputs: frozenset[Place]
    channels: frozenset[Place]
    kept: str = ""


def groups(module: nn.Module, sample: Inputs) -> list[Group]:
    """Return all units of ``module`` in groups, found by running it in evaluation mode.

    Args:
        module: any module; it is left as it was.
        sample: inputs that it takes, at least one example; the first is used.

    Raises :class:`SpecError` for a module that fails on the sample.
    """
    marks = _Marks(module, sample, _followed(module))
    for path, layer in marks.followed.items():
        if mixes(layer):
            units = [Place(path, position) for position in range(len(layer.state_dict()["weight"]))]
            for start in range(0, len(units), TOGETHER):
                marks.follow(units[start : start + TOGETHER])
    marks.sources()
    return marks.grouped()


def _followed(module: nn.Module) -> dict[str, nn.Module]:
    """Return the layers that can be made smaller, by path: those that share no parameter with another."""
    owners: dict[int, set[str]] = {}
    for path, layer in module.named_modules(remove_duplicate=False):
        for parameter in layer.parameters(recurse=False):
            owners.setdefault(id(parameter), set()).add(path)
    shared = {path for paths in owners.values() if len(paths) > 1 for path in paths}
    return {
        path: layer
        for path, layer in module.named_modules()
        if path and path not in shared and (mixes(layer) or keeps_channels(layer))
    }


@dataclass
class _Marks:
    """What was marked by which unit, over all runs."""

    module: nn.Module
    sample: Inputs
    followed: Mapping[str, nn.Module]
    reached: dict[Place, set[Place]] = field(default_factory=dict)  # by place: the units that came there
    kept: dict[Place, str] = field(default_factory=dict)
    sourced: set[Place] = field(default_factory=set)  # places that something else than units comes to

    def follow(self, units: Sequence[Place]) -> None:
        """Mark each of ``units``, which are of one layer, in an example of its own, and note what they reach."""
        path, count = units[0].path, len(units)
        examples, positions = torch.arange(count), torch.tensor([unit.position for unit in units])
        ran: list[bool] = []

        def mark(here: str, output: Tensor) -> None:
            if here == path:
                batch = by_example(output, count, isinstance(self.followed[path], _ConvNd))
                ran.append(batch is not None)
                if batch is not None:
                    batch[examples, positions] = torch.nan

        sight = look(self.module, self.sample, count, self.followed, mark)
        for there, found in sight.reached:
            for example, position in found.nonzero().tolist():
                self.reached.setdefault(Place(there, position), set()).add(units[example])
        if not ran or not all(ran):
            sight.stop(range(count), "its layer gives no batch of examples" if ran else "its layer does not run")
        self.kept |= {units[example]: why for example, why in sight.stopped.items()}

    def sources(self) -> None:
        """Note the places that the network's inputs come to, or what layers give whose units are not followed."""

        def mark(path: str, output: Tensor) -> None:
            if path not in self.followed:
                output.fill_(torch.nan)

        sight = look(self.module, self.sample, 1, self.followed, mark, blank=True)
        for path, found in sight.reached:
            self.sourced |= {Place(path, position) for _, position in found.nonzero().tolist()}

    def grouped(self) -> list[Group]:
        """Return the groups: units that reach the same place belong together."""
        leader = {unit: unit for units in self.reached.values() for unit in units} | {unit: unit for unit in self.kept}

        def lead(unit: Place) -> Place:
            while leader[unit] != unit:
                leader[unit] = unit = leader[leader[unit]]
            return unit

        for units in self.reached.values():
            for unit in units:
                leader[lead(unit)] = lead(min(units))
        members: dict[Place, set[Place]] = {}
        for unit in leader:
            members.setdefault(lead(unit), set()).add(unit)
        places: dict[Place, set[Place]] = {}
        for place, units in self.reached.items():
            places.setdefault(lead(min(units)), set()).add(place)
        return [self._group(units, places.get(first, set())) for first, units in sorted(members.items())]

    def _group(self, units: set[Place], places: set[Place]) -> Group:
        kept = next((self.kept[unit] for unit in sorted(units) if unit in self.kept), "")
        counts = Counter(unit.path for unit in units)
        whole = [path for path, count in counts.items() if count == len(self.followed[path].state_dict()["weight"])]
        if not kept and whole:
            kept = f"only all units of {min(whole)!r} together could go"
        if not kept and self.sourced & places:
            kept = "inputs of the network, or of a layer that cannot be made smaller, are added to it"
        channels = {place for place in places if keeps_channels(self.followed[place.path])}
        return Group(frozenset(units), frozenset(places - channels), frozenset(channels), kept)
