"""The step that trains, under two names: ``train``, and ``finetune`` with settings of its own."""

import dataclasses
from typing import ClassVar, Literal

from overparam.checkpoint import Checkpoint
from overparam.errors import SpecError
from overparam.length import START, Length
from overparam.networks import multiply_adds
from overparam.spec import spec
from overparam.steps.base import STEPS, Context, Outcome, Step
from overparam.train import TrainSettings, fit
from overparam.train.checks import check_settings, check_smallest_batch, check_training
from overparam.train.losses import bound_loss, loss_for, references_of


@STEPS.named("finetune")
@STEPS.named("train")
@spec
class Train(Step, TrainSettings):
    """Train the kept weights, from the checkpoint's position in the schedule to its end.

    A study may have further settings for it under the name ``finetune`` (often a small constant learning rate).

    Example:
        {train: {epochs: 60, lr: 0.1, batch_size: 32, schedule: cosine, warmup: 1ep}}
    """

    kind: ClassVar[str] = "train"
    trains: ClassVar[bool] = True
    main: ClassVar[str | None] = "length"
    alternatives: ClassVar[tuple[tuple[str, ...], ...]] = (("epochs", "length"),)

    @property
    def keeps_counts(self) -> bool:  # type: ignore[override]
        """Whether it has no events, which change masks."""
        return not self.events

    def references(self) -> tuple[str, ...]:
        """Return the references of its loss, such as one to a teacher."""
        return references_of(self.loss)

    def shares(self, name: str) -> Literal["tensors", "outputs"]:
        """Return that a loss needs outputs alike."""
        return "outputs"

    def rehearse(self, start: Checkpoint, context: Context) -> Checkpoint:
        """Return ``start`` at the beginning of a schedule, if a training could begin with it.

        Raises :class:`SpecError` for settings that do not fit the data, a network that fails on its smallest batch, and
        constraints that the engine, the precision or an event cannot do with.
        """
        check_settings(self, context.world, start.position)
        check_smallest_batch(context.module(), context.world, self)
        module = start.load_into(context.module())
        engine, device = context.engine, context.device
        check_training(module, context.world, self._bound(start, context), start.constraints, engine, device)
        return dataclasses.replace(start, position=START)

    def _bound(self, start: Checkpoint, context: Context) -> TrainSettings:
        """Return these settings with the checkpoints that the loss has named, and stretched to the budget."""
        loss = bound_loss(loss_for(self.loss, context.world.task), context.given)
        made = dataclasses.replace(self, loss=loss) if self.references() else self
        return dataclasses.replace(made, stretch=_saved(start, context)) if self.stretch == "budget" else made

    def run(self, start: Checkpoint, context: Context) -> Outcome:
        """Train from ``start``; the result's next training would begin a schedule anew."""
        fitted = fit(
            start.load_into(context.module()),
            context.world,
            self._bound(start, context),
            constraints=start.constraints,
            seed=context.seed,
            start=start.position,
            progress=context.progress,
            journal=context.journal,
            engine=context.engine,
            device=context.device,
            fresh=context.module,
        )
        done = dataclasses.replace(start, position=START)
        return Outcome(
            checkpoint=dataclasses.replace(done, state=fitted.state, constraints=fitted.constraints),
            points={
                point: dataclasses.replace(
                    start, state=state, constraints=fitted.points_under[point], position=Length.of(point)
                )
                for point, state in fitted.points.items()
            },
            curve=fitted.curve,
            facts={
                "iterations": fitted.iterations,
                "stopped_early": float(fitted.stopped_early),
                "engines": dict(fitted.engines),
                "engine_note": fitted.engine_note,
            },
            notes=fitted.notes,
        )

    def saving(self, points: tuple[Length, ...]) -> "Train":
        """Return this training so that it also keeps ``points``."""
        new = [point for point in points if point not in self.save]
        return dataclasses.replace(self, save=(*self.save, *new)) if new else self


def _saved(start: Checkpoint, context: Context) -> float:
    """Return how many times as many multiply-adds the dense network takes."""
    sample = context.world.test.inputs[:1]
    dense = sum(multiply_adds(context.fresh("init"), sample).values())
    kept = sum(multiply_adds(context.module(), sample, start.masks).values())
    if not kept:
        raise SpecError("stretch: 'budget' has no meaning for a network that keeps no weight; give a number")
    return dense / kept
