"""A worker process of the pool: ``python -m overparam.lab.worker CONNECTION PARENT``, started by :class:`Pool` only."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Mapping
from multiprocessing.connection import Connection

import cloudpickle
import torch

from overparam.lab.execute import Workshop
from overparam.lab.executors import Event, outcome_of
from overparam.lab.store import Store


def main() -> None:
    """Be a worker: take the setup from the parent, then run its tasks one after another until it is gone."""
    connection, parent = Connection(int(sys.argv[1])), int(sys.argv[2])
    with contextlib.suppress(EOFError, ConnectionError):  # the parent is gone
        sys.path[:] = connection.recv()  # first, so that the user's modules are found when the rest is unpacked
        root, setup = cloudpickle.loads(connection.recv_bytes())
        torch.set_num_threads(setup.threads)
        _serve(connection, parent, Workshop(Store(root), setup))


def _serve(connection: Connection, parent: int, workshop: Workshop) -> None:
    def watch() -> None:
        """End this process as soon as the parent is gone, even in the middle of a task."""
        while os.getppid() == parent:
            time.sleep(0.2)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
    while True:
        task, forgotten = cloudpickle.loads(connection.recv_bytes())
        for fingerprint in forgotten:
            workshop.forget(fingerprint)
        said = 0.0

        def progress(done: int, total: int, row: Mapping[str, float], fingerprint: str = task.node.fingerprint) -> None:
            nonlocal said
            if time.monotonic() - said > 0.1:
                said = time.monotonic()
                connection.send(Event("progress", fingerprint, (done, total, row)))

        connection.send(outcome_of(workshop, task, progress))


if __name__ == "__main__":
    main()
