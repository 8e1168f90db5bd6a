"""Running one node of a plan, in whatever process: inputs from the store, result into the store."""

from __future__ import annotations

import copy
import time
import traceback
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from overparam.checkpoint import Checkpoint, Given, state_of
from overparam.constraints import masked
from overparam.errors import DataError, OverparamError, SpecError, StepError, in_words
from overparam.lab.curves import columns_of
from overparam.lab.fingerprint import fingerprint, part_content
from overparam.lab.journal import FileJournal
from overparam.lab.plan import Measurement, Node
from overparam.lab.signals import Stopped
from overparam.lab.store import DamagedError, Store, UnwritableError
from overparam.lab.torch_settings import full_precision
from overparam.lab.weights import checkpoint_from_bytes, checkpoint_to_bytes
from overparam.machine import machine_facts, peak_memory_bytes, reset_peak_memory
from overparam.networks import Network, prunable, tensor_roles
from overparam.networks.architecture import Form
from overparam.probes import Probe, View
from overparam.spec import plain
from overparam.steps import Context, Outcome, Step
from overparam.streams import global_stream
from overparam.worlds import World, WorldData

KEEP_LOADED = 8  # checkpoints (and modules) in memory: a chain needs its last result, the initialisation, little else


@dataclass(frozen=True)
class Task:
    """A node to run if the store lacks it, and the measurements of its result that the store lacks."""

    node: Node
    measurements: Sequence[Measurement]


@dataclass(frozen=True)
class Done:
    """What came of a task: ``ran`` tells whether the step itself was run; ``values`` are the newest measurements,
    ``notes`` what the user should hear of."""

    ran: bool
    seconds: float
    values: Mapping[str, Any] = field(default_factory=dict)
    notes: Sequence[str] = ()


class BrokenParentError(Exception):
    """An input of a task was found damaged; it has to be computed again first."""

    def __init__(self, fingerprint: str, reason: str) -> None:
        super().__init__(reason)
        self.fingerprint, self.reason = fingerprint, reason

    def __reduce__(self) -> tuple[type[BrokenParentError], tuple[str, str]]:
        return type(self), (self.fingerprint, self.reason)


class StepFailure(Exception):  # noqa: N818 (an outcome rather than an error of ours)
    """A step or probe failed: ``reason`` is one sentence, ``detail`` the traceback, ``lasting`` whether to remember."""

    def __init__(self, reason: str, detail: str, lasting: bool) -> None:
        super().__init__(reason)
        self.reason, self.detail, self.lasting = reason, detail, lasting

    def __reduce__(self) -> tuple[type[StepFailure], tuple[str, str, bool]]:
        return type(self), (self.reason, self.detail, self.lasting)


@dataclass(frozen=True)
class Setup:
    """What all tasks of a run share.

    Attributes:
        worlds, networks: the plan's lists.
        world_prints: the fingerprint of each world.
        threads: torch threads, recorded with each result.
        engine: what trainings compute with.
    """

    worlds: Sequence[World]
    world_prints: Sequence[str]
    networks: Sequence[Network]
    threads: int
    engine: str = "auto"


