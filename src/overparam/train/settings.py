"""What a training is made of: optimiser, learning-rate schedule, length, regularisation, when to stop."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from overparam.length import Length
from overparam.spec import field_names, spec
from overparam.train.events import EVENTS
from overparam.train.losses import GivenLoss
from overparam.train.optimisers import OPTIMISERS
from overparam.train.penalty import L1
from overparam.train.place import Precision
from overparam.train.schedules import SCHEDULES, learning_rate

BELONGS_TO_OPTIMIZER = "it belongs to the optimizer, as in optimizer: {sgd: {momentum: 0.9, weight_decay: 0.0001}}"
BELONGS_TO_SCHEDULE = "it belongs to the schedule, as in schedule: {multistep: {milestones: [30, 45], gamma: 0.1}}"


@spec
class StopAt:
    """Stop training early, at the end of the first epoch that reaches every threshold given, or when it gets no better.

    Measured on the whole training or validation set in evaluation mode, against the labels that are trained on (noisy
    ones where the world has label noise). There is no threshold on the test set: what is chosen by it says nothing
    about other data.

    Args:
        train_loss, validation_loss: at most this.
        train_accuracy, validation_accuracy: at least this, in (0, 1].
        patience: so many epochs in a row have not brought a lower validation loss than the best before; the weights are
            those of the last epoch.

    Example:
        {train_accuracy: 0.99, patience: 5}
    """

    train_loss: Annotated[float, Field(gt=0)] | None = None
    train_accuracy: Annotated[float, Field(gt=0, le=1)] | None = None
    validation_loss: Annotated[float, Field(gt=0)] | None = None
    validation_accuracy: Annotated[float, Field(gt=0, le=1)] | None = None
    patience: Annotated[int, Field(ge=1)] | None = None

    def __post_init__(self) -> None:
        if not self.measures():
            raise ValueError("needs a threshold (train_loss, train_accuracy, validation_loss, ...) or patience")

    def thresholds(self) -> dict[str, float]:
        """Return the thresholds given, by the metric's name."""
        named = {name: getattr(self, name) for name in field_names(StopAt) if name != "patience"}
        return {name: value for name, value in named.items() if value is not None}

    def measures(self) -> tuple[str, ...]:
        """Return the names of the metrics that decide."""
        return (*self.thresholds(), *(("validation_loss",) if self.patience else ()))

    def reached(self, curve: Sequence[Mapping[str, float]]) -> bool:
        """Tell whether to stop, given a row of metrics for each epoch so far."""
        row, thresholds = curve[-1], self.thresholds()
        if thresholds and all(
            row[name] <= value if name.endswith("loss") else row[name] >= value for name, value in thresholds.items()
        ):
            return True
        if self.patience is None:
            return False
        losses = [row["validation_loss"] for row in curve]
        return len(losses) - 1 - losses.index(min(losses)) >= self.patience


