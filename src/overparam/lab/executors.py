"""Where tasks run: in this process, or in a pool of local worker processes."""

from __future__ import annotations

import contextlib
import os
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, Listener, wait
from typing import Any, Literal, Protocol

import cloudpickle
import torch

from overparam.errors import OverparamError
from overparam.lab.execute import BrokenParentError, StepFailure, Task, Workshop
from overparam.lab.store import Store
from overparam.networks import Network
from overparam.worlds import World

START_SECONDS = 120.0  # how long a worker may take to import torch on a busy machine


@dataclass(frozen=True)
class Event:
    """Something that happened to the task of node ``fingerprint``.

    ``what`` is one of: ``progress`` (``detail``: done, total, newest numbers), ``done`` (a :class:`Done`), ``failed``
    (a :class:`StepFailure`), ``broken`` (a :class:`BrokenParentError`), ``died`` (exit code of the worker).
    """

    what: Literal["progress", "done", "failed", "broken", "died"]
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
    """Runs each task in this process; with ``threads`` torch threads while it does."""

    places = 1

    def __init__(self, store: Store, worlds: Sequence[World], networks: Sequence[Network], threads: int) -> None:
        self._workshop = Workshop(store, worlds, networks, threads)
        self._tasks: list[Task] = []
        self._before = torch.get_num_threads()
        self.on_progress: Any = None  # called at once, since events() only returns when the task has ended
        torch.set_num_threads(threads)

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


def outcome_of(workshop: Workshop, task: Task, progress: Any) -> Event:
    """Run a task and return what came of it."""
    fingerprint = task.node.fingerprint
    try:
        return Event("done", fingerprint, workshop.run(task, progress))
    except BrokenParentError as broken:
        return Event("broken", fingerprint, broken)
    except StepFailure as failure:
        return Event("failed", fingerprint, failure)


@dataclass
class _Worker:
    process: subprocess.Popen[bytes]
    connection: Connection
    task: Task | None = None
    last: str | None = None  # the node it ran last, whose result is still in its memory
    forgotten: list[str] = field(default_factory=list)


class Pool:
    """Runs tasks in worker processes on this machine, each with ``threads`` threads.

    Workers are fresh interpreters (``python -m overparam.lab.worker``) rather than forks or multiprocessing's
    spawn: a fork would inherit torch's thread pools in an unknown state, and a spawn runs the user's script again.
    What a user brings (functions, classes, tensors) travels by cloudpickle. A worker whose parent is gone stops.
    """

    def __init__(
        self, store: Store, worlds: Sequence[World], networks: Sequence[Network], threads: int, places: int
    ) -> None:
        self.places = places
        self._paths = list(sys.path)
        root = str(store.root.resolve())
        self._setup = cloudpickle.dumps((root, list(worlds), list(networks), threads))
        self._threads = threads
        self._workers: list[_Worker] = []
        try:
            self._workers = [self._start() for _ in range(places)]
        except BaseException:
            self.close()
            raise

    def _start(self) -> _Worker:
        key = secrets.token_bytes(16)
        with tempfile.TemporaryDirectory() as folder:
            family = "AF_UNIX" if hasattr(os, "fork") else "AF_PIPE"
            address = os.path.join(folder, "worker") if family == "AF_UNIX" else None
            with Listener(address, family, authkey=key) as listener:
                threads = str(self._threads)
                process = subprocess.Popen(
                    [sys.executable, "-m", "overparam.lab.worker", str(listener.address)],
                    stdin=subprocess.PIPE,
                    env={**os.environ, "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads},
                )
                assert process.stdin is not None
                process.stdin.write(key)
                process.stdin.close()
                connection = _accepted(listener, process)
        connection.send(self._paths)
        connection.send_bytes(self._setup)
        return _Worker(process, connection)

    def submit(self, task: Task) -> None:
        """Hand the task to a free worker, if possible the one that made its parent."""
        free = [worker for worker in self._workers if worker.task is None]
        worker = next((w for w in free if w.last == task.node.parent), free[0])
        worker.task = task
        with contextlib.suppress(OSError):  # a dead worker shows in events()
            worker.connection.send_bytes(cloudpickle.dumps((task, worker.forgotten)))
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
                code = worker.process.wait()
                self._workers[self._workers.index(worker)] = self._start()
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
        """Stop all workers at once; what they were in the middle of is in no store."""
        for worker in self._workers:
            worker.process.terminate()
        for worker in self._workers:
            worker.connection.close()
            try:
                worker.process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                worker.process.kill()
                worker.process.wait()


def _accepted(listener: Listener, process: subprocess.Popen[bytes]) -> Connection:
    """Wait for the worker to connect; raises :class:`OverparamError` if it ends before it does."""
    inner = listener._listener._socket if hasattr(listener._listener, "_socket") else None  # type: ignore[attr-defined]
    deadline = time.monotonic() + START_SECONDS
    if inner is not None:
        inner.settimeout(0.2)
    while True:
        try:
            connection = listener.accept()
        except TimeoutError:
            if process.poll() is not None or time.monotonic() > deadline:
                process.kill()
                raise OverparamError(f"a worker process did not start (exit code {process.poll()})") from None
        else:
            return connection
