"""Where tasks run: in this process, or in a pool of local worker processes."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from typing import Any, Literal, Protocol, cast

import cloudpickle
import torch

from overparam.errors import OverparamError, SpecError, in_words
from overparam.lab.execute import BrokenParentError, Setup, StepFailure, Task, Workshop
from overparam.lab.store import Store, UnwritableError

GRACE = 5.0  # seconds in which a worker that is told to stop ends the writing of a result, which takes milliseconds


@dataclass(frozen=True)
class Event:
    """Something that happened to the task of node ``fingerprint``.

    ``what`` is one of: ``progress`` (``detail``: done, total, newest numbers), ``done`` (a :class:`Done`), ``failed``
    (a :class:`StepFailure`), ``broken`` (a :class:`BrokenParentError`), ``unwritable`` (an :class:`UnwritableError`),
    ``died`` (exit code of the worker).
    """

    what: Literal["progress", "done", "failed", "broken", "unwritable", "died"]
    fingerprint: str
    detail: Any = None


class Executor(Protocol):
    """Runs tasks, at most :attr:`places` at once."""

    places: int

    def submit(self, task: Task) -> None:
        """Begin a task; there must be a free place."""

    def events(self) -> Iterator[Event]:
        """Yield what happened since the last call; waits until something has."""

    def forget(self, fingerprint: str) -> None:
        """Drop a result from the memory of all workers."""

    def close(self) -> None:
        """Stop all workers, in the middle of their tasks if they have any."""


class Inline:
    """Runs each task in this process; with the setup's torch threads while it does."""

    places = 1

    def __init__(self, store: Store, setup: Setup) -> None:
        self._store = store
        self._workshop = Workshop(store, setup)
        self._tasks: list[Task] = []
        self._before = torch.get_num_threads()
        self.on_progress: Any = None  # called at once, since events() only returns when the task has ended
        torch.set_num_threads(setup.threads)

    def submit(self, task: Task) -> None:
        """Note the task; it runs when events are asked for."""
        self._tasks.append(task)

    def events(self) -> Iterator[Event]:
        """Run the noted task to its end."""
        task = self._tasks.pop()
        fingerprint = task.node.fingerprint

        def progress(done: int, total: int, row: Mapping[str, float]) -> None:
            if self.on_progress is not None:
                self.on_progress(Event("progress", fingerprint, (done, total, row)))

        yield outcome_of(self._workshop, task, progress)

    def forget(self, fingerprint: str) -> None:
        """Drop a result from memory."""
        self._workshop.forget(fingerprint)

    def close(self) -> None:
        """Give torch its threads back."""
        torch.set_num_threads(self._before)
        self._store.sweep(self._store.writer)  # only if an interruption came while a writer cleaned up


def outcome_of(workshop: Workshop, task: Task, progress: Any) -> Event:
    """Run a task and return what came of it."""
    fingerprint = task.node.fingerprint
    try:
        return Event("done", fingerprint, workshop.run(task, progress))
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
    task: Task | None = None
    last: str | None = None  # the node it ran last, whose result is still in its memory
    forgotten: list[str] = field(default_factory=list)


class Pool:
    """Runs tasks in ``places`` worker processes on this machine, each with the setup's threads.

    Workers are fresh interpreters (``python -m overparam.lab.worker``) rather than forks or multiprocessing's
    spawn: a fork would inherit torch's thread pools in an unknown state, and a spawn runs the user's script again.
    What a user brings (functions, classes, tensors) travels by cloudpickle. A worker whose parent is gone stops.
    """

    def __init__(self, store: Store, setup: Setup, places: int) -> None:
        self.places = places
        self._store = store
        self._setup = _packed((str(store.root.resolve()), setup))
        self._threads = setup.threads
        self._workers: list[_Worker] = []
        try:
            while len(self._workers) < places:  # all are started before the first is waited for
                self._workers.append(self._start())
            for worker in self._workers:
                self._set_up(worker)
        except BaseException:
            self.close()
            raise

    def _start(self) -> _Worker:
        ours, theirs = Pipe()
        threads = str(self._threads)
        # Ctrl-C reaches the whole group of processes; what it means is for this one alone to decide.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            process = subprocess.Popen(
                [sys.executable, "-m", "overparam.lab.worker", str(theirs.fileno()), str(os.getpid())],
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                env={**os.environ, "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads},
            )
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            theirs.close()
        return _Worker(process, ours, uuid.uuid4().hex)

    def _set_up(self, worker: _Worker) -> None:
        try:
            worker.connection.send((sys.path, worker.writer))
            worker.connection.send_bytes(self._setup)
        except OSError:
            code = worker.process.wait()
            raise OverparamError(f"a worker process did not start (exit code {code}); --jobs 1 needs none") from None

    def submit(self, task: Task) -> None:
        """Hand the task to a free worker, if possible the one that made its parent."""
        free = [worker for worker in self._workers if worker.task is None]
        if not free:  # one died
            free = [self._start()]
            self._workers += free
            self._set_up(free[0])
        worker = next((w for w in free if w.last == task.node.parent), free[0])
        worker.task = task
        packed = _packed((task, worker.forgotten))
        with contextlib.suppress(OSError):  # a dead worker shows in events()
            worker.connection.send_bytes(packed)
        worker.forgotten = []

    def events(self) -> Iterator[Event]:
        """Wait for the next messages of the workers and yield them."""
        busy = {worker.connection: worker for worker in self._workers if worker.task is not None}
        for connection in wait(list(busy)):
            worker = busy[connection]  # type: ignore[index]
            assert worker.task is not None
            fingerprint = worker.task.node.fingerprint
            try:
                event = worker.connection.recv()
            except (EOFError, OSError):
                worker.connection.close()
                self._workers.remove(worker)  # another is started when there is a task for it
                code = worker.process.wait()
                self._store.sweep(worker.writer)
                yield Event("died", fingerprint, code)
                continue
            if event.what != "progress":
                worker.task = None
                worker.last = fingerprint
            yield event

    def forget(self, fingerprint: str) -> None:
        """Tell every worker, with its next task, to drop a result from memory."""
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
