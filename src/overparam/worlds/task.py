"""What outputs and targets are, and how they are scored: the task of a dataset."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Protocol, runtime_checkable

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from overparam.errors import DataError
from overparam.identity import comes_with_overparam, identity_of
from overparam.spec import plain, spec

Sums = dict[str, Tensor]
"""Numbers summed over predictions, float64, by name; with ``count``, over how many. Sums of parts add up."""

Count = Annotated[int, Field(ge=1)]

IGNORED = -100
"""The target of a place in a sequence that is not to be predicted, as torch's cross entropy has it."""


@runtime_checkable
class Task(Protocol):
    """What a network is to do with the inputs of a dataset.

    Attributes:
        loss: the name of the loss that a training minimises unless told otherwise.
        metrics: what :meth:`means` returns, ``loss`` first; one that is not defined is left out there.
    """

    loss: ClassVar[str]
    metrics: ClassVar[tuple[str, ...]]

    def output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape of what a network gives for one example of ``input_shape``."""

    def check(self, what: str, inputs: Tensor, targets: Tensor) -> None:
        """Raise :class:`DataError` for targets that are not of this task; ``what`` names them in errors."""

    def sums(self, outputs: Tensor, targets: Tensor) -> Sums:
        """Return what :meth:`means` needs of some examples, summed over them."""

    def means(self, sums: Mapping[str, Tensor]) -> dict[str, float]:
        """Return the metrics of the examples that ``sums`` were taken over; their ``count`` is above 0."""


@spec
class Classification:
    """One of ``classes`` for each example.

    Outputs are scores ``(N, classes)``, targets class numbers ``(N,)``, int64 in ``[0, classes)``.

    Metrics: ``loss``, the mean cross entropy in nats; ``accuracy``, the share of examples whose largest score is the
    target's; ``soft_error``, one minus the mean probability (softmax) given to the target, in [0, 1] (Nakkiran et al.
    2021, "The Deep Bootstrap Framework", arXiv:2010.08127).
    """

    loss: ClassVar[str] = "cross-entropy"
    metrics: ClassVar[tuple[str, ...]] = ("loss", "accuracy", "soft_error")

    classes: Count

    def __str__(self) -> str:
        return f"{self.classes} classes"

    def output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        """One score a class."""
        return (self.classes,)

    def check(self, what: str, inputs: Tensor, targets: Tensor) -> None:
        """Raise :class:`DataError` unless there is one class number an example."""
        if targets.dtype != torch.int64 or targets.dim() != 1:
            raise DataError(
                f"{what} must be one class number an example, int64 of shape (N,), got {targets.dtype} "
                f"{tuple(targets.shape)}; say what other targets are by the dataset's task, such as task=Regression(1)"
            )
        _check_count(what, inputs, targets)
        _check_range(what, targets, self.classes, "class numbers")

    def sums(self, outputs: Tensor, targets: Tensor) -> Sums:
        """Sum loss, hits and soft errors."""
        chances = outputs.softmax(1).gather(1, targets[:, None])
        return {
            "count": _count(targets),
            "loss": functional.cross_entropy(outputs, targets, reduction="sum").double(),
            "hits": (outputs.argmax(1) == targets).sum().double(),
            "soft_error": (1 - chances.double()).sum(),
        }

    def means(self, sums: Mapping[str, Tensor]) -> dict[str, float]:
        """Divide by the count."""
        loss, hits, soft_error = (float(sums[name] / sums["count"]) for name in ("loss", "hits", "soft_error"))
        return {"loss": loss, "accuracy": hits, "soft_error": soft_error}


@spec
class NextToken:
    """The next token at each place of a sequence, one of ``vocabulary``.

    Inputs are tokens ``(N, T)``, int64 in ``[0, vocabulary)``, targets ``(N, T)`` those that come next, or
    :data:`IGNORED` where there is nothing to predict. Outputs are scores ``(N, T, vocabulary)``.

    Metrics, over all places that are to be predicted: ``loss``, the mean cross entropy in nats; ``accuracy``;
    ``bits``, the mean cross entropy of the task in bits a token (perplexity is 2 to its power).
    """

    loss: ClassVar[str] = "cross-entropy"
    metrics: ClassVar[tuple[str, ...]] = ("loss", "accuracy", "bits")

    vocabulary: Count

    def __str__(self) -> str:
        return f"next of {self.vocabulary} tokens"

    def output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        """One score a place and token."""
        return (*input_shape, self.vocabulary)

    def check(self, what: str, inputs: Tensor, targets: Tensor) -> None:
        """Raise :class:`DataError` unless inputs and targets are tokens, one target for each input."""
        if inputs.dtype != torch.int64:
            raise DataError(f"{what} are next tokens, so the inputs must be tokens, int64, too; got {inputs.dtype}")
        if targets.dtype != torch.int64 or targets.shape != inputs.shape:
            raise DataError(
                f"{what} must be one token a place, int64 of shape {tuple(inputs.shape)} as the inputs, got "
                f"{targets.dtype} {tuple(targets.shape)}"
            )
        _check_range(f"the inputs of {what}", inputs, self.vocabulary, "tokens")
        predicted = targets[targets != IGNORED]
        if not len(predicted):
            raise DataError(f"{what} must have at least one place to predict, got {IGNORED} everywhere")
        _check_range(what, predicted, self.vocabulary, f"tokens (or {IGNORED} where nothing is to be predicted)")

    def sums(self, outputs: Tensor, targets: Tensor) -> Sums:
        """Sum loss and hits over the places that are to be predicted."""
        scores, targets = outputs.flatten(0, 1), targets.flatten()
        loss = functional.cross_entropy(scores, targets, reduction="sum").double()
        hits = (scores.argmax(1) == targets).sum().double()
        return {"count": _count(targets[targets != IGNORED]), "loss": loss, "nats": loss, "hits": hits}

    def means(self, sums: Mapping[str, Tensor]) -> dict[str, float]:
        """Divide by the count."""
        loss, hits, nats = (float(sums[name] / sums["count"]) for name in ("loss", "hits", "nats"))
        return {"loss": loss, "accuracy": hits, "bits": nats / math.log(2)}


class _Squares:
    """What tasks with real targets have in common: squared errors."""

    loss: ClassVar[str] = "mse"
    metrics: ClassVar[tuple[str, ...]] = ("loss", "mse", "r2")

    def sums(self, outputs: Tensor, targets: Tensor) -> Sums:
        """Sum squared errors, targets and their squares, for each output."""
        _check_alike(outputs, targets)
        wanted = targets.flatten(1).double()
        errors = (outputs.flatten(1).double() - wanted).square().sum(0)
        squares = wanted.square().sum(0)
        mean = errors.mean()
        return {
            "count": _count(targets),
            "loss": mean,
            **{"errors": errors, "targets": wanted.sum(0), "squares": squares},
        }

    def means(self, sums: Mapping[str, Tensor]) -> dict[str, float]:
        """Divide by the count; ``r2`` has no value where the targets do not differ."""
        count = sums["count"]
        found = {"loss": float(sums["loss"] / count), "mse": float(sums["errors"].mean() / count)}
        spread = float((sums["squares"] - sums["targets"].square() / count).sum())
        if spread > 1e-12 * float(sums["squares"].sum()):
            found["r2"] = 1 - float(sums["errors"].sum()) / spread
        return found


@spec
class Regression(_Squares):
    """Real numbers, ``outputs`` of them an example.

    Outputs and targets are float32 ``(N, outputs)``. Metrics: ``loss`` and ``mse``, the mean squared error over
    examples and outputs; ``r2``, one minus the sum of squared errors over that around the means of the measured
    examples' targets, each summed over outputs: missing where all targets are equal.
    """

    outputs: Count = 1

    def __str__(self) -> str:
        return f"{self.outputs} real outputs" if self.outputs > 1 else "a real output"

    def output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        """As many numbers as asked for."""
        return (self.outputs,)

    def check(self, what: str, inputs: Tensor, targets: Tensor) -> None:
        """Raise :class:`DataError` unless there are as many finite numbers an example as asked for."""
        if targets.dtype != torch.float32 or tuple(targets.shape[1:]) != (self.outputs,):
            raise DataError(
                f"{what} must be float32 of shape (N, {self.outputs}) for a regression of as many outputs, got "
                f"{targets.dtype} {tuple(targets.shape)}"
            )
        _check_count(what, inputs, targets)
        if not bool(targets.isfinite().all()):
            bad = int((~targets.isfinite().all(1)).nonzero()[0])
            raise DataError(f"{what} must be finite, got NaN or infinity in example {bad}")


@spec
class Reconstruction(_Squares):
    """The input itself, as an autoencoder gives it; targets are the inputs, normalised as they are.

    Metrics: those of a :class:`Regression` with an output for each number of an input.
    """

    def __str__(self) -> str:
        return "reconstruction"

    def output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of the input."""
        return input_shape

    def check(self, what: str, inputs: Tensor, targets: Tensor) -> None:
        """Raise :class:`DataError` unless the targets are the inputs, and no tokens."""
        if inputs.dtype == torch.int64:
            raise DataError(f"{what} are the inputs, which are tokens; a reconstruction needs images or real numbers")
        if targets is not inputs and not torch.equal(targets, inputs):
            raise DataError(f"{what} must be the inputs themselves in a reconstruction")


