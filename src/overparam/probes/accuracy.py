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
    """

    kind: ClassVar[str] = "accuracy"
    columns: ClassVar[Mapping[str, type]] = dict.fromkeys(
        (
            *("train_accuracy", "train_loss", "train_accuracy_clean", "train_loss_clean"),
            *("test_accuracy", "test_loss", "test_soft_error"),
        ),
        float,
    )

    def measure(self, checkpoint: Checkpoint, view: View) -> Measurements:
        """Evaluate the network on every example once."""
        module = checkpoint.load_into(view.module())
        train, test = view.world.train, view.world.test
        noisy, clean = evaluate(module, train.inputs, train.labels, train.clean_labels)
        (tested,) = evaluate(module, test.inputs, test.labels)
        return Measurements(
            {
                "train_accuracy": noisy.accuracy,
                "train_loss": noisy.loss,
                "train_accuracy_clean": clean.accuracy,
                "train_loss_clean": clean.loss,
                "test_accuracy": tested.accuracy,
                "test_loss": tested.loss,
                "test_soft_error": tested.soft_error,
            }
        )
