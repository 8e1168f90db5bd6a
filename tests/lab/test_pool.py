"""Worker processes: one that dies, scripts without a guard, things that cannot travel."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from mortal import Mortal
from torch import nn

from overparam import Chain, IncompleteWarning, Network, SpecError, Study, Train, World
from overparam.lab import Reporter
from overparam.lab.plan import Node
from small import vectors

TRAINING = Train(epochs=2, batch_size=10)


class Heard(Reporter):
    """Keeps what a run tells."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.failed_steps: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)

    def failed(self, node: Node, reason: str, blocked: int) -> None:
        self.failed_steps.append(reason)


def test_a_worker_that_dies(tmp_path: Path) -> None:
    """Its step is tried once more; if that dies too, it fails for now, and the rest of the study goes on."""
    once, ever = (Network(Mortal, {"flag": str(tmp_path / str(n)), "times": n}) for n in (1, 2))
    study = Study("mortal", World(vectors()), once, Chain(TRAINING), sweep={"network": [once, ever]})
    heard = Heard()
    with pytest.warns(IncompleteWarning):
        results = study.run(tmp_path / "runs", jobs=2, threads=1, reporter=heard)
    reason = f"the worker process died (signal {signal.SIGKILL.value}; the machine may be short of memory)"
    assert len(results.frame) == 1
    assert results.missing == 1
    step = "train (level 0), network {'name': 'Mortal', 'options': ..., seed 0"
    assert results.failures == [f"{step}: {reason}"]
    assert heard.failed_steps == [reason]
    assert heard.notes == [f"{step}: {reason}; trying once more"] * 2
    assert (tmp_path / "1").read_text() == "x"
    assert (tmp_path / "2").read_text() == "xx"
    assert not list((tmp_path / "runs").glob("failures/*/*"))

    again = study.run(tmp_path / "runs", jobs=1, threads=1)  # not remembered: it is tried again, and lives
    assert again.complete
    assert not again.failures


SCRIPT = """
from small import vectors
from torch import nn
from overparam import Chain, Prune, Repeat, Study, Train, World

print("begin")
scale = 0.5

def network(input_shape, classes):
    return nn.Sequential(nn.Linear(*input_shape, 8), nn.Tanh(), nn.Linear(8, classes))

def loss(outputs, labels):
    return scale * nn.functional.cross_entropy(outputs, labels)

training = Train(epochs=2, batch_size=10, loss=loss)
chain = Chain(training, Repeat(1, Prune("magnitude", 0.5), training))
study = Study("script", World(vectors()), network, chain, sweep={"seed": range(2)})
results = study.run("runs", jobs=3, threads=1, progress=False)
print(len(results.frame), results.missing)
"""


def test_script_without_a_guard(tmp_path: Path) -> None:
    """It runs once, though workers are started; its own functions travel; more jobs than chains do no harm."""
    (tmp_path / "script.py").write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, "script.py"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(Path(__file__).parents[1])},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "begin\n4 0\n"
    assert done.stderr == ""


def test_what_cannot_travel_is_said(tmp_path: Path) -> None:
    lock = threading.Lock()

    def locked(input_shape: tuple[int, ...], classes: int) -> nn.Module:
        with lock:
            return nn.Linear(*input_shape, classes)

    study = Study("locked", World(vectors()), locked, Chain(TRAINING), sweep={"seed": range(2)})
    with pytest.raises(SpecError, match=r"cannot be handed to worker processes \(TypeError: cannot pickle"):
        study.run(tmp_path, jobs=2, threads=1)
    assert study.run(tmp_path, jobs=1, threads=1).complete
