"""A worker process of the pool: ``python -m overparam.lab.worker ADDRESS``, started by :class:`Pool` only."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Mapping
from multiprocessing.connection import Client

import cloudpickle
import torch

from overparam.lab.execute import Workshop
from overparam.lab.executors import Event, outcome_of
from overparam.lab.store import Store


def main() -> None:
    """Be a worker: connect to the parent, take its setup, then run its tasks one after another until it is gone."""
    parent = os.getppid()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides what happens
    key = sys.stdin.buffer.read()
    connection = Client(sys.argv[1], authkey=key)
    sys.path[:] = connection.recv()  # first, so that the user's modules are found when the rest is unpacked
    root, worlds, networks, threads = cloudpickle.loads(connection.recv_bytes())
    torch.set_num_threads(threads)
    workshop = Workshop(Store(root), worlds, networks, threads)

    def watch() -> None:
        """End this process as soon as the parent is gone, even in the middle of a task."""
        while os.getppid() == parent:
            time.sleep(0.2)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
    while True:
        try:
            task, forgotten = cloudpickle.loads(connection.recv_bytes())
        except (EOFError, OSError):
            return
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
