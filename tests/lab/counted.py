"""Steps, probes and networks that count or fail."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor, nn

from overparam import Checkpoint, StepError, Train
from overparam.probes import Measurements, Probe, View
from overparam.spec import spec
from overparam.steps import Context, Outcome, Step

FILE, BROKEN = "OVERPARAM_TEST_COUNTS", "OVERPARAM_TEST_BROKEN"


def count(what: str) -> None:
    """Add a line to a file: a global that is counted up would be a part of the code's content."""
    with open(os.environ[FILE], "a") as file:
        file.write(f"{what}\n")


def counted() -> Counter[str]:
    """What was counted."""
    path = Path(os.environ[FILE])
    return Counter(path.read_text().splitlines() if path.exists() else [])


def forget() -> None:
    """Count from zero."""
    Path(os.environ[FILE]).unlink(missing_ok=True)


@spec
class CountingTrain(Train):
    """A training that counts its runs by seed."""

    kind: ClassVar[str] = "counting-train"

    def run(self, start: Checkpoint, context: Context) -> Outcome:
        """Train and count."""
        count(f"train {context.seed}")
        return super().run(start, context)


@spec
class CountingProbe(Probe):
    """A probe that counts its measurements."""

    kind: ClassVar[str] = "counting"
    factor: float = 1.0

    def measure(self, checkpoint: Checkpoint, view: View) -> Measurements:
        """Return a number of the checkpoint."""
        count("probe")
        return Measurements({"level_times": checkpoint.level * self.factor})


@spec
class Failing(Step):
    """A step that fails in one of several ways at the levels it is told."""

    kind: ClassVar[str] = "failing"
    how: str = "StepError"
    at: int = 0

    def run(self, start: Checkpoint, context: Context) -> Outcome:
        """Fail, or hand on."""
        count("failing")
        if start.level == self.at:
            errors: dict[str, BaseException] = {
                "StepError": StepError("it does not work"),
                "ValueError": ValueError("two\nlines"),
                "KeyboardInterrupt": KeyboardInterrupt(),
            }
            if self.how in errors:
                raise errors[self.how]
        return Outcome(start.counted("failing"))


@spec
class BrokenProbe(Probe):
    """A probe that fails as long as it is told to."""

    kind: ClassVar[str] = "broken"

    def measure(self, checkpoint: Checkpoint, view: View) -> Measurements:
        """Fail, or measure."""
        if BROKEN in os.environ and checkpoint.level == 0:
            raise StepError("nothing to be seen")
        return Measurements({"seen": 1})


class RandomFeatures(nn.Module):
    """Fixed random features that are no part of the state dict: the module of another seed is another network."""

    def __init__(self, input_shape: tuple[int, ...], classes: int) -> None:
        super().__init__()
        self.features = torch.randn(input_shape[0], 10)
        self.layer = nn.Linear(10, classes)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.layer(torch.cos(inputs @ self.features))
