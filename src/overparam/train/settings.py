"""What a training is made of: optimiser, learning-rate schedule, length, regularisation, when to stop."""

from typing import Annotated, Any, Literal

from pydantic import Field

from overparam.length import Length
from overparam.spec import spec
from overparam.train.losses import LOSSES


@spec
class StopAt:
    """Stop training early, at the end of the first epoch that reaches every threshold given.

    Measured on the whole training set in evaluation mode, against the labels that are trained on (noisy ones
    where the world has label noise). ``train_loss``: at most this; ``train_accuracy``: at least this, in (0, 1].
    """

    train_loss: Annotated[float, Field(gt=0)] | None = None
    train_accuracy: Annotated[float, Field(gt=0, le=1)] | None = None

    def __post_init__(self) -> None:
        if self.train_loss is None and self.train_accuracy is None:
            raise ValueError("needs train_loss, train_accuracy or both")


@spec
class TrainSettings:
    """Settings of a training; every one has a field of this name in a study file.

    Args:
        optimizer: ``sgd``, ``adam`` or ``adamw``. Its state (momentum, moments) starts empty in each training.
        lr: learning rate, > 0.
        momentum, nesterov: of ``sgd``.
        betas: of ``adam`` and ``adamw``.
        weight_decay: L2 penalty on all parameters (decoupled for ``adamw``).
        l1: L1 penalty on the weights that can be pruned; adds ``l1 * sign(w)`` to their gradient.
        batch_size: examples per iteration; the last batch of an epoch may be smaller.
        drop_last: leave a smaller last batch out; other examples are left out in each epoch, as the order is new.
        epochs, length: how long; ``epochs: 60`` is short for ``length: 60ep``.
        schedule: ``constant``, ``multistep`` (the default where milestones are given: ``lr * gamma**k`` after k of
            them) or ``cosine`` (to 0 at the end).
        milestones: when ``multistep`` drops, in increasing order; a bare number means epochs.
        gamma: factor of each drop.
        warmup: the learning rate rises linearly from 0 to its scheduled value over this length.
        stop_at: thresholds at which training ends early.
        loss: ``cross-entropy``, or an import path or a callable ``(outputs, labels) -> scalar mean loss``.
        evaluate_every: measure training and test set at this interval into the learning curve; never if None.
        save: points on the way to keep, for rewinding to them later.
    """

    optimizer: Literal["sgd", "adam", "adamw"] = "sgd"
    lr: Annotated[float, Field(gt=0)] = 0.1
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.0
    nesterov: bool = False
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]] = (0.9, 0.999)
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    l1: Annotated[float, Field(ge=0)] = 0.0
    batch_size: Annotated[int, Field(ge=1)] = 128
    drop_last: bool = False
    epochs: Annotated[float, Field(gt=0)] | None = None
    length: Length | None = None
    schedule: Literal["constant", "multistep", "cosine"] | None = None
    milestones: tuple[Length, ...] = ()
    gamma: Annotated[float, Field(gt=0)] = 0.1
    warmup: Length | None = None
    stop_at: StopAt | None = None
    loss: Annotated[Any, LOSSES] = "cross-entropy"
    evaluate_every: Length | None = None
    save: tuple[Length, ...] = ()

    def __post_init__(self) -> None:
        if (self.epochs is None) == (self.length is None):
            raise ValueError("needs either epochs (such as 60) or length (such as '60ep' or '5000it'), not both")
        if self.length is not None and self.length.value <= 0:
            raise ValueError(f"length must be longer than nothing, got '{self.length}'")
        if self.nesterov and (self.optimizer != "sgd" or self.momentum == 0):
            raise ValueError("nesterov needs optimizer: sgd and a momentum above 0")
        if self.momentum and self.optimizer != "sgd":
            raise ValueError(f"momentum belongs to optimizer: sgd; {self.optimizer} takes betas")
        if self.milestones and self.schedule not in (None, "multistep"):
            raise ValueError(f"milestones belong to schedule: multistep, got schedule {self.schedule!r}")
        if self.schedule == "multistep" and not self.milestones:
            raise ValueError("schedule: multistep needs milestones, such as [30, 45]")
        if self.evaluate_every is not None and self.evaluate_every.value <= 0:
            raise ValueError(f"evaluate_every must be longer than nothing, got '{self.evaluate_every}'")

    @property
    def duration(self) -> Length:
        """How long the whole schedule is."""
        if self.length is not None:
            return self.length
        assert self.epochs is not None
        return Length(self.epochs, "ep")

    def smallest_batch(self, examples: int) -> int:
        """Return how many examples the smallest batch of a training on so many has."""
        last = examples % self.batch_size
        per_epoch = -(-examples // self.batch_size)
        reached = self.duration.iterations(per_epoch) >= per_epoch
        return last if last and reached and not self.drop_last else min(self.batch_size, examples)
