"""What lies on the straight line between two checkpoints: whether a barrier of loss or error parts them."""

from collections.abc import Mapping
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from overparam.checkpoint import Checkpoint, load_state
from overparam.probes.base import PROBES, Measurements, PairProbe, View
from overparam.spec import spec
from overparam.train.evaluate import measured, sums
from overparam.worlds import World

SPLITS = ("train", "test")
METRICS = ("loss", "accuracy")


@PROBES.named("linear-path")
@spec
class LinearPath(PairProbe):
    """Loss and accuracy on the straight line between two checkpoints, and their barriers (Frankle et al. 2020).

    At ``points`` places at equal distances, from the other checkpoint (0) to this one, ends included:
    ``path_train_loss_0``, ``path_train_loss_1``, ... and likewise ``train_accuracy``, ``test_loss`` and
    ``test_accuracy``, as far as the task has them. ``train_loss_barrier`` is the largest loss on the line minus the
    mean of those at its ends, ``train_error_barrier`` likewise of the share of wrong answers; both are >= 0, and on the
    test set, too. The training set is taken with the labels that are trained on.

    All floating-point tensors of the state move in a straight line, the running statistics of batch norm among them:
    they are not estimated anew, which would lower the barriers of networks with batch norm. Counters are those of the
    nearer end.

    Args:
        against: the other end of the line.
        points: how many places are measured, ends included; >= 3.

    Reference: Frankle, Dziugaite, Roy & Carbin, ICML 2020, arXiv:1912.05671 (with 30 points; their linear interpolation
    instability is the error barrier).

    Example:
        {linear-path: {against: seed+1, points: 11}}
    """

    kind: ClassVar[str] = "linear-path"

    points: Annotated[int, Field(ge=3, le=1000)] = 11

    def columns_in(self, world: World) -> Mapping[str, type]:
        """Return the columns of what the world's task measures."""
        return dict.fromkeys(self._columns([name for name in _names() if name in world.metrics()]), float)

    def _columns(self, names: list[str]) -> list[str]:
        along = [f"path_{name}_{place}" for name in names for place in range(self.points)]
        return [*(_barrier(name) for name in names), *along]

    def measure(self, checkpoint: Checkpoint, view: View) -> Measurements:
        """Evaluate the network at each point."""
        begin, end = self.other(checkpoint, view).state, checkpoint.state
        module, world = checkpoint.load_into(view.module()), view.world
        found: list[dict[str, float]] = []
        for place in range(self.points):
            load_state(module, between(begin, end, place / (self.points - 1)))
            found.append(measured(lambda batch: sums(module, batch, world.task), world, SPLITS))
        names = [name for name in _names() if all(name in each for each in found)]
        values = {_barrier(name): barrier([each[name] for each in found], name) for name in names}
        values |= {f"path_{name}_{place}": each[name] for name in names for place, each in enumerate(found)}
        return Measurements({name: values[name] for name in self._columns(names)})


def _names() -> list[str]:
    return [f"{split}_{metric}" for split in SPLITS for metric in METRICS]


def _barrier(name: str) -> str:
    return f"{name.replace('accuracy', 'error')}_barrier"


def barrier(along: list[float], name: str = "loss") -> float:
    """Return the largest loss along a line minus the mean of those at its ends; of accuracies, of the errors."""
    heights = [1 - each for each in along] if name.endswith("accuracy") else along
    return max(0.0, max(heights) - (heights[0] + heights[-1]) / 2)


def between(begin: Mapping[str, Tensor], end: Mapping[str, Tensor], share: float) -> dict[str, Tensor]:
    """Return the state at a share of the way from one to another, exactly ``begin`` at 0 and ``end`` at 1."""
    return {
        name: torch.lerp(here, end[name], share) if here.is_floating_point() else (here if share < 0.5 else end[name])
        for name, here in begin.items()
    }
