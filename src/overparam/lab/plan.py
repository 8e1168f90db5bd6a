"""The plan: every step that a study needs, each once, as a directed acyclic graph of fingerprints.

Chains that begin alike (same network, seed, world and first steps) share those steps; for most studies the plan is
the trie of all chains.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from overparam.errors import SpecError
from overparam.lab.experiment import Experiment, world_from
from overparam.lab.fingerprint import canonical, fingerprint
from overparam.length import Length
from overparam.networks import Network
from overparam.networks.identity import own_content
from overparam.probes import Probe
from overparam.registry import suggest
from overparam.spec import field_names, plain
from overparam.steps import Step
from overparam.steps.rewind import is_length
from overparam.worlds import World

INIT_VERSION = 1  # raise it when the same network and seed begin to mean another initialisation


@dataclass(frozen=True)
class Node:
    """One step to run: what it is, and the fingerprints of what it needs.

    ``step`` is None for the initialisation. ``references`` maps a name to the fingerprint of a node and, for a point
    on the way of a training, that point. ``world`` and ``network`` are places in the plan's lists.
    """

    fingerprint: str
    title: str
    step: Step | None
    parent: str | None
    references: Mapping[str, tuple[str, str | None]]
    init: str
    world: int
    network: int
    seed: int

    def needs(self) -> list[str]:
        """Return the fingerprints of the nodes that must be done before this one."""
        parents = [self.parent] if self.parent else []
        return list(dict.fromkeys([*parents, *(found for found, _ in self.references.values())]))


@dataclass(frozen=True)
class Measurement:
    """A probe to be run on the result of a node, in a world of the plan."""

    fingerprint: str
    probe: Probe
    node: str
    world: int


@dataclass(frozen=True)
class Row:
    """One row of the study's table: a measured checkpoint and where it stands."""

    experiment: int
    node: str
    level: int
    step: int
    kind: str
    measurements: tuple[str, ...]


@dataclass
class Plan:
    """Nodes and measurements by fingerprint, in an order in which they can run, and the rows of the table."""

    worlds: list[World] = field(default_factory=list)
    networks: list[Network] = field(default_factory=list)
    nodes: dict[str, Node] = field(default_factory=dict)
    measurements: dict[str, Measurement] = field(default_factory=dict)
    measured: dict[str, list[str]] = field(default_factory=dict)  # measurements by node
    rows: list[Row] = field(default_factory=list)

    def probes_of(self, node: str) -> list[Measurement]:
        """Return the measurements of one node's result."""
        return [self.measurements[name] for name in self.measured.get(node, ())]

    def notes(self) -> list[str]:
        """Return what may be wrong with the datasets though they can be used, each sentence once."""
        return list(dict.fromkeys(note for world in self.worlds for note in world.notes()))


def plan(experiments: Sequence[Experiment], probes: Sequence[Probe]) -> Plan:
    """Return the plan of ``experiments`` with ``probes`` on every trained checkpoint.

    Raises:
        SpecError: a world or network that cannot be built, or a step that refers to a checkpoint there is not.
    """
    builder = _Builder(probes)
    for index, experiment in enumerate(experiments):
        builder.add(index, experiment)
    if not builder.plan.rows:
        raise SpecError("the chain has no step that trains, so there would be nothing to measure; add train")
    return builder.plan


