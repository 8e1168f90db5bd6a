"""The metrics of the task on every split: accuracy, loss and soft error, or what takes their place."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field
from torch import nn

from overparam.checkpoint import Checkpoint, load_state
from overparam.constraints import SAMPLED
from overparam.probes.base import PROBES, Measurements, Probe, View
from overparam.spec import spec
from overparam.streams import global_stream
from overparam.train.evaluate import measured, sums
from overparam.worlds import World


@PROBES.named("accuracy")
@spec
class Accuracy(Probe):
    """The metrics of the world's task: on the training set, on the validation set if there is one, on the test set.

    In a classification (accuracies and soft errors in [0, 1], losses in nats): ``train_accuracy``, ``train_loss``,
    ``train_soft_error`` against the labels trained on; ``train_accuracy_clean`` and so on against the true ones;
    ``validation_...`` likewise; ``test_accuracy``, ``test_loss``, ``test_soft_error``. The soft error is one minus the
    mean probability given to the label (Nakkiran et al. 2021, "The Deep Bootstrap Framework"). With label noise also
    ``train_accuracy_clean_part`` and so on, on the training examples whose label is right, and
    ``train_accuracy_noisy_part`` and so on, on those whose label is wrong, against it (the share that is memorised).

    Of next tokens: loss, accuracy and bits a token; of real outputs: loss, mean squared error and R^2. An endless
    world's training metrics are of examples that are never trained on. What is not defined, such as the R^2 of equal
    targets, is empty.

    Args:
        mask_samples: where masks are drawn at random, as a supermask's, each metric is the mean over so many drawn
            masks; None: that of the most probable mask. The draws are the same each time.

    Example:
        {accuracy: {mask_samples: 10}}
    """

    kind: ClassVar[str] = "accuracy"
    version: ClassVar[int] = 2

    mask_samples: Annotated[int, Field(ge=1)] | None = None

    def parameters(self) -> dict[str, Any]:
        """Return the number of samples, unless there are none, as there once were."""
        return {} if self.mask_samples is None else super().parameters()

    def columns_in(self, world: World) -> Mapping[str, type]:
        """Return the world's metrics."""
        return dict.fromkeys(world.metrics(), float)

    def measure(self, checkpoint: Checkpoint, view: View) -> Measurements:
        """Evaluate the network on every example once for each mask."""
        module, world = checkpoint.load_into(view.module()).to(view.device), view.world
        world = world if view.device == "cpu" else world.to(view.device)

        def metrics() -> dict[str, float]:
            return measured(lambda batch: sums(module, batch, world.task), world, world.splits)

        if self.mask_samples is None or not any(each.random for each in checkpoint.constraints.values()):
            found = [metrics()]
        else:
            found = [metrics() for _ in _masks_drawn(module, checkpoint, self.mask_samples)]
        names = [name for name in world.metrics if all(name in each for each in found)]
        means = {name: sum(each[name] for each in found) / len(found) for name in names}
        return Measurements({name: means.get(name) for name in world.metrics})


@torch.no_grad()
def _masks_drawn(module: nn.Module, checkpoint: Checkpoint, samples: int) -> Iterator[None]:
    """Give the module weights under one sample of the masks after the other."""
    for sample in range(samples):
        with global_stream(0, "mask-sample", sample):
            drawn = {n: c.weight(c.free(checkpoint.state[n]), SAMPLED) for n, c in checkpoint.constraints.items()}
        load_state(module, {**checkpoint.state, **drawn})
        yield