@spec
class TrainSettings:
    """Settings of a training; every one has a field of this name in a study file.

    Args:
        optimizer: ``sgd``, ``adam``, ``adamw`` or ``rmsprop``, with fields as ``{"sgd": {"momentum": 0.9}}``; or one's
            own, which may be a class of torch's kind. Its state (momentum, moments) starts empty in each training.
        lr: learning rate, > 0.
        l1: L1 penalty on the weights that can be pruned; adds ``l1 * sign(w)`` to their gradient. By role or name
            pattern on these alone: ``{"norm": 1e-4}`` is that of Network Slimming (Liu et al. 2017, arXiv:1708.06519)
            on the scales of norms.
        batch_size: examples per iteration; the last batch of an epoch may be smaller.
        drop_last: leave a smaller last batch out; other examples are left out in each epoch, as the order is new.
        epochs, length: how long; ``epochs: 60`` is short for ``length: 60ep``.
        stretch: how many times longer than ``epochs`` or ``length`` says, the schedule, milestones and warmup stretched
            along. ``budget``: as many times as the dense network takes more multiply-adds than what is kept, so that
            both are trained with as much computation (Scratch-B of Liu et al. 2019, arXiv:1810.05270); in a step only.
        schedule: ``constant``, ``cosine`` (to 0 at the end), ``{"multistep": {"milestones": [30, 45], "gamma": 0.1}}``,
            or one's own function ``(iteration, total, per_epoch) -> factor of lr``.
        warmup: the learning rate rises linearly from 0 to its scheduled value over this length.
        stop_at: thresholds at which training ends early.
        loss: ``cross-entropy``, ``mse``, or an import path or a callable ``(outputs, targets) -> scalar mean loss``;
            one whose second parameter is called ``batch`` gets the whole :class:`~overparam.worlds.Batch`. None: the
            usual one of the task.
        order: which draw of all that is random in training (the order of examples, augmentation, dropout): with another
            number the same weights are trained with other noise, as an analysis of instability needs.
        evaluate_every: measure at this interval into the learning curve; never if None.
        evaluate_at: measure there too: lengths such as ``[100it, 1ep]``, or ``log``, which is ten iterations a decade.
        evaluate_on: the splits that are measured on the way, by these two.
        events: what changes masks in between: ``rigl``, ``{"gradual": {"density": 0.1}}``, or one's own, see
            :class:`overparam.train.events.Event`. Those of one iteration happen in this order.
        precision: ``float32``; ``bfloat16`` for forward and backward passes under autocast, weights in float32; or
            ``float64`` throughout, results rounded to the network's float32.
        save: points on the way to keep, for rewinding to them later.
    """

    moved: ClassVar[Mapping[str, str]] = {
        **dict.fromkeys(("momentum", "nesterov", "betas", "weight_decay"), BELONGS_TO_OPTIMIZER),
        **dict.fromkeys(("milestones", "gamma"), BELONGS_TO_SCHEDULE),
    }

    later: ClassVar[Mapping[str, Any]] = {
        **{"order": 0, "stretch": 1.0},
        "evaluate_on": ("train", "validation", "test"),
    }

    optimizer: Annotated[Any, OPTIMISERS] = "sgd"
    lr: Annotated[float, Field(gt=0)] = 0.1
    l1: L1 = 0.0
    batch_size: Annotated[int, Field(ge=1)] = 128
    drop_last: bool = False
    epochs: Annotated[float, Field(gt=0)] | None = None
    length: Length | None = None
    stretch: Annotated[float, Field(gt=0)] | Literal["budget"] = 1.0
    schedule: Annotated[Any, SCHEDULES] = "constant"
    warmup: Length | None = None
    stop_at: StopAt | None = None
    loss: GivenLoss = None
    order: Annotated[int, Field(ge=0)] = 0
    evaluate_every: Length | None = None
    evaluate_at: tuple[Length, ...] | Literal["log"] = ()
    evaluate_on: tuple[Literal["train", "validation", "test"], ...] = ("train", "validation", "test")
    events: tuple[Annotated[Any, EVENTS], ...] = ()
    precision: Precision = "float32"
    save: tuple[Length, ...] = ()

    def __post_init__(self) -> None:
        if (self.epochs is None) == (self.length is None):
            raise ValueError("needs either epochs (such as 60) or length (such as '60ep' or '5000it'), not both")
        if not self.evaluate_on:
            raise ValueError("evaluate_on must name at least one of train, validation and test; it is empty")
        if self.length is not None and self.length.value <= 0:
            raise ValueError(f"length must be longer than nothing, got '{self.length}'")
        if self.evaluate_every is not None and self.evaluate_every.value <= 0:
            raise ValueError(f"evaluate_every must be longer than nothing, got '{self.evaluate_every}'")
        if self.evaluate_at != "log" and any(point.value <= 0 for point in self.evaluate_at):
            raise ValueError("evaluate_at must be points after the beginning, such as [100it, 1ep]")

    def evaluated(self, per_epoch: int) -> list[int]:
        """Return the iterations after which all splits are measured, where one epoch has ``per_epoch``."""
        end = self.duration.iterations(per_epoch)
        points = {point.iterations(per_epoch) for point in self.evaluate_at} if self.evaluate_at != "log" else set()
        if self.evaluate_at == "log":
            points = {round(10 ** (tenth / 10)) for tenth in range(int(10 * math.log10(end)) + 1)} | {end}
        if self.evaluate_every is not None:
            every = max(1, self.evaluate_every.iterations(per_epoch))
            points |= {*range(every, end, every), end}
        return sorted({max(1, point) for point in points})

    @property
    def duration(self) -> Length:
        """How long the whole schedule is."""
        said = self._said
        stretched = said.value * self._times
        return Length(float(round(stretched)) if said.unit == "it" else stretched, said.unit)

    @property
    def _said(self) -> Length:
        """How long it would be without stretching."""
        if self.length is not None:
            return self.length
        assert self.epochs is not None
        return Length(self.epochs, "ep")

    @property
    def _times(self) -> float:
        """How many times longer it is; once, as long as that is open."""
        return 1.0 if self.stretch == "budget" else self.stretch

    def rates(self, per_epoch: int) -> Callable[[int], float]:
        """Return the learning rate as a function of the iteration, where an epoch has ``per_epoch``."""
        total, warmup = (length.iterations(per_epoch) if length else 0 for length in (self._said, self.warmup))
        rate, times = learning_rate(self.schedule, self.lr, total, per_epoch, warmup), self._times
        return rate if times == 1 else lambda iteration: rate(int(iteration / times))

    def smallest_batch(self, examples: int) -> int:
        """Return how many examples the smallest batch of a training on so many has."""
        last = examples % self.batch_size
        per_epoch = -(-examples // self.batch_size)
        reached = self.duration.iterations(per_epoch) >= per_epoch
        return last if last and reached and not self.drop_last else min(self.batch_size, examples)