class _Builder:
    def __init__(self, probes: Sequence[Probe]) -> None:
        self.plan = Plan()
        self.probes = probes
        # by the id of a step or probe, which is kept beside it so that no other gets the id
        self._contents: dict[int, tuple[Step | Probe, dict[str, Any]]] = {}
        self._worlds: dict[str, tuple[int, str]] = {}
        self._networks: dict[str, int] = {}
        self._inits: dict[tuple[str, int, tuple[int, ...], int], str] = {}

    def world(self, world: World) -> tuple[int, str]:
        """Return the place of ``world`` in the plan's list, and its fingerprint."""
        key = canonical(world.identity())
        if key not in self._worlds:
            self._worlds[key] = (len(self.plan.worlds), fingerprint(world.identity()))
            self.plan.worlds.append(world)
        return self._worlds[key]

    def network(self, network: Network) -> int:
        for place, known in enumerate(self.plan.networks):
            if known is network or known == network:
                return place
        self.plan.networks.append(network)
        return len(self.plan.networks) - 1

    def add(self, index: int, experiment: Experiment) -> None:
        world, world_print = self.world(experiment.world)
        network = self.network(experiment.network)
        steps = _saving(list(experiment.chain.flat()))
        init = self._init(experiment, world, network)
        labels: dict[str, str] = {}
        first_training: str | None = None
        parent, level = init, 0
        for position, step in enumerate(steps):
            level += step.kind == "prune"
            here, here_print = self._step_world(experiment, step, world, world_print)
            references = {name: _resolve(name, init, first_training, labels, step) for name in step.references()}
            made = fingerprint(
                {
                    "step": step.kind,
                    **self._content(step),
                    "parent": parent,
                    "references": references,
                    "world": here_print,
                    "seed": experiment.seed,
                }
            )
            if made not in self.plan.nodes:
                step.check(self.plan.worlds[here].build())
                title = f"{step.kind} (level {level})"
                self.plan.nodes[made] = Node(
                    made, title, step, parent, references, init, here, network, experiment.seed
                )
            if step.label:
                if step.label == "init" or is_length(step.label):
                    raise SpecError(f"{step.kind}.label: {step.label!r} has a meaning of its own; choose another name")
                labels[step.label] = made
            if step.trains:
                first_training = first_training or made
                measured = tuple(self._measure(probe, made, world, world_print) for probe in self.probes)
                self.plan.rows.append(Row(index, made, level, position, step.kind, measured))
            parent = made

    def _content(self, part: Step | Probe) -> dict[str, Any]:
        """Return what a step or probe is, its code included if it is the user's; a repeated one is looked at once."""
        if id(part) not in self._contents:
            code = own_content(type(part))
            content = {
                "version": part.version,
                "parameters": plain(part.parameters()),
                **({"code": code} if code else {}),
            }
            self._contents[id(part)] = (part, content)
        return self._contents[id(part)][1]

    def _init(self, experiment: Experiment, world: int, network: int) -> str:
        data = self.plan.worlds[world].build()
        key = (str(network), experiment.seed, tuple(data.input_shape), data.classes)
        if key not in self._inits:
            identity = experiment.network.identity(data.input_shape, data.classes, experiment.seed)
            made = fingerprint({"step": "init", "version": INIT_VERSION, "network": identity, "seed": experiment.seed})
            self._inits[key] = made
            node = Node(made, "initialisation", None, None, {}, made, world, network, experiment.seed)
            self.plan.nodes.setdefault(made, node)
        return self._inits[key]

    def _step_world(self, experiment: Experiment, step: Step, world: int, world_print: str) -> tuple[int, str]:
        if not step.world:
            return world, world_print
        fields = {name: getattr(experiment.world, name) for name in field_names(World)}
        try:
            return self.world(world_from({**fields, **step.world}))
        except SpecError as error:
            raise SpecError(f"{step.kind}.world: {error}") from None

    def _measure(self, probe: Probe, node: str, world: int, world_print: str) -> str:
        made = fingerprint(
            {
                "probe": probe.kind,
                **self._content(probe),
                "checkpoint": node,
                "world": world_print,
            }
        )
        if made not in self.plan.measurements:
            self.plan.measurements[made] = Measurement(made, probe, node, world)
            self.plan.measured.setdefault(node, []).append(made)
        return made


def _saving(steps: list[Step]) -> list[Step]:
    """Return ``steps`` with the first training told to save the points that others refer to."""
    wanted = {name for step in steps for name in step.references() if is_length(name)}
    points = tuple(Length.of(name) for name in sorted(wanted))
    first = next((place for place, step in enumerate(steps) if step.trains), None)
    if points and first is not None:
        steps[first] = steps[first].saving(points)
    return steps


def _resolve(
    name: str, init: str, first_training: str | None, labels: Mapping[str, str], step: Step
) -> tuple[str, str | None]:
    if name == "init":
        return init, None
    if name in labels:
        return labels[name], None
    if is_length(name):
        if first_training is None:
            raise SpecError(f"{step.kind} to {name!r}: no training comes before it in the chain")
        return first_training, str(Length.of(name))
    known: Iterable[Any] = ["init", *labels]
    raise SpecError(
        f"{step.kind} refers to {name!r}, which is not known here{suggest(name, known)} "
        f"(known: {', '.join(known)}, or a point of the first training such as '500it')"
    )
