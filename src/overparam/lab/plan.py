"""The plan: every step that a study needs, each once, as a directed acyclic graph of fingerprints.

Chains that begin alike (same network, seed, world and first steps) share those steps; for most studies the plan is
the trie of all chains.
"""

from __future__ import annotations

import dataclasses
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from overparam.errors import SpecError
from overparam.identity import Digest
from overparam.lab.experiment import Experiment, world_from
from overparam.lab.fingerprint import fingerprint, part_content
from overparam.lab.rows import cell
from overparam.lab.torch_settings import check_torch
from overparam.length import Length
from overparam.networks import Network
from overparam.networks.architecture import Form
from overparam.networks.factory import fails_on_one
from overparam.probes import Probe
from overparam.registry import suggest
from overparam.spec import field_names
from overparam.steps import Step
from overparam.steps.rewind import is_length
from overparam.train import TrainSettings
from overparam.worlds import World

INIT_VERSION = 1  # raise it when the same network and seed begin to mean another initialisation


@dataclass(frozen=True)
class Node:
    """One step to run: what it is, and the fingerprints of what it needs.

    ``step`` is None for the initialisation. ``references`` maps a name to the fingerprint of a node and, for a point
    on the way of a training, that point. ``world`` and ``network`` are places in the plan's lists, ``position`` is that
    in the chain, from 0 on; it is -1 for the initialisation.
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
    position: int

    @property
    def name(self) -> str:
        """What the node is called where a user reads of it."""
        return f"{self.title}, seed {self.seed}"

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
    """One row of the study's table: a measured checkpoint and where it stands.

    ``step`` is the place of the step in the chain, from 0 on; the row of an initialisation, of kind ``init``, has -1.
    """

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
    world_prints: list[str] = field(default_factory=list)  # the fingerprint of each
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

    The initialisation of a network that comes with weights, as a pretrained one does, is measured too: it is level 0.

    Raises:
        SpecError: a world or network that cannot be built, a step that refers to a checkpoint there is not, a training
            that would fail on its last batch, or settings of torch under which a study does not run.
    """
    check_torch()
    builder = _Builder(probes)
    for index, experiment in enumerate(experiments):
        builder.add(index, experiment)
    if not any(row.kind != "init" for row in builder.plan.rows):
        raise SpecError("the chain has no step that trains, so there would be nothing to measure; add train")
    builder.tell_apart()
    return builder.plan


