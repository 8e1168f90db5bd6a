"""Where nodes are run: in this process, or in a pool of local worker processes."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from typing import Any, Literal, Protocol, cast

import cloudpickle
import torch

from overparam.errors import OverparamError, SpecError, in_words
from overparam.lab.execute import StepFailure, Workshop
from overparam.lab.inputs import BrokenParentError, Setup
from overparam.lab.plan import Node
from overparam.lab.store import Store, UnwritableError

GRACE = 5.0  # seconds in which a worker that is told to stop ends the writing of a result, which takes milliseconds


@dataclass(frozen=True)
class Event:
    """Something that happened to the node ``fingerprint``.

    ``what`` is one of: ``progress`` (``detail``: done, total, newest numbers), ``done`` (a :class:`Done`), ``failed``
    (a :class:`StepFailure`), ``broken`` (a :class:`BrokenParentError`), ``unwritable`` (an :class:`UnwritableError`),
    ``died`` (exit code of the worker).
    """

    what: Literal["progress", "done", "failed", "broken", "unwritable", "died"]
    fingerprint: str
    detail: Any = None


class Place(Protocol):
    """Where one node is run at a time; ``last`` is the step whose result it has in memory."""

    last: str | None


class Executor(Protocol):
    """Runs nodes, one at each of its places."""

    def free(self) -> Sequence[Place]:
        """Return the places that have nothing to do."""

    def submit(self, node: Node, place: Place) -> None:
        """Begin a node at a free place."""

    def events(self) -> Iterator[Event]:
        """Yield what happened since the last call; waits until something has."""

    def forget(self, fingerprint: str) -> None:
        """Drop a result from the memory of all workers."""

    def close(self) -> None:
        """Stop all workers, in the middle of what they do."""


class Inline:
    """Runs each node in this process, its only place; with the setup's torch threads while it does."""

    def __init__(self, store: Store, setup: Setup) -> None:
        self._store = store
        self._workshop = Workshop(store, setup)
        self._node: Node | None = None
        self.last: str | None = None
        self._before = torch.get_num_threads()
        self.on_progress: Any = None  # called at once, since events() only returns when the task has ended
        torch.set_num_threads(setup.threads)

    def free(self) -> Sequence[Place]:
        """Return this one, if nothing is noted."""
        return [] if self._node else [self]

    def submit(self, node: Node, place: Place) -> None:
        """Note the node; it runs when events are asked for."""
        self._node = node

    def events(self) -> Iterator[Event]:
        """Run the noted node to its end."""
        assert self._node is not None
        node, self._node = self._node, None
        self.last = in_memory(node)

        def progress(done: int, total: int, row: Mapping[str, float]) -> None:
            if self.on_progress is not None:
                self.on_progress(Event("progress", node.fingerprint, (done, total, row)))

        yield outcome_of(self._workshop, node, progress)

    def forget(self, fingerprint: str) -> None:
        """Drop a result from memory."""
        self._workshop.inputs.forget(fingerprint)

    def close(self) -> None:
        """Give torch its threads back."""
        torch.set_num_threads(self._before)
        self._store.sweep(self._store.writer)  # only if an interruption came while a writer cleaned up


def in_memory(node: Node) -> str | None:
    """Return the step whose result is in memory after ``node`` was run."""
    return node.start if node.kind == "probes" else node.fingerprint


def outcome_of(workshop: Workshop, node: Node, progress: Any) -> Event:
    """Run a node and return what came of it."""
    fingerprint = node.fingerprint
    try:
        return Event("done", fingerprint, workshop.run(node, progress))
    except BrokenParentError as broken:
        return Event("broken", fingerprint, broken)
    except StepFailure as failure:
        return Event("failed", fingerprint, failure)
    except UnwritableError as refusal:
        return Event("unwritable", fingerprint, refusal)


@dataclass
class _Worker:
    process: subprocess.Popen[bytes]
    connection: Connection
    writer: str  # its name in the store
    node: Node | None = None
    last: str | None = None
    forgotten: list[str] = field(default_factory=list)


