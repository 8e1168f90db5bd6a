"""The metrics of the task on every split: accuracy, loss and soft error, or what takes their place."""

from collections.abc import Mapping
from typing import ClassVar

from overparam.checkpoint import Checkpoint
from overparam.probes.base import PROBES, Measurements, Probe, View
from overparam.spec import spec
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
    """

    kind: ClassVar[str] = "accuracy"
    version: ClassVar[int] = 2

    def columns_in(self, world: World) -> Mapping[str, type]:
        """Return the world's metrics."""
        return dict.fromkeys(world.metrics(), float)

    def measure(self, checkpoint: Checkpoint, view: View) -> Measurements:
        """Evaluate the network on every example once."""
        module, world = checkpoint.load_into(view.module()).to(view.device), view.world
        world = world if view.device == "cpu" else world.to(view.device)
        found = measured(lambda batch: sums(module, batch, world.task), world, world.splits)
        return Measurements({name: found.get(name) for name in world.metrics})
