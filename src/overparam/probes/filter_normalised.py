"""How sharp a minimum is: the loss along random directions that are scaled filter by filter."""

from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from overparam.checkpoint import Checkpoint, load_state
from overparam.probes.base import PROBES, Measurements, Probe, View
from overparam.spec import spec
from overparam.streams import torch_stream
from overparam.train.evaluate import measured, sums
from overparam.worlds import World


@PROBES.named("filter-normalised")
@spec
class FilterNormalised(Probe):
    """Loss along random directions, each filter of which is as long as the filter it moves (Li et al. 2018).

    ``along_train_loss_0``, ``along_train_loss_1``, ...: the training loss at ``points`` places at equal distances from
    ``-radius`` to ``radius`` times the direction, mean over ``directions``; in the middle it is that of the checkpoint.
    The more it rises to the ends, the sharper the minimum. As the direction is scaled with the weights, networks that
    compute the same with other scales of their layers give the same. The training set is taken with the labels that
    are trained on.

    Filters are what makes one output of a weight that is pruned (a row of a linear layer); biases, norms and what is
    pruned away do not move. A pruned network moves in fewer dimensions than a dense one, so that their curves do not
    compare; give its weights back (``redense``) and train on to compare networks of equal dimension.

    Args:
        directions: how many are drawn; the same for all checkpoints of a network.
        radius: largest distance, in lengths of the filters, > 0.
        points: how many places are measured, ends and middle included; odd.
        seed: of the directions.

    Reference: Li, Xu, Taylor, Studer & Goldstein, NeurIPS 2018, arXiv:1712.09913, section 4.

    Example:
        {filter-normalised: {directions: 5, points: 11}}
    """

    kind: ClassVar[str] = "filter-normalised"

    directions: Annotated[int, Field(ge=1, le=1000)] = 5
    radius: Annotated[float, Field(gt=0)] = 0.5
    points: Annotated[int, Field(ge=3, le=1001)] = 11
    seed: Annotated[int, Field(ge=0)] = 0

    def __post_init__(self) -> None:
        if self.points % 2 == 0:
            raise ValueError(f"points must be odd, so that one is the checkpoint itself, got {self.points}")

    def columns_in(self, world: World) -> Mapping[str, type]:
        """Return the columns, one a point."""
        return dict.fromkeys((f"along_train_loss_{place}" for place in range(self.points)), float)

    def measure(self, checkpoint: Checkpoint, view: View) -> Measurements:
        """Evaluate the network at each point of each direction."""
        steps = [self.radius * (2 * place / (self.points - 1) - 1) for place in range(self.points)]
        streams = [torch_stream(self.seed, "filter-normalised", number) for number in range(self.directions)]
        curves = [self._curve(checkpoint, view, filter_normalised(checkpoint, stream), steps) for stream in streams]
        means = torch.tensor(curves, dtype=torch.float64).mean(0).tolist()
        return Measurements({f"along_train_loss_{place}": loss for place, loss in enumerate(means)})

    def _curve(
        self, checkpoint: Checkpoint, view: View, direction: Mapping[str, Tensor], steps: Sequence[float]
    ) -> list[float]:
        module, world = checkpoint.load_into(view.module()), view.world
        losses = []
        for step in steps:
            load_state(module, moved(checkpoint.state, direction, step))
            found = measured(lambda batch: sums(module, batch, world.task), world, ("train",))
            losses.append(found["train_loss"])
        return losses


def filter_normalised(checkpoint: Checkpoint, generator: torch.Generator) -> dict[str, Tensor]:
    """Return a direction for each weight that has a mask: normal draws, each row scaled to the norm of its own."""
    return {
        name: _scaled(torch.randn(mask.shape, generator=generator) * mask, checkpoint.state[name])
        for name, mask in sorted(checkpoint.masks.items())
    }


def _scaled(draws: Tensor, weight: Tensor) -> Tensor:
    over = tuple(range(1, draws.dim()))
    own, wanted = (torch.linalg.vector_norm(each, dim=over, keepdim=True) for each in (draws, weight))
    scaled: Tensor = torch.where(own > 0, draws / own, 0.0) * wanted
    return scaled


def moved(state: Mapping[str, Tensor], direction: Mapping[str, Tensor], step: float) -> dict[str, Tensor]:
    """Return a state so many lengths along a direction."""
    return {name: value + step * direction[name] if name in direction else value for name, value in state.items()}
