"""The plan: every job of a study, each once, as a directed acyclic graph of fingerprints.

Chains that begin alike (same network, seed, world and first steps) share those steps; where no chain refers to another,
the steps are the trie of all chains, and the measurements are its leaves.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from overparam.errors import counted
from overparam.networks import Network
from overparam.probes import Probe
from overparam.steps import Step
from overparam.worlds import World


@dataclass(frozen=True)
class Source:
    """Where a checkpoint that was named comes from: the result of a node, or a ``point`` on the way of a training.

    ``network``, ``world`` (places in the plan's lists) and ``seed`` are what its module is made with.
    """

    node: str
    point: str | None
    network: int
    world: int
    seed: int


@dataclass(frozen=True)
class Node:
    """One job: what is done, to what, and the fingerprints of what it needs.

    Attributes:
        fingerprint: where its result is in the store.
        title: what it is and in which arm, in words, without the seed.
        part: the step or the probe; None for the initialisation.
        start: the result that the step starts from or the probe looks at; None for the initialisation.
        given: where the checkpoints come from that the part names.
        world, network: places in the plan's lists.
        seed: of all streams.
        position: in the chain, from 0 on; -1 for the initialisation.
        arm: in words the variant and the swept values that all chains which share it have, and how many arms these are.
    """

    fingerprint: str
    title: str
    part: Step | Probe | None
    start: str | None
    given: Mapping[str, Source]
    world: int
    network: int
    seed: int
    position: int
    arm: str = ""

    @property
    def name(self) -> str:
        """What the node is called where a user reads of it."""
        return f"{self.title}, seed {self.seed}"

    @property
    def kind(self) -> Literal["steps", "probes"]:
        """Which kind of result the store has of it."""
        return "probes" if isinstance(self.part, Probe) else "steps"

    @property
    def trains(self) -> bool:
        """Whether it is a training."""
        return isinstance(self.part, Step) and self.part.trains

    @property
    def parents(self) -> tuple[str, ...]:
        """The fingerprints of the nodes that must be done before this one, each once."""
        starts = [self.start] if self.start else []
        return tuple(dict.fromkeys([*starts, *(source.node for source in self.given.values())]))


@dataclass(frozen=True)
class Row:
    """One row of the study's table: a measured checkpoint and where it stands.

    ``step`` is the place of the step in the chain, from 0 on; the row of an initialisation, of kind ``init``, has -1.
    ``measurements`` are fingerprints, one for each probe of the study.
    """

    experiment: int
    node: str
    level: int
    step: int
    kind: str
    measurements: tuple[str, ...]


@dataclass(repr=False)
class Plan:
    """Nodes by fingerprint, in an order in which they can run, and the rows of the table."""

    worlds: list[World] = field(default_factory=list)
    world_prints: list[str] = field(default_factory=list)  # the fingerprint of each
    networks: list[Network] = field(default_factory=list)
    nodes: dict[str, Node] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)

    def __repr__(self) -> str:
        trainings = sum(node.trains for node in self.nodes.values())
        return (
            f"Plan of {counted(len(self.steps), 'step')} ({counted(trainings, 'training')}), "
            f"{counted(len(self.measurements), 'measurement')} and {counted(len(self.rows), 'row')}"
        )

    @cached_property
    def steps(self) -> dict[str, Node]:
        """The nodes that make checkpoints."""
        return {name: node for name, node in self.nodes.items() if node.kind == "steps"}

    @cached_property
    def measurements(self) -> dict[str, Node]:
        """The nodes that measure checkpoints."""
        return {name: node for name, node in self.nodes.items() if node.kind == "probes"}

    def notes(self) -> list[str]:
        """Return what may be wrong with the datasets though they can be used, each sentence once."""
        return list(dict.fromkeys(note for world in self.worlds for note in world.notes()))


def called(part: Step | Probe | None) -> str:
    """Return what a step or probe is called in sentences."""
    if part is None:
        return "initialisation"
    return f"probe {part.kind}" if isinstance(part, Probe) else part.name
