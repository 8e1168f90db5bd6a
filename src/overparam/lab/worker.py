"""A worker process of the pool: ``python -m overparam.lab.worker CONNECTION PARENT``, started by :class:`Pool` only."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Mapping
from multiprocessing.connection import Connection

import cloudpickle
import torch

from overparam import folders
from overparam.lab.execute import Workshop
from overparam.lab.executors import GRACE, Event, outcome_of
from overparam.lab.store import Store

ENDINGS = frozenset({signal.SIGTERM, signal.SIGHUP})  # SIGINT is for the parent alone


def main() -> None:
    """Be a worker: take the setup from the parent, then run its nodes one after another until it is gone."""
    folders.telling = False
    connection, parent = Connection(int(sys.argv[1])), int(sys.argv[2])
    with contextlib.suppress(EOFError, ConnectionError):  # the parent is gone
        # first, so that the user's modules are found when the rest is unpacked
        sys.path[:], writer = connection.recv()
        root, setup = cloudpickle.loads(connection.recv_bytes())
        torch.set_num_threads(setup.threads)
        store = Store(root, writer=writer)
        _end_between_writes(parent, store)
        _serve(connection, Workshop(store, setup))


def _end_between_writes(parent: int, store: Store) -> None:
    """End this process on SIGTERM or SIGHUP, or when the parent is gone: in the middle of anything but a write.

    A thread does it, since the main one may be in native code for seconds, or in a user's ``except``. One that is
    stuck in a write has :data:`GRACE` seconds.
    """
    told, teller = os.pipe()
    os.set_blocking(teller, False)
    signal.set_wakeup_fd(teller, warn_on_full_buffer=False)
    for number in ENDINGS:
        signal.signal(number, lambda *_: None)  # without a handler there is no wake-up

    def watch() -> None:
        while os.getppid() == parent:
            if select.select([told], [], [], 0.2)[0] and ENDINGS.intersection(os.read(told, 100)):
                break
        store.writing.acquire(timeout=GRACE)
        os._exit(128 + signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()


def _serve(connection: Connection, workshop: Workshop) -> None:
    while True:
        node, forgotten = cloudpickle.loads(connection.recv_bytes())
        for fingerprint in forgotten:
            workshop.inputs.forget(fingerprint)
        said = 0.0

        def progress(done: int, total: int, row: Mapping[str, float], fingerprint: str = node.fingerprint) -> None:
            nonlocal said
            if time.monotonic() - said > 0.1:
                said = time.monotonic()
                connection.send(Event("progress", fingerprint, (done, total, row)))

        connection.send(outcome_of(workshop, node, progress))


if __name__ == "__main__":
    main()