def metric_names(task: Task, splits: Mapping[str, bool]) -> tuple[str, ...]:
    """Return the names of all metrics of a world whose splits are given by name, with whether they have label noise.

    ``train_accuracy`` is against the targets as trained on; with ``_clean`` behind it, in a classification, against
    those without label noise; with ``_clean_part`` and ``_noisy_part`` on the examples with a right and with a wrong
    target.
    """
    found = []
    for split, noisy in splits.items():
        suffixes = [""]
        if split != "test" and isinstance(task, Classification):
            suffixes += ["_clean", *(["_clean_part", "_noisy_part"] if noisy else [])]
        found += [f"{split}_{name}{suffix}" for suffix in suffixes for name in task.metrics]
    return tuple(found)


def task_identity(task: Task) -> dict[str, Any]:
    """Return what a task is, JSON-able, for fingerprints."""
    if comes_with_overparam(type(task)):
        return {"task": type(task).__name__, **plain(task)}
    return {"task": identity_of(task)}


def mean_squared_error(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return the mean of ``(outputs - targets)**2``, both of one shape; raises :class:`DataError` for two."""
    _check_alike(outputs, targets)
    return functional.mse_loss(outputs, targets)


def _check_alike(outputs: Tensor, targets: Tensor) -> None:
    if outputs.shape != targets.shape:  # torch would stretch one to the other, such as (N,) to (N, N)
        raise DataError(
            f"squared errors need outputs and targets of one shape, got {tuple(outputs.shape)} and "
            f"{tuple(targets.shape)}"
        )


def _count(targets: Tensor) -> Tensor:
    return torch.tensor(float(len(targets)), dtype=torch.float64, device=targets.device)


def _check_count(what: str, inputs: Tensor, targets: Tensor) -> None:
    if len(targets) != len(inputs):
        raise DataError(f"{what} must be as many as the inputs, got {len(targets)} for {len(inputs)} inputs")


def _check_range(what: str, values: Tensor, end: int, kind: str) -> None:
    low, high = int(values.min()), int(values.max())
    if low < 0:
        raise DataError(f"{what} must be {kind} from 0 on, got {low}")
    if high >= end:
        raise DataError(f"{what} must be {kind} below {end}, got {high}")
