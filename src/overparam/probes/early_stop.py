"""Where a training would have been stopped by its validation set, found afterwards."""

from collections.abc import Mapping
from typing import ClassVar

from overparam.checkpoint import Checkpoint
from overparam.errors import SpecError
from overparam.probes.base import PROBES, Measurements, Probe, View
from overparam.spec import spec
from overparam.train import TrainSettings
from overparam.worlds import World, WorldData

CHOSEN_BY = "validation_loss"


@PROBES.named("early-stop")
@spec
class EarlyStop(Probe):
    """The iteration of the least validation loss of the training, and the metrics there (Frankle & Carbin 2019).

    ``early_stop_iteration`` is the first at which the validation loss was least, of those that the training measured
    on its way (``evaluate_every``, ``evaluate_at``); ``early_stop_test_accuracy``, ``early_stop_validation_loss`` and
    so on are the metrics on the validation and the test set there. The training itself runs to its end, and the
    checkpoint is of the end. All are empty for a network that was not trained, such as a pretrained one.
    """

    kind: ClassVar[str] = "early-stop"

    def columns_in(self, world: World) -> Mapping[str, type]:
        """Return the columns for the metrics of a world."""
        return {"early_stop_iteration": int, **dict.fromkeys(_columns(world.metrics()).values(), float)}

    def check_training(self, settings: TrainSettings, data: WorldData) -> None:
        """Raise :class:`SpecError` where there is no validation set, or nothing is measured on the way."""
        if CHOSEN_BY not in data.metrics:
            raise SpecError(f"probe {self.kind}: the world has no validation set; set world.validation, such as 0.1")
        if not settings.evaluate_every and not settings.evaluate_at:
            raise SpecError(
                f"probe {self.kind}: a training measures nothing on its way; set train.evaluate_every, such as 100it"
            )
        if not {"validation", "test"} <= set(settings.evaluate_on):
            raise SpecError(f"probe {self.kind}: train.evaluate_on must have validation and test among its splits")

    def measure(self, checkpoint: Checkpoint, view: View) -> Measurements:
        """Look the iteration up in the learning curve."""
        losses, columns = view.curve.get(CHOSEN_BY, ()), _columns(view.world.metrics)
        measured = [(loss, place) for place, loss in enumerate(losses) if loss is not None]
        if not measured:
            return Measurements(dict.fromkeys(["early_stop_iteration", *columns.values()]))
        place = min(measured)[1]
        found = {column: view.curve[metric][place] for metric, column in columns.items()}
        return Measurements({"early_stop_iteration": int(view.curve["iteration"][place]), **found})


def _columns(metrics: tuple[str, ...]) -> dict[str, str]:
    """Return the column of each metric that is copied."""
    return {name: f"early_stop_{name}" for name in metrics if name.startswith(("validation_", "test_"))}