class Workshop:
    """Runs tasks; keeps worlds, modules of built-in networks and the latest checkpoints in memory between them.

    Args:
        store: where inputs come from and results go.
        setup: what all tasks share.
    """

    def __init__(self, store: Store, setup: Setup) -> None:
        self.store, self.setup = store, setup
        self.notes: list[str] = []
        self._probing = ""  # the probe at work, for messages
        self._loaded: OrderedDict[tuple[str, str | None], Checkpoint] = OrderedDict()
        self._built_in: OrderedDict[tuple[int, Form], nn.Module] = OrderedDict()

    def run(self, task: Task, progress: Callable[[int, int, Mapping[str, float]], None] | None = None) -> Done:
        """Run ``task``.

        Raises:
            BrokenParentError: an input is damaged.
            StepFailure: the step or one of its probes failed.
            UnwritableError: the store takes no results any more.
        """
        began = time.perf_counter()
        self.notes, self._probing = [], ""
        try:
            with full_precision():
                ran = not self.store.has("steps", task.node.fingerprint)
                if ran:
                    self._step(task.node, progress)
                missing = [m for m in task.measurements if not self.store.has("probes", m.fingerprint)]
                values = self._measure(task.node, missing) if missing else {}
        except (BrokenParentError, UnwritableError, KeyboardInterrupt, Stopped):
            raise
        except OverparamError as error:
            raise StepFailure(f"{self._probing}{error}", "", isinstance(error, StepError | SpecError)) from None
        except (Exception, SystemExit) as error:  # noqa: BLE001 (a user's module or loss may raise anything)
            reason = f"{self._probing}{in_words(error)}{_place(error)}"
            raise StepFailure(reason, traceback.format_exc(), False) from None
        return Done(ran, time.perf_counter() - began, values, tuple(self.notes))

    def _step(self, node: Node, progress: Callable[[int, int, Mapping[str, float]], None] | None) -> None:
        reset_peak_memory()
        journal = FileJournal(self.store.journal(node.fingerprint))
        began = time.perf_counter()
        outcome = self._initial(node) if node.step is None else self._advance(node, progress, journal)
        facts = {
            **outcome.facts,
            "seconds": time.perf_counter() - began,
            "peak_memory_bytes": peak_memory_bytes(),
        }
        self._write(node, outcome, facts)
        self.notes += [*journal.notes, *outcome.notes]
        journal.clear()
        self._remember((node.fingerprint, None), outcome.checkpoint)

    def _initial(self, node: Node) -> Outcome:
        data = self._world(node.world)
        module = self.setup.networks[node.network].build(**data.form, seed=node.seed)
        state = state_of(module)
        roles = tensor_roles(module, data.test.inputs[:1])
        masks = {name: torch.ones(state[name].shape, dtype=torch.bool) for name in prunable(roles)}
        return Outcome(Checkpoint(state, masked(masks), roles))

    def _advance(
        self,
        node: Node,
        progress: Callable[[int, int, Mapping[str, float]], None] | None,
        journal: FileJournal,
    ) -> Outcome:
        assert node.step is not None
        assert node.parent is not None
        data = self._world(node.world)
        context = Context(
            world=data,
            module=partial(self._module, node, data),
            fresh=partial(self._fresh, node, data),
            seed=node.seed,
            given={name: self._given(node, data, *found) for name, found in node.references.items()},
            progress=progress,
            journal=journal,
            engine=self.setup.engine,
        )
        start = self._checkpoint(node.parent, None)
        with global_stream(node.seed, "step", node.position), self._watched(node.step):
            return node.step.run(start, context)

    @contextmanager
    def _watched(self, part: Step | Probe) -> Iterator[None]:
        """Note if what a user brings, by which the result is filed, is not the same after it has run."""
        before = part_content(part)
        yield
        if part_content(part) != before:
            self.notes.append(
                f"{part.kind}: your code is not what it was when this began; either its file was edited, or it changes "
                "globals, classes or objects as it runs, on which later results may then depend: keep no state there"
            )

    def _write(self, node: Node, outcome: Outcome, facts: Mapping[str, float]) -> None:
        checkpoint = outcome.checkpoint
        kept = {"checkpoint": checkpoint, **outcome.points}
        self.store.write(
            "steps",
            node.fingerprint,
            {
                "title": node.title,
                "step": node.step.kind if node.step else "init",
                "parameters": plain(node.step.parameters()) if node.step else {},
                "parent": node.parent,
                "references": plain(node.references),
                "seed": node.seed,
                "kept": checkpoint.kept,
                "weights": checkpoint.weights,
                "facts": dict(facts),
                "made": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                "machine": {**machine_facts(), "threads": str(self.setup.threads)},
                "curve": columns_of(outcome.curve),
            },
            {name: checkpoint_to_bytes(each) for name, each in kept.items()},
        )

    def _measure(self, node: Node, measurements: Sequence[Measurement]) -> dict[str, Any]:
        numbers = self._numbers(node.fingerprint)
        facts = {**numbers["facts"], "bytes": numbers["tensors"]["checkpoint"]["bytes"]}
        checkpoint, init = self._checkpoint(node.fingerprint, None), self._checkpoint(node.init, None)
        values: dict[str, Any] = {}
        for measurement in measurements:
            data, probe = self._world(measurement.world), measurement.probe
            self._probing = f"probe {probe.kind}: "
            view = View(data, partial(self._module, node, data), init, facts)
            with global_stream(node.seed, "probe", probe.kind), self._watched(probe):
                found = probe.measure(checkpoint, view)
            probe.check(found)
            body = {
                "probe": probe.kind,
                "parameters": plain(probe.parameters()),
                "checkpoint": node.fingerprint,
                "values": plain(found.values),
                "layers": plain(found.layers),
            }
            self.store.write("probes", measurement.fingerprint, body)
            values |= found.values
        return values

    def _world(self, place: int) -> WorldData:
        world = self.setup.worlds[place]
        if fingerprint(world.identity()) != self.setup.world_prints[place]:
            raise DataError(
                "the dataset is not the one that the study was planned with; a function that makes data must make the "
                "same at each call, and files must not change while a study runs"
            )
        return world.build()

    def _fresh(self, node: Node, data: WorldData, draw: str) -> nn.Module:
        return self.setup.networks[node.network].fresh(**data.form, seed=node.seed, draw=draw)

    def _module(self, node: Node, data: WorldData) -> nn.Module:
        """Return a module as the initialisation's was made, to load weights over.

        A network of one's own is made by its factory, each time: in a copy, functions and hooks that it holds would
        still mean the original. Built-in ones hold none, and to copy them costs less than to draw weights.
        """
        network = self.setup.networks[node.network]
        if not network.built_in:
            return self._fresh(node, data, "init")
        key = (node.network, Form(**data.form))
        if key not in self._built_in:
            self._built_in[key] = self._fresh(node, data, "init")
        self._built_in.move_to_end(key)
        while len(self._built_in) > KEEP_LOADED:
            self._built_in.popitem(last=False)
        return copy.deepcopy(self._built_in[key])

    def _given(self, node: Node, data: WorldData, fingerprint: str, point: str | None) -> Given:
        checkpoint = self._checkpoint(fingerprint, point)
        return Given(checkpoint, lambda: checkpoint.load_into(self._module(node, data)))

    def _checkpoint(self, fingerprint: str, point: str | None) -> Checkpoint:
        key = (fingerprint, point)
        if key not in self._loaded:
            if point is not None and point not in self._numbers(fingerprint)["tensors"]:
                raise StepError(f"there is no {point} of the training to go back to: it reached its stop_at before")
            with _parent_checked(fingerprint):
                self._remember(key, checkpoint_from_bytes(self.store.weights(fingerprint, point or "checkpoint")))
        self._loaded.move_to_end(key)
        return self._loaded[key]

    def _numbers(self, fingerprint: str) -> dict[str, Any]:
        with _parent_checked(fingerprint):
            return self.store.numbers("steps", fingerprint)

    def _remember(self, key: tuple[str, str | None], checkpoint: Checkpoint) -> None:
        self._loaded[key] = checkpoint
        while len(self._loaded) > KEEP_LOADED:
            self._loaded.popitem(last=False)

    def forget(self, fingerprint: str) -> None:
        """Drop a result from memory, because it was found damaged and will be computed again."""
        for key in [key for key in self._loaded if key[0] == fingerprint]:
            del self._loaded[key]


@contextmanager
def _parent_checked(fingerprint: str) -> Iterator[None]:
    """Turn damage to what is read inside into :class:`BrokenParentError`."""
    try:
        yield
    except DamagedError as damage:
        raise BrokenParentError(fingerprint, str(damage)) from None


def _place(error: BaseException) -> str:
    """Return where in the user's own code an error came up, as words to put behind it; nothing if in none of it."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if not {"overparam", "site-packages", "dist-packages"}.intersection(Path(frame.filename).parts):
            return f" (in {frame.name}, {frame.filename}, line {frame.lineno})"
    return ""
