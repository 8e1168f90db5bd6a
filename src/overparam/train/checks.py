"""Settings that cannot work on a training set, told before anything runs."""

from __future__ import annotations

import torch

from overparam.errors import SpecError, in_words
from overparam.train.distill import Distill
from overparam.train.events import EVENTS
from overparam.train.losses import LOSSES, loss_for, on_batch
from overparam.train.settings import TrainSettings
from overparam.worlds import WorldData


def check_settings(settings: TrainSettings, data: WorldData) -> None:
    """Raise :class:`SpecError` for settings that cannot work on the training set of ``data``."""
    per_epoch = data.batch_count(settings.batch_size, settings.drop_last)
    settings.rates(per_epoch)
    end = settings.duration.iterations(per_epoch)
    points = {"save or rewind to": settings.save}
    points["evaluate_at"] = () if settings.evaluate_at == "log" else settings.evaluate_at
    for what, lengths in points.items():
        late = [str(point) for point in lengths if point.iterations(per_epoch) > end]
        if late:
            raise SpecError(f"cannot {what} {late[0]}: the training ends at {settings.duration}")
    for event in settings.events:
        EVENTS.resolve(event).times(per_epoch, settings.duration.iterations(per_epoch))
    _check_stop(settings, data)
    _check_loss(settings, data)


def _check_stop(settings: TrainSettings, data: WorldData) -> None:
    for name in settings.stop_at.measures() if settings.stop_at else ():
        if name.startswith("validation") and data.validation is None:
            raise SpecError(f"stop_at needs {name}, and there is no validation set; set world.validation, such as 0.1")
        if name not in data.metrics:
            raise SpecError(f"stop_at.{name}: not measured here, the task is {data.task!r} ({', '.join(data.metrics)})")


def _check_loss(settings: TrainSettings, data: WorldData) -> None:
    """Raise :class:`SpecError` for a registered loss that does not fit the task."""
    if not isinstance(settings.loss, str) or settings.loss not in LOSSES:
        if isinstance(loss := loss_for(settings.loss, data.task), Distill):
            loss.check(data)
        return
    batch = data.test.examples().part(0, 2)
    outputs = torch.zeros(len(batch), *data.task.output_shape(data.input_shape))
    try:
        on_batch(LOSSES.get(settings.loss))(outputs, batch)
    except Exception as error:  # noqa: BLE001  (torch may raise anything)
        raise SpecError(
            f"train.loss {settings.loss!r} does not fit the task {data.task!r} ({in_words(error)}); leave it out for "
            f"{data.task.loss!r}"
        ) from None