class _Builder:
    def __init__(self, probes: Sequence[Probe]) -> None:
        self.plan = Plan()
        self.probes = probes
        # by the id of a step or probe, which is kept beside it so that no other gets the id
        self._contents: dict[int, tuple[Step | Probe, dict[str, Any]]] = {}
        self._worlds: dict[str, int] = {}
        self._networks: dict[tuple[str | int, str | None, str], int] = {}
        self._forms: dict[int, Form] = {}
        self._inits: dict[tuple[int, int, Form], str] = {}
        self._pretrained: dict[tuple[int, Form], bool] = {}
        self._tried: set[tuple[int, Form]] = set()
        self._traits: dict[str, dict[str, str]] = {}  # of each step what all experiments that share it have in common

    def world(self, world: World) -> int:
        """Return the place of ``world`` in the plan's list."""
        print_ = fingerprint(world.identity())
        if print_ not in self._worlds:
            self._worlds[print_] = len(self.plan.worlds)
            self.plan.worlds.append(world)
            self.plan.world_prints.append(print_)
        return self._worlds[print_]

    def form(self, world: int) -> Form:
        """Return what a network is made for in the world at a place."""
        if world not in self._forms:
            self._forms[world] = Form(**self.plan.worlds[world].form())
        return self._forms[world]

    def network(self, network: Network) -> int:
        """Return the place of ``network`` in the plan's list."""
        # not by ==, for which 1 is True, and which has no answer where options hold tensors
        name = network.name if isinstance(network.name, str) else id(network.name)
        key = (name, network.init, Digest().add(network.options).hex())
        if key not in self._networks:
            self._networks[key] = len(self.plan.networks)
            self.plan.networks.append(network)
        return self._networks[key]

    def add(self, index: int, experiment: Experiment) -> None:
        world, network = self.world(experiment.world), self.network(experiment.network)
        steps = _saving(list(experiment.chain.flat()))
        init = self._init(experiment, world, network)
        if self._comes_with_weights(experiment, world, network):
            self._row(index, init, 0, -1, "init", world)
        labels: dict[str, str] = {}
        first_training: str | None = None
        parent, level, traits = init, 0, _traits(experiment)
        for position, step in enumerate(steps):
            level += step.kind == "prune"
            here = self._step_world(experiment, step, world)
            references = {name: _resolve(name, init, first_training, labels, step) for name in step.references()}
            made = fingerprint(
                {
                    "step": step.kind,
                    **self._content(step),
                    "parent": parent,
                    "references": references,
                    "world": self.plan.world_prints[here],
                    "seed": experiment.seed,
                }
            )
            if made not in self.plan.nodes:
                self._check(experiment, step, here, network)
                title = f"{step.name} (level {level})"
                self.plan.nodes[made] = Node(
                    made, title, step, parent, references, init, here, network, experiment.seed, position
                )
            alike = self._traits.setdefault(made, traits)
            self._traits[made] = {name: value for name, value in alike.items() if traits.get(name) == value}
            if step.label:
                if step.label == "init" or is_length(step.label):
                    raise SpecError(f"{step.kind}.label: {step.label!r} has a meaning of its own; choose another name")
                labels[step.label] = made
            if step.trains:
                first_training = first_training or made
                self._row(index, made, level, position, step.name, world)
            parent = made

    def tell_apart(self) -> None:
        """Name in the title of each step its variant and swept values, as far as it does not share them with others."""
        for name, traits in self._traits.items():
            node = self.plan.nodes[name]
            self.plan.nodes[name] = dataclasses.replace(node, title=", ".join([node.title, *traits.values()]))

    def _row(self, index: int, node: str, level: int, position: int, kind: str, world: int) -> None:
        measured = tuple(self._measure(probe, node, world) for probe in self.probes)
        self.plan.rows.append(Row(index, node, level, position, kind, measured))

    def _content(self, part: Step | Probe) -> dict[str, Any]:
        """Return what a step or probe is; a repeated one is looked at once."""
        if id(part) not in self._contents:
            self._contents[id(part)] = (part, part_content(part))
        return self._contents[id(part)][1]

    def _init(self, experiment: Experiment, world: int, network: int) -> str:
        key = (network, experiment.seed, self.form(world))
        if key not in self._inits:
            identity = experiment.network.identity(**self.form(world)._asdict(), seed=experiment.seed)
            made = fingerprint({"step": "init", "version": INIT_VERSION, "network": identity, "seed": experiment.seed})
            self._inits[key] = made
            node = Node(made, "initialisation", None, None, {}, made, world, network, experiment.seed, -1)
            self.plan.nodes.setdefault(made, node)
        return self._inits[key]

    def _comes_with_weights(self, experiment: Experiment, world: int, network: int) -> bool:
        key = (network, self.form(world))
        if key not in self._pretrained:
            found = experiment.network.comes_with_weights(**self.form(world)._asdict(), seed=experiment.seed)
            self._pretrained[key] = found
        return self._pretrained[key]

    def _step_world(self, experiment: Experiment, step: Step, world: int) -> int:
        """Return the place of the world that a step runs in; the network must be made for its inputs and outputs."""
        if not step.world:
            return world
        fields = {name: getattr(experiment.world, name) for name in field_names(World)}
        try:
            here = self.world(world_from({**fields, **step.world}))
            if self.form(here) != self.form(world):
                made = [
                    experiment.network.build(**self.form(place)._asdict(), seed=experiment.seed)
                    for place in (world, here)
                ]
                shapes = [{name: each.shape for name, each in module.state_dict().items()} for module in made]
                if shapes[0] != shapes[1]:
                    raise SpecError(
                        f"{self.form(here)} do not fit the network, which is made for {self.form(world)}; steps of a "
                        "chain share its weights"
                    )
        except SpecError as error:
            raise SpecError(f"{step.kind}.world: {error}") from None
        return here

    def _check(self, experiment: Experiment, step: Step, world: int, network: int) -> None:
        """Raise :class:`SpecError` if a step can be told not to work before anything is run."""
        data = self.plan.worlds[world].build()
        step.check(data)
        key = (network, self.form(world))
        if not isinstance(step, TrainSettings) or step.smallest_batch(data.train.epoch) > 1 or key in self._tried:
            return
        module = experiment.network.fresh(**self.form(world)._asdict(), seed=experiment.seed)
        why = fails_on_one(module, self.form(world))
        if why is not None:
            which = "each batch" if step.batch_size == 1 else "the last batch of an epoch"
            advice = "raise batch_size" if step.batch_size == 1 else "set drop_last: true, or another batch_size"
            raise SpecError(
                f"{step.kind}: {which} has a single example (batch_size {step.batch_size}, {data.train.epoch} training "
                f"examples), on which network {experiment.network.label!r} fails in training: {why}; {advice}"
            )
        self._tried.add(key)

    def _measure(self, probe: Probe, node: str, world: int) -> str:
        made = fingerprint(
            {
                "probe": probe.kind,
                **self._content(probe),
                "checkpoint": node,
                "world": self.plan.world_prints[world],
            }
        )
        if made not in self.plan.measurements:
            self.plan.measurements[made] = Measurement(made, probe, node, world)
            self.plan.measured.setdefault(node, []).append(made)
        return made


def _traits(experiment: Experiment) -> dict[str, str]:
    """Return the variant and the swept values of an experiment but its seed, in words."""
    swept = {path: str(cell(value)) for path, value in experiment.coordinates.items() if path != "seed"}
    named = {"": experiment.variant} if experiment.variant else {}
    return named | {path: f"{path} {textwrap.shorten(value, 40, placeholder=' ...')}" for path, value in swept.items()}


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
