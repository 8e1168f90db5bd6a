"""What a job needs: data, modules and checkpoints, the latest of which stay in memory."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import torch
from torch import nn

from overparam.checkpoint import Checkpoint, Given, state_of
from overparam.constraints import masked
from overparam.errors import DataError, SpecError, StepError
from overparam.lab.fingerprint import fingerprint
from overparam.lab.plan import Node, Source
from overparam.lab.store import DamagedError, Store
from overparam.lab.weights import checkpoint_from_bytes
from overparam.networks import Network, prunable, tensor_roles
from overparam.networks.architecture import Form
from overparam.networks.surgery import Surgery, operate
from overparam.recent import Recent
from overparam.spec import plain
from overparam.steps import Context
from overparam.worlds import World, WorldData

KEEP_LOADED = 8  # checkpoints (and modules) in memory: a chain needs its last result, the initialisation, little else

T = TypeVar("T")


class BrokenParentError(Exception):
    """An input of a job was found damaged; it has to be computed again first."""

    def __init__(self, fingerprint: str, reason: str) -> None:
        super().__init__(reason)
        self.fingerprint, self.reason = fingerprint, reason

    def __reduce__(self) -> tuple[type[BrokenParentError], tuple[str, str]]:
        return type(self), (self.fingerprint, self.reason)


@dataclass(frozen=True)
class Setup:
    """What all jobs of a run share.

    Attributes:
        worlds, networks: the plan's lists.
        world_prints: the fingerprint of each world.
        threads: torch threads, recorded with each result.
        engine, device: what trainings compute with, and where.
        repository: the commit of the user's own repository, recorded with each result; empty: there is none.
    """

    worlds: Sequence[World]
    world_prints: Sequence[str]
    networks: Sequence[Network]
    threads: int
    engine: str = "auto"
    device: str = "cpu"
    repository: str = ""


class Modules:
    """The data and modules of jobs, and what they begin with."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self._built_in: Recent[tuple[int, Form], nn.Module] = Recent(KEEP_LOADED)

    def initial(self, node: Node) -> Checkpoint:
        """Return the initialisation that ``node`` stands for."""
        data = self.world(node.world)
        module = self.setup.networks[node.network].build(**data.form, seed=node.seed)
        state = state_of(module)
        roles = tensor_roles(module, data.test.inputs[:1])
        masks = {name: torch.ones(state[name].shape, dtype=torch.bool) for name in prunable(roles)}
        return Checkpoint(state, masked(masks), roles)

    def context(self, node: Node, start: Checkpoint, given: Mapping[str, Checkpoint], **more: Any) -> Context:
        """Return what the step of ``node`` may use, ``given`` being the checkpoints that it names."""
        return Context(
            world=self.world(node.world),
            module=lambda: operate(self.module(node), start.surgery),
            fresh=partial(self.fresh, node),
            seed=node.seed,
            given={name: self.with_module(node.given[name], each) for name, each in given.items()},
            engine=self.setup.engine,
            device=self.setup.device,
            **more,
        )

    def with_module(self, source: Source, checkpoint: Checkpoint) -> Given:
        """Return a checkpoint that was named, with its network."""
        return Given(checkpoint, lambda: checkpoint.load_into(self.module(source)))

    def world(self, place: int) -> WorldData:
        """Return the data of the world at a place in the plan's list."""
        world = self.setup.worlds[place]
        if fingerprint(world.identity()) != self.setup.world_prints[place]:
            raise DataError(
                "the dataset is not the one that the study was planned with; a function that makes data must make the "
                "same at each call, and files must not change while a study runs"
            )
        return world.build()

    def fresh(self, at: Node | Source, draw: str, surgery: Surgery = ()) -> nn.Module:
        """Return a newly initialised module."""
        data = self.world(at.world)
        return self.setup.networks[at.network].fresh(**data.form, seed=at.seed, draw=draw, surgery=surgery)

    def module(self, at: Node | Source) -> nn.Module:
        """Return a module as the initialisation's was made, to load weights over.

        A network of one's own is made by its factory, each time: in a copy, functions and hooks that it holds would
        still mean the original. Built-in ones hold none, and to copy them costs less than to draw weights.
        """
        if not self.setup.networks[at.network].built_in:
            return self.fresh(at, "init")
        data = self.world(at.world)
        key = (at.network, Form(**data.form))
        return copy.deepcopy(self._built_in.get(key, partial(self.fresh, at, "init")))

    def recipe(self, at: Node | Source) -> dict[str, Any] | None:
        """Return what rebuilds the module anywhere, JSON-able; None for a network that has no name."""
        network, form = self.setup.networks[at.network], self.world(at.world).form
        try:
            return {"network": plain(network), "form": plain(form)} if isinstance(network.name, str) else None
        except SpecError:  # an option that JSON cannot hold
            return None


class Inputs(Modules):
    """Modules, and the checkpoints of a store; raises :class:`BrokenParentError` for a damaged one."""

    def __init__(self, store: Store, setup: Setup) -> None:
        super().__init__(setup)
        self.store = store
        self._checkpoints: Recent[tuple[str, str | None], Checkpoint] = Recent(KEEP_LOADED)
        self._numbers: Recent[str, Mapping[str, Any]] = Recent(KEEP_LOADED)

    def given(self, source: Source) -> Given:
        """Return a checkpoint that was named, with its network."""
        return self.with_module(source, self.checkpoint(source.node, source.point))

    def checkpoint(self, node: str, point: str | None = None) -> Checkpoint:
        """Return the result of a step, or a point on its way."""
        return self._checkpoints.get((node, point), partial(self._load, node, point))

    def _load(self, node: str, point: str | None) -> Checkpoint:
        if point is not None and point not in self.numbers(node)["tensors"]:
            raise StepError(f"there is no {point} of the training to go back to: it reached its stop_at before")
        return checkpoint_from_bytes(_whole(node, lambda: self.store.weights(node, point or "checkpoint")))

    def numbers(self, node: str) -> Mapping[str, Any]:
        """Return what was recorded of a step."""
        return self._numbers.get(node, lambda: _whole(node, lambda: self.store.numbers("steps", node)))

    def remember(self, node: str, checkpoint: Checkpoint) -> None:
        """Keep the result of a step that was just made."""
        self._checkpoints.keep((node, None), checkpoint)

    def forget(self, node: str) -> None:
        """Drop a result from memory, because it was found damaged and will be computed again."""
        self._numbers.forget(node)
        for key in self._checkpoints:
            if key[0] == node:
                self._checkpoints.forget(key)


def _whole(node: str, read: Callable[[], T]) -> T:
    try:
        return read()
    except DamagedError as damage:
        raise BrokenParentError(node, str(damage)) from None
