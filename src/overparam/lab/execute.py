"""Running one node of a plan, in whatever process: inputs from the store, result into the store."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from overparam.errors import OverparamError, SpecError, StepError, in_words
from overparam.lab.curves import columns_of
from overparam.lab.fingerprint import part_identity
from overparam.lab.inputs import KEEP_LOADED, BrokenParentError, Inputs, Setup
from overparam.lab.journal import FileJournal
from overparam.lab.plan import Node
from overparam.lab.store import Store, UnwritableError
from overparam.lab.torch_settings import full_precision
from overparam.lab.weights import checkpoint_to_bytes
from overparam.machine import machine_facts, peak_memory_bytes, reset_peak_memory
from overparam.networks.surgery import operate
from overparam.probes import Probe, View
from overparam.recent import Recent
from overparam.signals import Stopped
from overparam.spec import plain
from overparam.steps import Outcome, Step
from overparam.streams import global_stream

Progress = Callable[[int, int, Mapping[str, float]], None]


@dataclass(frozen=True)
class Done:
    """What came of a job: ``ran`` tells whether it was run (or found in the store), ``values`` are what was measured,
    ``notes`` what the user should hear of."""

    ran: bool
    seconds: float = 0.0
    values: Mapping[str, Any] = field(default_factory=dict)
    notes: Sequence[str] = ()

    def followed_by(self, measured: Done) -> Done:
        """Return what came of this step and of a measurement of its result."""
        seconds, notes = self.seconds + measured.seconds, (*self.notes, *measured.notes)
        return Done(self.ran, seconds, {**self.values, **measured.values}, notes)


class StepFailure(Exception):  # noqa: N818 (an outcome rather than an error of ours)
    """A job failed: ``reason`` is one sentence, ``detail`` the traceback, ``lasting`` whether to remember."""

    def __init__(self, reason: str, detail: str, lasting: bool) -> None:
        super().__init__(reason)
        self.reason, self.detail, self.lasting = reason, detail, lasting

    def __reduce__(self) -> tuple[type[StepFailure], tuple[str, str, bool]]:
        return type(self), (self.reason, self.detail, self.lasting)


class Workshop:
    """Runs nodes, one after another.

    Args:
        store: where inputs come from and results go.
        setup: what all of them share.
    """

    def __init__(self, store: Store, setup: Setup) -> None:
        self.store, self.setup, self.inputs = store, setup, Inputs(store, setup)
        self.notes: list[str] = []
        self._identities: Recent[int, tuple[Step | Probe, Mapping[str, Any]]] = Recent(KEEP_LOADED)

    def run(self, node: Node, progress: Progress | None = None) -> Done:
        """Run ``node`` if the store lacks its result.

        Raises:
            BrokenParentError: an input is damaged.
            StepFailure: the step or the probe failed.
            UnwritableError: the store takes no results any more.
        """
        began = time.perf_counter()
        self.notes = []
        if self.store.has(node.kind, node.fingerprint):  # another process was quicker
            return Done(ran=False)
        try:
            with full_precision():
                values = self._measure(node, node.part) if isinstance(node.part, Probe) else self._step(node, progress)
        except (BrokenParentError, UnwritableError, KeyboardInterrupt, Stopped):
            raise
        except OverparamError as error:
            lasting = node.kind == "steps" and isinstance(error, StepError | SpecError)
            raise StepFailure(str(error), "", lasting) from None
        except (Exception, SystemExit) as error:  # noqa: BLE001 (a user's module or loss may raise anything)
            raise StepFailure(f"{in_words(error)}{_place(error)}", traceback.format_exc(), False) from None
        return Done(True, time.perf_counter() - began, values, tuple(self.notes))

    def _step(self, node: Node, progress: Progress | None) -> dict[str, Any]:
        reset_peak_memory()
        journal = FileJournal(self.store.journal(node.fingerprint))
        began = time.perf_counter()
        outcome = self._initial(node) if node.part is None else self._advance(node, progress, journal)
        facts = {
            **outcome.facts,
            **({"notes": [*outcome.notes]} if outcome.notes else {}),
            "seconds": time.perf_counter() - began,
            "seconds_before": self._seconds_before(node),
            "peak_memory_bytes": peak_memory_bytes(),
        }
        self._write(node, outcome, facts)
        self.notes += [*journal.notes, *outcome.notes]
        journal.clear()
        self.inputs.remember(node.fingerprint, outcome.checkpoint)
        return {}

    def _seconds_before(self, node: Node) -> float | None:
        """Return what the steps that lead to ``node`` took; None where one was made before this was kept."""
        facts = (
            {"seconds": 0.0, "seconds_before": 0.0} if node.start is None else self.inputs.numbers(node.start)["facts"]
        )
        before = facts.get("seconds_before")
        return None if before is None else before + facts["seconds"]

    def _initial(self, node: Node) -> Outcome:
        return Outcome(self.inputs.initial(node))

    def _advance(self, node: Node, progress: Progress | None, journal: FileJournal) -> Outcome:
        assert isinstance(node.part, Step)
        assert node.start is not None
        start = self.inputs.checkpoint(node.start)
        given = {name: self.inputs.checkpoint(source.node, source.point) for name, source in node.given.items()}
        context = self.inputs.context(node, start, given, progress=progress, journal=journal)
        with global_stream(node.seed, "step", node.position), self._watched(node.part):
            return node.part.outcome(start, context)

    def _measure(self, node: Node, probe: Probe) -> dict[str, Any]:
        assert node.start is not None
        numbers = self.inputs.numbers(node.start)
        facts = {**numbers["facts"], "bytes": numbers["tensors"]["checkpoint"]["bytes"]}
        against = [self.inputs.given(source) for source in node.given.values()]
        checkpoint = self.inputs.checkpoint(node.start)
        view = View(
            self.inputs.world(node.world),
            lambda: operate(self.inputs.module(node), checkpoint.surgery),
            facts,
            against[0] if against else None,
            self.setup.device,
            numbers["curve"],
        )
        with global_stream(node.seed, "probe", probe.kind), self._watched(probe):
            found = probe.measure(checkpoint, view)
        probe.check(found)
        values = {f"{name}{probe.suffix}": value for name, value in found.values.items()}
        body = {
            "probe": probe.kind,
            "parameters": plain(probe.parameters()),
            "checkpoint": node.start,
            "references": plain(node.given),
            "values": plain(values),
            "layers": {
                layer: plain({f"{name}{probe.suffix}": value for name, value in row.items()})
                for layer, row in found.layers.items()
            },
        }
        self.store.write("probes", node.fingerprint, body)
        return values

    @contextmanager
    def _watched(self, part: Step | Probe) -> Iterator[None]:
        """Note if what a user brings, by which the result is filed, is not the same after it has run.

        What it was after it ran last is what it is before it runs again: to look twice a step would cost more.
        """
        _, before = self._identities.get(id(part), lambda: (part, part_identity(part)))
        yield
        after = part_identity(part)
        self._identities.keep(id(part), (part, after))  # with the part, or another could get its id
        if after != before:
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
                "step": node.part.kind if node.part else "init",
                "parameters": plain(node.part.parameters()) if node.part else {},
                "parent": node.start,
                "references": plain(node.given),
                "seed": node.seed,
                "network": self.inputs.recipe(node),
                "kept": checkpoint.kept,
                "weights": checkpoint.weights,
                "facts": dict(facts),
                "made": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                "machine": self._machine(),
                "curve": columns_of(outcome.curve),
            },
            {name: checkpoint_to_bytes(each) for name, each in kept.items()},
        )

    def _machine(self) -> dict[str, str]:
        where = {"repository": self.setup.repository} if self.setup.repository else {}
        return {**machine_facts(), "threads": str(self.setup.threads), **where}


def _place(error: BaseException) -> str:
    """Return where in the user's own code an error came up, as words to put behind it; nothing if in none of it."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if not {"overparam", "site-packages", "dist-packages"}.intersection(Path(frame.filename).parts):
            return f" (in {frame.name}, {frame.filename}, line {frame.lineno})"
    return ""
