"""The raw data of one dataset, as its source gives it, checked once when it is made."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import torch
from torch import Tensor

from overparam.errors import DataError, SpecError
from overparam.worlds.arrays import Pairs, inputs_of, stacked, targets_of
from overparam.worlds.checks import check_inputs, check_statistics, form
from overparam.worlds.task import Classification, NextToken, Task, task_identity

OTHER_SCALE = 10  # inputs of which one split spreads so many times as widely as the other were hardly scaled alike

Stream = Callable[[int, Tensor], tuple[Tensor, Tensor]]
"""``(seed, indices) -> (inputs, targets)``: the examples with these numbers (int64 ``(N,)``, from 0 on) of an endless
stream, as a dataset has them. Each is a pure function of seed and number: the others make no difference to it."""


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """Training and test examples of a task, as they are; do not change the tensors.

    Args:
        name: what reports call it.
        train_inputs: ``(N, C, H, W)`` uint8 images, finite float32 values of any shape ``(N, ...)``, or tokens
            ``(N, T)``, int64 from 0 on.
        train_targets: what the task says; for a classification ``(N,)`` int64 in ``[0, classes)``.
        test_inputs, test_targets: the same for the test set, with inputs of the same shape and type.
        mean, std: per channel (dimension 1; a single value holds for all), of uint8 inputs scaled to [0, 1],
            of float32 inputs as they are. ``None``: for uint8 computed from all training inputs, for float32
            no normalisation.
        class_names: one a class; without them there are as many classes as the largest label says.
        asymmetric: source class -> the class it is confused with, for asymmetric label noise.
        remarks: what its loader left out or cannot vouch for, a sentence each; :meth:`notes` shows them.
        task: what is to be done with the inputs; None: :class:`Classification` of as many classes as there are.
        stream: gives any number of further training examples, for an endless :class:`World`.

    Raises :class:`DataError` for wrong contents, :class:`SpecError` for a wrong mean, std or map.

    >>> data = Dataset.from_arrays([[0.0], [1.0]], [0, 1], [[0.5]], [1])
    >>> data.task, data.train_inputs.dtype
    (Classification(classes=2), torch.float32)
    """

    name: str
    train_inputs: Tensor
    train_targets: Tensor
    test_inputs: Tensor
    test_targets: Tensor
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    class_names: tuple[str, ...] = ()
    asymmetric: Mapping[int, int] | None = None
    remarks: tuple[str, ...] = ()
    task: Task = None  # type: ignore[assignment]  # never None once it is made
    stream: Stream | None = None

    def __post_init__(self) -> None:
        splits = (
            ("train", self.train_inputs, self.train_targets),
            ("test", self.test_inputs, self.test_targets),
        )
        for split, inputs, targets in splits:
            check_inputs(self.name, split, inputs, targets)
        train, test = self.train_inputs, self.test_inputs
        if train.shape[1:] != test.shape[1:] or train.dtype != test.dtype:
            raise DataError(
                f"dataset {self.name!r}: train_inputs and test_inputs must be alike, got "
                f"{form(train)} and {form(test)} without the number of examples"
            )
        if self.task is None:
            object.__setattr__(self, "task", self._classification())
        for split, inputs, targets in splits:
            self.task.check(f"dataset {self.name!r}: {split}_targets", inputs, targets)
        self._check_classes()
        check_statistics(self.name, self.mean, self.std, train)

    def _classification(self) -> Classification:
        """Return the classification that the targets are of, if they are class numbers."""
        ends = [int(each.max()) + 1 for each in (self.train_targets, self.test_targets) if each.numel()]
        if self.class_names and max(ends) > len(self.class_names):
            raise DataError(
                f"dataset {self.name!r}: labels must be in [0, {len(self.class_names)}) because there are "
                f"{len(self.class_names)} class names, got {max(ends) - 1}"
            )
        return Classification(max(len(self.class_names), *ends, 1))

    def _check_classes(self) -> None:
        """Raise :class:`SpecError` for class names or confusions without the classes."""
        if not isinstance(self.task, Classification):
            if self.class_names or self.asymmetric:
                raise SpecError(
                    f"dataset {self.name!r}: class_names and asymmetric belong to a classification, its task is "
                    f"{self.task!r}; leave them out"
                )
            return
        if self.class_names and len(self.class_names) != self.task.classes:
            raise SpecError(
                f"dataset {self.name!r}: class_names must be {self.task.classes}, one a class, got "
                f"{len(self.class_names)}"
            )
        for source, target in (self.asymmetric or {}).items():
            if source == target or not (0 <= source < self.classes and 0 <= target < self.classes):
                raise SpecError(
                    f"dataset {self.name!r}: asymmetric must map classes in [0, {self.classes}) "
                    f"to other classes, got {source} -> {target}"
                )

    def __repr__(self) -> str:
        return (
            f"Dataset({self.name!r}, {len(self.train_targets)} train, {len(self.test_targets)} test, "
            f"{form(self.train_inputs)}, {self.task})"
        )

    @classmethod
    def from_arrays(
        cls,
        train_inputs: Any,
        train_targets: Any,
        test_inputs: Any,
        test_targets: Any,
        *,
        name: str = "arrays",
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        class_names: Sequence[str] = (),
        asymmetric: Mapping[int, int] | None = None,
        remarks: Sequence[str] = (),
        task: Task | None = None,
        stream: Stream | None = None,
    ) -> Self:
        """Make a dataset of tensors, NumPy arrays or nested lists, which are copied.

        Inputs: uint8 images ``(N, C, H, W)`` or ``(N, H, W)``, floats of any precision, ``(N, ...)``, or int64 tokens
        ``(N, T)``. Targets: class numbers ``(N,)`` of any integer type, or what ``task`` says: tokens ``(N, T)``,
        floats ``(N, outputs)`` or ``(N,)``. Raises as the class does.
        """
        return cls(
            name,
            inputs_of(name, "train_inputs", train_inputs),
            targets_of(name, "train_targets", train_targets, task),
            inputs_of(name, "test_inputs", test_inputs),
            targets_of(name, "test_targets", test_targets, task),
            None if mean is None else tuple(float(value) for value in mean),
            None if std is None else tuple(float(value) for value in std),
            tuple(class_names),
            None if asymmetric is None else dict(asymmetric),
            tuple(remarks),
            task,  # type: ignore[arg-type]
            stream,
        )

    @classmethod
    def from_pairs(
        cls, train: Pairs, test: Pairs, *, name: str = "pairs", task: Task | None = None, **others: Any
    ) -> Self:
        """Make a dataset of two map-style datasets of ``(input, target)``; each item is read once, now.

        ``others`` are passed on to :meth:`from_arrays`. Raises :class:`DataError` for items of another form.
        """
        parts = (*stacked(name, "train", train, task), *stacked(name, "test", test, task))
        return cls.from_arrays(*parts, name=name, task=task, **others)

    @property
    def classes(self) -> int:
        """Number of classes; raises :class:`SpecError` where the task is no classification."""
        if not isinstance(self.task, Classification):
            raise SpecError(f"dataset {self.name!r} has no classes, its task is {self.task!r}")
        return self.task.classes

    @cached_property
    def vocabulary(self) -> int | None:
        """How many different tokens there may be in the inputs; None where they are no tokens."""
        if self.train_inputs.dtype != torch.int64:
            return None
        if isinstance(self.task, NextToken):
            return self.task.vocabulary
        return int(max(self.train_inputs.max(), self.test_inputs.max())) + 1

    def digest(self) -> str:
        """Return the SHA-256 of the task and of shape, type and bytes of the four tensors."""
        return self._digest

    def notes(self) -> tuple[str, ...]:
        """Return what may be wrong with the data though it can be used, a sentence each; ``check`` and ``run`` tell."""
        return self._notes

    @cached_property
    def _notes(self) -> tuple[str, ...]:
        found = (*self.remarks, *self._empty_classes(), *self._shared_examples(), *self._other_scale())
        return tuple(f"dataset {self.name!r}: {note}" for note in found)

    def _empty_classes(self) -> Iterator[str]:
        if not isinstance(self.task, Classification):
            return
        for split, labels in (("training", self.train_targets), ("test", self.test_targets)):
            empty = (torch.bincount(labels, minlength=self.classes) == 0).nonzero().flatten().tolist()
            if empty:
                name = self.class_names[empty[0]] if self.class_names else empty[0]
                yield f"{len(empty)} of {self.classes} classes without {split} examples, such as {name!r}"

    def _shared_examples(self) -> Iterator[str]:
        train, test = (inputs.detach().flatten(1).numpy() for inputs in (self.train_inputs, self.test_inputs))
        known = set(map(hash, map(bytes, train)))
        shared = sum(hash(bytes(each)) in known for each in test)
        if shared:
            yield f"{shared} of {len(test)} test examples with the same input as a training example"

    def _other_scale(self) -> Iterator[str]:
        if self.vocabulary is not None:
            return
        (low, high), (test_low, test_high) = (
            (float(end) for end in inputs.aminmax()) for inputs in (self.train_inputs, self.test_inputs)
        )
        spread, test_spread = high - low, test_high - test_low
        if 0 < OTHER_SCALE * min(spread, test_spread) <= max(spread, test_spread):
            yield (
                f"train_inputs lie in [{low:.3g}, {high:.3g}] and test_inputs in [{test_low:.3g}, {test_high:.3g}]; "
                "scale both alike"
            )

    def plain(self) -> dict[str, str]:
        """Return what stands for this dataset in a study's text: its name and digest."""
        return {"name": self.name, "digest": self.digest()}

    @cached_property
    def _digest(self) -> str:
        sha = hashlib.sha256(json.dumps([task_identity(self.task), self.vocabulary]).encode())
        for tensor in (self.train_inputs, self.train_targets, self.test_inputs, self.test_targets):
            sha.update(f"|{tensor.dtype} {tuple(tensor.shape)}|".encode())
            sha.update(tensor.detach().cpu().contiguous().flatten().numpy().data)
        return sha.hexdigest()

    def statistics(self) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
        """Return mean and standard deviation per channel for normalisation; ``None`` if there is none.

        Computed ones are of all training inputs scaled to ``[0, 1]``; a constant channel has the deviation 1.
        """
        if self.mean is not None and self.std is not None:
            return self.mean, self.std
        return self._computed if self.train_inputs.dtype == torch.uint8 else None

    @cached_property
    def _computed(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        means, deviations = [], []
        for channel in self.train_inputs.transpose(0, 1):  # in whole numbers: the same on every machine
            counts = torch.bincount(channel.flatten(), minlength=256).tolist()
            total = sum(value * count for value, count in enumerate(counts))
            squares = sum(value**2 * count for value, count in enumerate(counts))
            scale = 255 * channel.numel()
            means.append(total / scale)
            deviations.append(math.sqrt(channel.numel() * squares - total**2) / scale or 1.0)
        return tuple(means), tuple(deviations)
