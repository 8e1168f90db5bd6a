"""Steps, probes and networks that count or fail."""

from __future__ import annotations

from collections import Counter
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from overparam import Checkpoint, StepError, Train
from overparam.probes import Measurements, Probe, View
from overparam.spec import spec
from overparam.steps import Context, Outcome, Step

CALLS: Counter[str] = Counter()


@spec
class CountingTrain(Train):
    """A training that counts its runs by seed."""

    kind: ClassVar[str] = "counting-train"

    def run(self, start: Checkpoint, context: Context) -> Outcome:
        """Train and count."""
        CALLS[f"train {context.seed}"] += 1
        return super().run(start, context)


@spec
class CountingProbe(Probe):
    """A probe that counts its measurements."""

    kind: ClassVar[str] = "counting"
    factor: float = 1.0

    def measure(self, checkpoint: Checkpoint, view: View) -> Measurements:
        """Return a number of the checkpoint."""
        CALLS["probe"] += 1
        return Measurements({"level_times": checkpoint.level * self.factor})


@spec
class Failing(Step):
    """A step that fails in one of several ways at the levels it is told."""

    kind: ClassVar[str] = "failing"
    how: str = "StepError"
    at: int = 0

    def run(self, start: Checkpoint, context: Context) -> Outcome:
        """Fail, or hand on."""
        CALLS["failing"] += 1
        if start.level == self.at:
            errors: dict[str, BaseException] = {
                "StepError": StepError("it does not work"),
                "ValueError": ValueError("two\nlines"),
                "KeyboardInterrupt": KeyboardInterrupt(),
            }
            if self.how in errors:
                raise errors[self.how]
        return Outcome(start.counted("failing"))


BROKEN: dict[str, Any] = {"probe": True}


@spec
class BrokenProbe(Probe):
    """A probe that fails as long as it is told to."""

    kind: ClassVar[str] = "broken"

    def measure(self, checkpoint: Checkpoint, view: View) -> Measurements:
        """Fail, or measure."""
        if BROKEN["probe"] and checkpoint.level == 0:
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
