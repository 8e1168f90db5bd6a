"""Making the plan: chains and sweeps become nodes, each with the fingerprint of all that its result depends on."""

from __future__ import annotations

import dataclasses
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from overparam.errors import SpecError, within
from overparam.lab.experiment import Experiment
from overparam.lab.fingerprint import fingerprint, part_identity
from overparam.lab.materials import Materials
from overparam.lab.plan import Node, Plan, Row, Source, called
from overparam.lab.readable import cell
from overparam.lab.references import Chains, Place
from overparam.lab.torch_settings import check_torch
from overparam.length import Length
from overparam.probes import Probe
from overparam.steps import Step
from overparam.train import TrainSettings


def plan(experiments: Sequence[Experiment], probes: Sequence[Probe]) -> Plan:
    """Return the plan of ``experiments`` with ``probes`` on every trained checkpoint.

    The initialisation of a network that comes with weights, as a pretrained one does, is measured too: it is level 0.

    Raises:
        SpecError: a world or network that cannot be built, a step or probe that refers to a checkpoint there is not
            or to one that does not fit, references that go in a circle, a training that would fail on its last batch,
            or settings of torch under which a study does not run.
    """
    check_torch()
    planner = _Planner(experiments, probes)
    for chain in range(len(experiments)):
        planner.add(chain)
    if not any(row.kind != "init" for row in planner.plan.rows):
        raise SpecError(
            "the chain has no step that trains, so there would be nothing to measure; add train, or measure"
        )
    planner.tell_apart()
    planner.measure()
    return planner.plan


