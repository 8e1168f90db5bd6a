"""Accuracy, loss and soft error on the training labels, the clean labels and the test set."""

from collections.abc import Mapping
from typing import ClassVar

from overparam.checkpoint import Checkpoint
from overparam.probes.base import PROBES, Measurements, Probe, View
from overparam.spec import spec
from overparam.train import evaluate


@PROBES.named("accuracy")
@spec
class Accuracy(Probe):
    """Accuracy, cross entropy and soft error: training set on noisy and on clean labels, test set.

    Columns (accuracies and soft errors in [0, 1], losses in nats): ``train_accuracy``, ``train_loss`` against the
    labels trained on; ``train_accuracy_clean``, ``train_loss_clean`` against the true ones; ``test_accuracy``,
    ``test_loss``, ``test_soft_error``. The soft error is one minus the mean probability given to the true label
    (Nakkiran et al. 2021, "The Deep Bootstrap Framework").

    With label noise also ``train_accuracy_clean_part``, ``train_loss_clean_part`` on the training examples whose label
    is right, and ``train_accuracy_noisy_part``, ``train_loss_noisy_part`` on those whose label is wrong, against it
    (the share that is memorised).
    """

    kind: ClassVar[str] = "accuracy"
    version: ClassVar[int] = 2
    columns: ClassVar[Mapping[str, type]] = dict.fromkeys(
        (
            *("train_accuracy", "train_loss", "train_accuracy_clean", "train_loss_clean"),
            *("test_accuracy", "test_loss", "test_soft_error"),
        ),
        float,
    )
    optional: ClassVar[Mapping[str, type]] = dict.fromkeys(
        (
            *("train_accuracy_clean_part", "train_loss_clean_part"),
            *("train_accuracy_noisy_part", "train_loss_noisy_part"),
        ),
        float,
    )

    def measure(self, checkpoint: Checkpoint, view: View) -> Measurements:
        """Evaluate the network on every example once."""
        module = checkpoint.load_into(view.module())
        train, test = (
            evaluate(module, split.examples(), view.world.task) for split in (view.world.train, view.world.test)
        )
        measured = {f"train_{name}": value for name, value in train.items()}
        measured |= {f"test_{name}": value for name, value in test.items()}
        return Measurements({name: measured[name] for name in (*self.columns, *self.optional) if name in measured})
