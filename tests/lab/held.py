"""A network whose module, imported by a worker, holds the worker in the middle of writing a result."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from torch import nn

from overparam import Checkpoint
from overparam.lab import execute

FOLDER = "OVERPARAM_TEST_HELD"  # of notes: a file for each process that is held, and one, go, that lets them go on
WRITE = execute.save_checkpoint


def net() -> nn.Module:
    return nn.Linear(4, 3)


def hold(checkpoint: Checkpoint, path: Path) -> None:
    """Write a part of a checkpoint; all of it once there is a file that says so."""
    notes = Path(os.environ[FOLDER])
    path.write_bytes(b"a part")
    (notes / f"held-{os.getpid()}").touch()
    while not (notes / "go").exists():
        time.sleep(0.005)
    WRITE(checkpoint, path)


if FOLDER in os.environ and Path(sys.argv[0]).name == "worker.py":
    execute.save_checkpoint = hold
