"""Settings that cannot work on a training set, told before anything runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from overparam.checkpoint import state_of
from overparam.constraints import Constraint
from overparam.errors import SpecError, in_words
from overparam.identity import for_one_use
from overparam.length import START, Length
from overparam.networks.architecture import Form
from overparam.networks.factory import fails_on_one
from overparam.train.distill import Distill
from overparam.train.engines import trainee_for
from overparam.train.events import EVENTS
from overparam.train.losses import LOSSES, loss_for, on_batch
from overparam.train.place import Place, device_named
from overparam.train.settings import TrainSettings
from overparam.train.timeline import Timeline
from overparam.worlds import WorldData

FEW = 2  # examples that a gradient is taken of where only whether it can be taken matters


def check_settings(settings: TrainSettings, data: WorldData, start: Length = START) -> None:
    """Raise :class:`SpecError` for settings that cannot work on the training set of ``data``, begun at ``start``."""
    per_epoch = data.batch_count(settings.batch_size, settings.drop_last)
    settings.rates(per_epoch)
    end = settings.duration.iterations(per_epoch)
    if start.iterations(per_epoch) >= end:
        raise SpecError(f"training would start at {start}, which is not before its end at {settings.duration}")
    points = {"save or rewind to": settings.save}
    points["evaluate_at"] = () if settings.evaluate_at == "log" else settings.evaluate_at
    for what, lengths in points.items():
        late = [str(point) for point in lengths if point.iterations(per_epoch) > end]
        if late:
            raise SpecError(f"cannot {what} {late[0]}: the training ends at {settings.duration}")
    for event in settings.events:
        EVENTS.resolve(event).times(per_epoch, settings.duration.iterations(per_epoch))
    _check_stop(settings, data)
    _check_loss(settings.loss, data)


def check_smallest_batch(module: nn.Module, data: WorldData, settings: TrainSettings) -> None:
    """Raise :class:`SpecError` if a batch has one example, and ``module``, which is run, cannot be trained on it."""
    if settings.smallest_batch(data.train.epoch) != 1:
        return
    if why := fails_on_one(module, Form(**data.form)):
        which, advice = "the last batch of an epoch", "set drop_last: true, or another batch_size"
        if settings.batch_size == 1:
            which, advice = "each batch", "raise batch_size"
        raise SpecError(
            f"{which} has a single example (batch_size {settings.batch_size}, {data.train.epoch} training "
            f"examples), on which the network fails in training: {why}; {advice}"
        )


def check_training(
    module: nn.Module,
    data: WorldData,
    settings: TrainSettings,
    constraints: Mapping[str, Constraint],
    engine: str,
    device: str,
) -> None:
    """Raise :class:`SpecError` if ``module`` cannot begin to train, or the first of each event cannot happen.

    It is used up: whatever is asked of it afterwards may be wrong.
    """
    _check_events(module, data, settings, constraints)
    place = Place(module, device_named(device), settings.precision)
    # what auto makes sparse is never more than can be, so dense layers have the same to refuse
    trainee_for(module, data, settings, constraints, engine if engine == "sparse" else "dense", place).close()


def _check_events(
    module: nn.Module, data: WorldData, settings: TrainSettings, constraints: Mapping[str, Constraint]
) -> None:
    """Let each event happen once, by the gradient of a few examples if it asks for one."""
    events = tuple(EVENTS.resolve(event) for event in settings.events)
    per_epoch = data.batch_count(settings.batch_size, settings.drop_last)
    total = settings.duration.iterations(per_epoch)
    timeline = Timeline(module, events, data, min(settings.batch_size, FEW), per_epoch, total, seed=0)
    loss = on_batch(for_one_use(loss_for(settings.loss, data.task)))
    for first in {times[0] for _, times in timeline.times}:
        timeline.constraints(first, state_of(module), constraints, loss)


def _check_stop(settings: TrainSettings, data: WorldData) -> None:
    for name in settings.stop_at.measures() if settings.stop_at else ():
        if name.startswith("validation") and data.validation is None:
            raise SpecError(f"stop_at needs {name}, and there is no validation set; set world.validation, such as 0.1")
        if name not in data.metrics:
            raise SpecError(f"stop_at.{name}: not measured here, the task is {data.task!r} ({', '.join(data.metrics)})")


def _check_loss(given: Any, data: WorldData, argument: str = "train.loss") -> None:
    """Raise :class:`SpecError` for a registered loss that does not fit the task."""
    if isinstance(loss := loss_for(given, data.task), Distill):
        _check_loss(loss.loss, data, "distill.loss")
    if not isinstance(given, str) or given not in LOSSES:
        return
    batch = data.test.examples().part(0, 2)
    outputs = torch.zeros(len(batch), *data.task.output_shape(data.input_shape))
    try:
        on_batch(loss)(outputs, batch)
    except Exception as error:  # noqa: BLE001  (torch may raise anything)
        raise SpecError(
            f"{argument} {given!r} does not fit the task {data.task!r} ({in_words(error)}); take {data.task.loss!r}"
        ) from None