class Pool:
    """Runs nodes in ``places`` worker processes on this machine, each with the setup's threads.

    Workers are fresh interpreters (``python -m overparam.lab.worker``) rather than forks or multiprocessing's
    spawn: a fork would inherit torch's thread pools in an unknown state, and a spawn runs the user's script again.
    What a user brings (functions, classes, tensors) travels by cloudpickle. A worker whose parent is gone stops.
    """

    def __init__(self, store: Store, setup: Setup, places: int) -> None:
        self._places = places
        self._store = store
        self._setup = _packed((str(store.root.resolve()), setup))
        self._threads = setup.threads
        self._workers: list[_Worker] = []
        try:
            self.free()
        except BaseException:
            self.close()
            raise

    def _start(self) -> _Worker:
        ours, theirs = Pipe()
        threads = str(self._threads)
        # Ctrl-C reaches the whole group of processes; what it means is for this one alone to decide, once it knows the
        # worker that it will have to stop
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            process = subprocess.Popen(
                [sys.executable, "-m", "overparam.lab.worker", str(theirs.fileno()), str(os.getpid())],
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                env={**os.environ, "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads},
            )
            self._workers.append(_Worker(process, ours, uuid.uuid4().hex))
            return self._workers[-1]
        finally:
            theirs.close()
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)

    def _set_up(self, worker: _Worker) -> None:
        try:
            worker.connection.send((sys.path, worker.writer))
            worker.connection.send_bytes(self._setup)
        except OSError:
            code = worker.process.wait()
            raise OverparamError(f"a worker process did not start (exit code {code}); --jobs 1 needs none") from None

    def free(self) -> Sequence[Place]:
        """Return the workers that have nothing to do, and new ones for those that died."""
        new: list[_Worker] = []
        while len(self._workers) < self._places:  # all are started before the first is waited for
            new.append(self._start())
        for worker in new:
            self._set_up(worker)
        return [worker for worker in self._workers if worker.node is None]

    def submit(self, node: Node, place: Place) -> None:
        """Hand the node to a worker."""
        worker = cast(_Worker, place)
        worker.node, worker.last = node, in_memory(node)
        packed = _packed((node, worker.forgotten))
        with contextlib.suppress(OSError):  # a dead worker shows in events()
            worker.connection.send_bytes(packed)
        worker.forgotten = []

    def events(self) -> Iterator[Event]:
        """Wait for the next messages of the workers and yield them."""
        busy = {worker.connection: worker for worker in self._workers if worker.node is not None}
        for connection in wait(list(busy)):
            worker = busy[connection]  # type: ignore[index]
            assert worker.node is not None
            fingerprint = worker.node.fingerprint
            try:
                event = worker.connection.recv()
            except (EOFError, OSError):
                worker.connection.close()
                self._workers.remove(worker)  # another is started when there is something to do
                code = worker.process.wait()
                self._store.sweep(worker.writer)
                yield Event("died", fingerprint, code)
                continue
            if event.what != "progress":
                worker.node = None
            yield event

    def forget(self, fingerprint: str) -> None:
        """Tell every worker, with its next node, to drop a result from memory."""
        for worker in self._workers:
            worker.forgotten.append(fingerprint)

    def close(self) -> None:
        """Stop all workers: each ends the writing of a result, if it is at that, and nothing else."""
        for worker in self._workers:
            worker.process.terminate()
        deadline = time.monotonic() + GRACE
        for worker in self._workers:
            worker.connection.close()
            try:
                worker.process.wait(timeout=max(deadline - time.monotonic(), 0.0))
            except subprocess.TimeoutExpired:
                worker.process.kill()
                worker.process.wait()
            self._store.sweep(worker.writer)


def _packed(things: Any) -> bytes:
    """Return ``things`` as bytes for another process; raises :class:`SpecError` for what cannot leave this one."""
    try:
        return cast(bytes, cloudpickle.dumps(things))
    except Exception as error:  # noqa: BLE001 (what a user brings may raise anything)
        raise SpecError(
            f"a part of the study cannot be handed to worker processes ({in_words(error)}); run it with one job"
        ) from None
