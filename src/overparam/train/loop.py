"""The training loop: a module, masks that it respects, data and settings in; trained weights and a curve out."""

from __future__ import annotations

import dataclasses
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from overparam.checkpoint import load_state
from overparam.constraints import Constraint, masked
from overparam.constraints.base import effective
from overparam.errors import SpecError, StepError
from overparam.length import START, Length
from overparam.streams import global_stream, torch_stream
from overparam.train.checks import check_settings
from overparam.train.engines import trainee_for
from overparam.train.evaluate import measured
from overparam.train.events import EVENTS
from overparam.train.kept import Kept, Point
from overparam.train.losses import on_batch
from overparam.train.optimisers.state import Slots
from overparam.train.outside import NO_EFFECT, Effect, changed, effect, held, is_its_weights
from overparam.train.place import Place, device_named, on_cpu
from overparam.train.settings import TrainSettings
from overparam.train.timeline import Timeline
from overparam.worlds import WorldData

STRETCH = 500  # iterations at most between two looks at the clock, the keyboard and the points to save
DIVERGED = 1e6  # how many times the loss it began with (or 1, if that is more) a training may reach
MORE = (
    "the network's outputs depend on what is not in its state dict ({}), so its weights alone are not the network that "
    "was trained; make it a buffer (register_buffer), or return it as a tensor from get_extra_state"
)


