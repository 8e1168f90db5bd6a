"""A network whose module, imported by a worker, holds the worker in the middle of writing a result."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from torch import nn

from overparam.lab.blobs import Folder

FOLDER = "OVERPARAM_TEST_HELD"  # of notes: a file for each process that is held, and one, go, that lets them go on
PUT = Folder.put_if_absent


def net() -> nn.Module:
    return nn.Linear(4, 3)


def hold(folder: Folder, key: str, content: bytes) -> bool:
    """Write a part of a blob; all of it once there is a file that says so."""
    notes = Path(os.environ[FOLDER])
    partial = folder.scratch / f"{folder.writer}-part"
    partial.write_bytes(b"a part")
    (notes / f"held-{os.getpid()}").touch()
    while not (notes / "go").exists():
        time.sleep(0.005)
    partial.unlink()
    return PUT(folder, key, content)


if FOLDER in os.environ and Path(sys.argv[0]).name == "worker.py":
    Folder.put_if_absent = hold