class _Planner:
    def __init__(self, experiments: Sequence[Experiment], probes: Sequence[Probe]) -> None:
        self.plan, self.probes, self.chains = Plan(), probes, Chains(experiments)
        self.materials = Materials(self.plan)
        # by the id of a step or probe, which is kept beside it so that no other gets the id
        self._identities: dict[int, tuple[Step | Probe, dict[str, Any]]] = {}
        self._arms: dict[str, list[dict[str, str]]] = {}  # of each step the traits of those that share it
        self._made: dict[int, list[str]] = {}  # of each chain its initialisation and the results of its steps, so far
        self._levels: dict[int, int] = {}  # of the last of these
        self._at: dict[int, tuple[int, int]] = {}  # network and world of each chain
        self._under_way: dict[int, str] = {}  # chains that are being made, with what led to the next
        self._saved = self._points()

    def _points(self) -> dict[tuple[int, int], set[str]]:
        """Return for each training, by chain and position, the points on its way that somebody refers to."""
        found: dict[tuple[int, int], set[str]] = {}
        chain = 0
        while chain < len(self.chains.experiments):  # which become more as other seeds are referred to
            for place in self._named(chain):
                if place.point is not None:
                    found.setdefault(self._shared(place.chain, place.position), set()).add(str(place.point))
            chain += 1
        return found

    def _shared(self, chain: int, position: int) -> tuple[int, int]:
        """Return a step's chain and position; of a step that a branch has in common with its trunk, the trunk's."""
        experiment = self.chains.experiments[chain]
        return (experiment.trunk if position < experiment.begins else chain), position

    def _named(self, chain: int) -> Iterator[Place]:
        """Yield what the steps of a chain and the probes on it refer to."""
        for position, step in enumerate(self.chains.steps[chain]):
            for name in step.references():
                yield self.chains.find(name, chain, position, called(step))
            measured = step.measured and position >= self.chains.experiments[chain].begins
            for probe in self.probes if measured else ():
                for name in probe.references():
                    if chain < self.chains.measured or not name.startswith("seed+"):
                        yield self.chains.find(name, chain, position, called(probe), measures=True)

    def add(self, chain: int) -> None:
        """Add all steps of a chain of the study, and its rows."""
        self._result(chain, len(self.chains.steps[chain]) - 1)
        experiment, (network, world) = self.chains.experiments[chain], self._at[chain]
        made, level = self._made[chain], 0
        if not experiment.begins and self.materials.comes_with_weights(network, world, experiment.seed):
            self.plan.rows.append(Row(chain, made[0], 0, -1, "init", ()))
        for position, step in enumerate(self.chains.steps[chain]):
            level += step.next_level
            if step.measured and position >= experiment.begins:
                self.plan.rows.append(Row(chain, made[position + 1], level, position, step.name, ()))

    def _result(self, chain: int, position: int) -> str:
        """Return the fingerprint of the node at a position of a chain, made with all that comes before it."""
        if chain not in self._made:
            self._begin(chain)
        made = self._made[chain]
        if len(made) <= position + 1:
            if chain in self._under_way:
                way = list(self._under_way.values())[list(self._under_way).index(chain) :]
                raise SpecError(f"references go in a circle: {', and '.join(way)}")
            self._under_way[chain] = ""
            while len(made) <= position + 1:
                with within(self.chains.steps[chain][len(made) - 1].name):
                    made.append(self._step(chain, len(made) - 1))
            del self._under_way[chain]
        return made[position + 1]

    def _begin(self, chain: int) -> None:
        """Add the initialisation of a chain."""
        experiment = self.chains.experiments[chain]
        with within("world"):
            world = self.materials.world(experiment.world)
            self.materials.form(world)
        with within("network"):
            network = self.materials.network(experiment.network)
            init = self.materials.initial(network, world, experiment.seed)
        node = Node(init, "initialisation", None, None, {}, world, network, experiment.seed, -1)
        self.plan.nodes.setdefault(init, node)
        self._made[chain], self._levels[chain], self._at[chain] = [init], 0, (network, world)

    def _step(self, chain: int, position: int) -> str:
        """Add the node of a step and return its fingerprint."""
        experiment, step = self.chains.experiments[chain], self._saving(chain, position)
        network, world = self._at[chain]
        here = self.materials.step_world(experiment, step, world)
        given, parent = self._given(step, chain, position, here), self._made[chain][position]
        self._levels[chain] += step.next_level
        made = fingerprint(
            {
                "step": step.kind,
                **self._identity(step),
                "parent": parent,
                "references": _plain(given),
                "world": self.plan.world_prints[here],
                "seed": experiment.seed,
            }
        )
        if made not in self.plan.nodes:
            title = f"{step.name} (level {self._levels[chain]})"
            node = Node(made, title, step, parent, given, here, network, experiment.seed, position)
            self.plan.nodes[made] = node
        traits, arms = _traits(experiment), self._arms.setdefault(made, [])
        if traits not in arms:
            arms.append(traits)
        return made

    def _given(self, part: Step | Probe, chain: int, position: int, world: int) -> dict[str, Source]:
        """Return where the checkpoints come from that a step or probe names, which runs in ``world``."""
        given, variant = {}, self.chains.experiments[chain].variant
        for name in part.references():
            if chain in self._under_way:
                arm = f" in {variant!r}" if variant else ""
                self._under_way[chain] = f"{called(part)}{arm} refers to {name!r}"
            place = self.chains.find(name, chain, position, called(part), isinstance(part, Probe))
            given[name] = self._source(place)
            self.materials.check_given(part, name, world, self._at[chain], given[name])
        return given

    def _saving(self, chain: int, position: int) -> Step:
        """Return a step, a training so that it keeps the points on its way that others refer to."""
        step, points = self.chains.steps[chain][position], self._saved.get(self._shared(chain, position))
        return step.saving(tuple(Length.of(point) for point in sorted(points))) if points else step

    def _source(self, place: Place) -> Source:
        node, experiment = self._result(place.chain, place.position), self.chains.experiments[place.chain]
        network, world = self._at[place.chain]
        return Source(node, str(place.point) if place.point else None, network, world, experiment.seed)

    def _identity(self, part: Step | Probe) -> dict[str, Any]:
        """Return what a step or probe is; a repeated one is looked at once."""
        if id(part) not in self._identities:
            self._identities[id(part)] = (part, part_identity(part))
        return self._identities[id(part)][1]

    def tell_apart(self) -> None:
        """Name in the title of each step the arm that it is of; of a shared one what its arms have in common."""
        for name, arms in self._arms.items():
            node = self.plan.nodes[name]
            alike = [value for key, value in arms[0].items() if all(other.get(key) == value for other in arms)]
            arm = ", ".join([*alike, *([f"shared by {len(arms)} arms"] if len(arms) > 1 else [])])
            title = f"{node.title}, {arm}" if arm else node.title
            self.plan.nodes[name] = dataclasses.replace(node, title=title, arm=arm)

    def measure(self) -> None:
        """Add a node for each row and probe; they come last, as a probe may look at what comes later in its chain."""
        for place, row in enumerate(self.plan.rows):
            measured = tuple(self._measurement(probe, row) for probe in self.probes)
            self.plan.rows[place] = dataclasses.replace(row, measurements=measured)

    def _measurement(self, probe: Probe, row: Row) -> str:
        """Add the node of a probe on a row and return its fingerprint."""
        seed, (network, world) = self.chains.experiments[row.experiment].seed, self._at[row.experiment]
        part = self.plan.nodes[row.node].part
        if isinstance(part, TrainSettings):
            probe.check_training(part, self.plan.worlds[self.plan.nodes[row.node].world].build())
        given = self._given(probe, row.experiment, row.step, world)
        made = fingerprint(
            {
                "probe": probe.kind,
                **self._identity(probe),
                "checkpoint": row.node,
                "references": _plain(given),
                "world": self.plan.world_prints[world],
            }
        )
        if made not in self.plan.nodes:
            title = f"{', '.join([called(probe), *given])} of {self.plan.nodes[row.node].title}"
            node = Node(made, title, probe, row.node, given, world, network, seed, row.step)
            self.plan.nodes[made] = node
        return made


def _plain(given: Mapping[str, Source]) -> dict[str, tuple[str, str | None]]:
    return {name: (source.node, source.point) for name, source in given.items()}


def _traits(experiment: Experiment) -> dict[str, str]:
    """Return the variant and the swept values of an experiment but its seed, in words."""
    swept = {path: str(cell(value)) for path, value in experiment.coordinates.items() if path != "seed"}
    named = {"": experiment.variant} if experiment.variant else {}
    return named | {path: f"{path} {textwrap.shorten(value, 40, placeholder=' ...')}" for path, value in swept.items()}