class Journal(Protocol):
    """Where a long training keeps its state now and then, so that a killed one goes on instead of starting over."""

    def due(self) -> bool:
        """Tell whether enough time has passed to save again."""

    def save(self, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        """Replace what was kept."""

    def load(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """Return what was kept last, or None."""


@dataclass
class Fit:
    """What a training gives back.

    Attributes:
        state: the trained weights, a copy.
        constraints: the constraints as training has moved them, by first names of parameters.
        points: the weights at each requested point on the way, by length.
        points_under: the constraints at each of these points.
        curve: one row per epoch: ``iteration`` and ``epoch`` reached, ``lr``, ``loss`` (mean over the epoch's batches,
            in training mode) and, where measured, the world's metrics (``train_accuracy``, ``test_loss``, ..., see
            :attr:`overparam.worlds.WorldData.metrics`). A row that was measured within an epoch has no ``loss``.
        iterations: how many were run, those before an interruption included.
        stopped_early: whether a ``stop_at`` threshold ended it.
        engines: ``dense`` or ``sparse`` for each weight that can be pruned: how it was computed with.
        notes: what the user should hear of.
        engine_note: how the network was computed and why, in words.
    """

    state: dict[str, Tensor]
    constraints: dict[str, Constraint] = field(default_factory=dict)
    points: dict[str, dict[str, Tensor]] = field(default_factory=dict)
    points_under: dict[str, dict[str, Constraint]] = field(default_factory=dict)
    curve: list[dict[str, float]] = field(default_factory=list)
    iterations: int = 0
    stopped_early: bool = False
    engines: Mapping[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    engine_note: str = ""


def fit(
    module: nn.Module,
    data: WorldData,
    settings: TrainSettings,
    *,
    masks: Mapping[str, Tensor] | None = None,
    constraints: Mapping[str, Constraint] | None = None,
    seed: int = 0,
    start: Length = START,
    progress: Callable[[int, int, Mapping[str, float]], None] | None = None,
    journal: Journal | None = None,
    engine: str = "dense",
    fresh: Callable[[], nn.Module] | None = None,
    device: str | None = None,
) -> Fit:
    """Train ``module`` in place and return copies of what came out.

    Pruned weights stay exactly zero: they enter as zero, their gradients are multiplied by zero, so no momentum,
    moment or decay ever moves them. The mask is checked again at the end. A weight under another constraint is made
    anew in each iteration from what the constraint leaves free, which is what the optimiser moves.

    All chance is drawn from streams of ``seed``: the order of the data and its augmentation from
    ``(seed, "order", epoch)``, dropout and whatever else draws from the global generators of torch, Python and NumPy
    from ``(seed, "dropout", epoch)``, in evaluation from ``(seed, "evaluation", iteration)``. So each level of a chain
    sees the same order, and a training stopped between two epochs and taken up again ends with the same bits. Another
    ``settings.order`` than 0 stands behind the names of the first two.

    A network may keep state outside its state dict, such as a counter in a plain attribute. A training begins with what
    the module has; where the state matters, the journal keeps nothing, and a note says so.

    Args:
        module: any module, weights outside ``masks`` being zero.
        data: the world's tensors.
        settings: see :class:`TrainSettings`.
        masks: bool tensors by parameter name, short for plain masks as constraints.
        constraints: by parameter name; what has none is trained as it is.
        seed: of the streams.
        start: where in the schedule to begin (after rewinding to a later point).
        progress: called after every epoch with iterations done, iterations in all and the newest row of the curve.
        journal: keeps the state of long trainings between epochs.
        engine: ``dense`` (torch's own layers), ``sparse`` (:mod:`overparam.sparse`) or ``auto`` (what is faster on
            this machine, layer by layer). Results agree to the rounding of sums.
        device: ``cpu``, ``cuda``, ``cuda:1``, ``mps`` or ``auto`` (a CUDA card if there is one); the module comes back
            to where it was. None trains it where it is.
        fresh: returns a new module as ``module`` was; with it the weights are proven to be all that was trained.

    Raises:
        StepError: the loss or a weight stopped being a finite number, or the loss became absurdly large; the outputs
            depend on state that is not in the state dict.
        SpecError: settings that do not fit the data, such as a point to save after the end; a network that
            ``engine="sparse"`` cannot compute with.
    """
    under = {**masked(masks or {}), **(constraints or {})}
    place = Place(module, None if device is None else device_named(device), settings.precision)
    try:
        return _Training(module, data, settings, under, seed, start, progress, journal, engine, fresh, place).run()
    finally:
        place.give_back()


class _Training:
    """One call of :func:`fit`, in parts that can be read one by one."""

    def __init__(
        self,
        module: nn.Module,
        data: WorldData,
        settings: TrainSettings,
        constraints: Mapping[str, Constraint],
        seed: int,
        start: Length,
        progress: Callable[[int, int, Mapping[str, float]], None] | None,
        journal: Journal | None,
        engine: str,
        fresh: Callable[[], nn.Module] | None,
        place: Place,
    ) -> None:
        self.module, self.settings, self.seed = module, settings, seed
        self.place, self.data = place, place.data(data)
        self.progress, self.journal, self.fresh = progress, journal, fresh
        self.per_epoch = data.batch_count(settings.batch_size, settings.drop_last)
        self.total = settings.duration.iterations(self.per_epoch)
        self.iteration = start.iterations(self.per_epoch)
        check_settings(settings, data, start)
        self.points: dict[int, dict[str, None]] = {}  # by iteration; those before the start are not on the way
        for length in settings.save:
            self.points.setdefault(length.iterations(self.per_epoch), {})[str(length)] = None
        if settings.stretch == "budget":
            raise SpecError("stretch: 'budget' is known in a step alone, which knows the dense network; give a number")
        self.rate = settings.rates(self.per_epoch)
        self.draw = ("draw", settings.order) if settings.order else ()  # names of the streams of training's noise
        self.splits = [name for name in data.splits if name in settings.evaluate_on]
        self.evaluated = settings.evaluated(self.per_epoch)
        self.engine, events = engine, tuple(EVENTS.resolve(event) for event in settings.events)
        self.timeline = Timeline(module, events, self.data, settings.batch_size, self.per_epoch, self.total, seed)
        self.trainee = trainee_for(module, self.data, settings, constraints, engine, self.place)
        self.under = self.trainee.under
        self.out = Fit(state={}, engines=self.trainee.engines, engine_note=self.trainee.note)
        self.held = self._held()
        self.changed: set[str] = set()  # of what was held, before an event put other layers in

    def run(self) -> Fit:
        try:
            self._take_up()
            while self.iteration < self.total and not self.out.stopped_early:
                self._epoch()
                ended = self.iteration == self.total or self.out.stopped_early
                if self.journal is not None and not ended and self.journal.due():
                    self._keep()
            self.out.state, self.out.constraints = self._state(), self._constraints()
            self._check_weights()
        finally:
            self.trainee.close()
        trained = [name for name, parameter in self.module.named_parameters() if parameter.requires_grad]
        if not all(bool(self.out.state[name].isfinite().all()) for name in trained):  # a buffer may hold infinities
            raise StepError(f"training diverged: weights became infinite; lower train.lr (now {self.settings.lr:g})")
        load_state(self.module, self.out.state)
        self.out.iterations = self.iteration
        return self.out

    def _epoch(self) -> None:
        """Run to the end of the current epoch (or of the training) and add a row to the curve."""
        epoch, skipped = divmod(self.iteration, self.per_epoch)
        end = min((epoch + 1) * self.per_epoch, self.total)
        losses: list[Tensor] = []
        rate = 0.0
        with global_stream(self.seed, "dropout", epoch, *self.draw):
            self.trainee.begin(epoch, self._order(epoch), skipped)
            while self.iteration < end:
                if self.timeline.happens(self.iteration):
                    self._happen(epoch)
                if self.iteration in self.points:
                    self._save_point()
                rates = [self.rate(iteration) for iteration in range(self.iteration, self._next_stop(end))]
                losses.append(self.trainee.advance(rates))
                self.iteration += len(rates)
                rate = rates[-1]
                if self._is_evaluated() and self.iteration != end:
                    self._row(rate, self._measured(self.splits))
        every_loss = torch.cat(losses)
        loss = float(every_loss.mean())
        first = self.out.curve[0].get("loss", 1.0) if self.out.curve else float(every_loss[0])
        if not loss < DIVERGED * max(1.0, first):
            raise StepError(
                f"training diverged: the loss became {loss:g} in epoch {epoch + 1} (by iteration {self.iteration}); "
                f"lower train.lr (now {self.settings.lr:g}) or add warmup"
            )
        due = self.splits if self._is_evaluated() else ()
        self._row(rate, {"loss": loss, **self._measured(due)})
        self._stop_if_reached()
        if self.iteration in self.points and (self.iteration == self.total or self.out.stopped_early):
            self._save_point()
        if self.progress is not None:
            self.progress(self.iteration, self.total, self.out.curve[-1])

    def _order(self, epoch: int) -> torch.Generator:
        return torch_stream(self.seed, "order", epoch, *self.draw)

    def _next_stop(self, end: int) -> int:
        """Return the iteration up to which there is nothing to do but train."""
        stops = [end, self.iteration + STRETCH, *(point for point in self.points if point > self.iteration)]
        stops += self.timeline.next(self.iteration)
        stops += self.evaluated[bisect_right(self.evaluated, self.iteration) :][:1]
        return min(stops)

    def _is_evaluated(self) -> bool:
        place = bisect_right(self.evaluated, self.iteration)
        return place > 0 and self.evaluated[place - 1] == self.iteration

    def _measured(self, splits: Iterable[str]) -> dict[str, float]:
        with global_stream(self.seed, "evaluation", self.iteration):
            return measured(self.trainee.sums, self.data, splits)

    def _row(self, rate: float, measured: Mapping[str, float]) -> None:
        at = {"iteration": float(self.iteration), "epoch": self.iteration / self.per_epoch, "lr": rate}
        self.out.curve.append({**at, **measured})

    def _state(self) -> dict[str, Tensor]:
        """Return the weights in the types that the module had."""
        return self.place.home(self.trainee.state())

    def _constraints(self) -> dict[str, Constraint]:
        """Return the constraints in the types that they had."""
        return {name: on_cpu(each, self.under[name]) for name, each in self.trainee.constraints().items()}

    def _save_point(self) -> None:
        # a copy for each name that the point has, such as 1ep and 4it: the journal's files hold no tensor twice
        self.out.points |= {point: self._state() for point in self.points[self.iteration]}
        self.out.points_under |= {point: self._constraints() for point in self.points[self.iteration]}

    def _stop_if_reached(self) -> None:
        stop = self.settings.stop_at
        if stop is None:
            return
        row = self.out.curve[-1]
        needed = {name.partition("_")[0] for name in stop.measures() if name not in row}
        row |= self._measured(split for split in self.data.splits if split in needed)
        self.out.stopped_early = stop.reached([row for row in self.out.curve if "loss" in row])

    def _look(self) -> Tensor:
        """Return a batch of inputs to try the module on."""
        return self.data.test.inputs[: self.settings.batch_size]

    def _held(self) -> dict[str, str]:
        """Return digests of what network and loss keep outside the weights, by name."""
        running = self.trainee.running()
        return {} if running is None else held(running, self.trainee.loss)

    def _changed(self) -> list[str]:
        """Return the names of what network and loss keep outside the weights that is not as it was."""
        return sorted(self.changed.union(changed(self.held, self._held())))

    def _effect(self, state: Mapping[str, Tensor], names: Sequence[str]) -> Effect:
        """Return what difference it makes that what is kept under ``names`` has changed."""
        running = self.trainee.running()
        if not names or running is None:
            return NO_EFFECT
        if self.fresh is None:
            return Effect(evaluation=False, training=True)
        return effect(running, names, state, self.fresh, self._look())

    def _check_weights(self) -> None:
        """Raise :class:`StepError` if the weights are not all that was trained; note what only trainings go on with."""
        names, state = self._changed(), self.out.state
        if self._effect(state, names) == NO_EFFECT:
            return
        each = {name: self._effect(state, [name]) for name in names}
        listed = ", ".join([name for name, found in each.items() if found != NO_EFFECT] or names)
        running, inputs = self.trainee.running(), self._look()
        whole = running is None or self.fresh is None or is_its_weights(running, state, self.fresh, inputs)
        if not whole or any(found.evaluation for found in each.values()):
            raise StepError(MORE.format(listed))
        self.out.notes.append(
            f"{listed}: changed in training, though not in the network's state dict; each training of a chain begins "
            "with what the factory gives, and one that is stopped starts over. A buffer (register_buffer) is kept; "
            "what classes, globals or a loss hold may even reach other trainings"
        )

    def _keep(self) -> None:
        """Write weights, optimiser state, points and curve to the journal."""
        state = self.trainee.state()
        names = self._changed()
        found = self._effect(state, names)
        if found.evaluation:
            raise StepError(MORE.format(", ".join(names)))
        if found != NO_EFFECT:
            return  # taken up without what it keeps it would end with other bits, so it starts over
        points = {point: Point(state, self.out.points_under[point]) for point, state in self.out.points.items()}
        now = Point(state, self.trainee.constraints())
        kept = Kept(self.iteration, now, self.trainee.slots(), self.out.curve, points)
        assert self.journal is not None
        self.journal.save(*kept.parts())

    def _take_up(self) -> None:
        """Go on from what an interrupted run of the same training left in the journal, if it left anything."""
        left = self.journal.load() if self.journal is not None else None
        if left is None:
            return
        kept = Kept.of(*left, list(self.trainee.state()))
        for point in (point for at in sorted(self.points) for point in self.points[at] if point in kept.points):
            self.out.points[point] = dict(kept.points[point].state)
            self.out.points_under[point] = dict(kept.points[point].under)
        self._go_on(kept.now, kept.slots)
        self.iteration, self.out.curve = kept.iteration, kept.curve

    def _go_on(self, at: Point, slots: Slots) -> None:
        """Train on from a state under constraints whose masks may be others than before, with an optimiser's state."""
        if self.timeline:
            settings = dataclasses.replace(self.settings, loss=self.trainee.loss)  # which may remember something
            self.changed.update(changed(self.held, self._held()))
            self.trainee.close()
            self.trainee = trainee_for(self.module, self.data, settings, at.under, self.engine, self.place)
            self.out.engines, self.out.engine_note = self.trainee.engines, self.trainee.note
            self.held = self._held()
        self.trainee.constrain(at.under)
        self.trainee.restore(at.state, slots)

    def _happen(self, epoch: int) -> None:
        """Let the events of this iteration change masks, and train on with what they left."""
        state, under = self.trainee.state(), self.trainee.constraints()
        made = self.timeline.constraints(self.iteration, state, under, on_batch(self.trainee.loss))
        left = {name: effective(made[name], each) if name in made else each for name, each in state.items()}
        self._go_on(Point(left, made), self.trainee.slots())
        self.trainee.begin(epoch, self._order(epoch), self.iteration % self.per_epoch)
