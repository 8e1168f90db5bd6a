"""The raw data of one dataset, as its source gives it, checked once when it is made."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol, Self

import numpy as np
import torch
from torch import Tensor

from overparam.errors import DataError, SpecError
from overparam.worlds.task import Classification, Task

OTHER_SCALE = 10  # inputs of which one split spreads so many times as widely as the other were hardly scaled alike


class Pairs(Protocol):
    """A map-style dataset as torch knows it: a length, and ``(input, label)`` at each index."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Any: ...


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """Training and test examples of a classification task, as they are; do not change the tensors.

    Args:
        name: what reports call it.
        train_inputs: ``(N, C, H, W)`` uint8 images, or finite float32 values of any shape ``(N, ...)``.
        train_targets: ``(N,)`` int64 in ``[0, classes)``.
        test_inputs, test_targets: the same for the test set, with inputs of the same shape and type.
        mean, std: per channel (dimension 1; a single value holds for all), of uint8 inputs scaled to [0, 1],
            of float32 inputs as they are. ``None``: for uint8 computed from all training inputs, for float32
            no normalisation.
        class_names: one a class; without them there are as many classes as the largest label says.
        asymmetric: source class -> the class it is confused with, for asymmetric label noise.
        remarks: what its loader left out or cannot vouch for, a sentence each; :meth:`notes` shows them.

    Raises :class:`DataError` for wrong contents, :class:`SpecError` for a wrong mean, std or map.

    >>> data = Dataset.from_arrays([[0.0], [1.0]], [0, 1], [[0.5]], [1])
    >>> data.classes, data.train_inputs.dtype
    (2, torch.float32)
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

    def __post_init__(self) -> None:
        for split, inputs, targets in (
            ("train", self.train_inputs, self.train_targets),
            ("test", self.test_inputs, self.test_targets),
        ):
            _check_inputs(self.name, split, inputs, targets)
            Classification(1).check(f"dataset {self.name!r}: {split}_targets", inputs, targets)
        train, test = self.train_inputs, self.test_inputs
        if train.shape[1:] != test.shape[1:] or train.dtype != test.dtype:
            raise DataError(
                f"dataset {self.name!r}: train_inputs and test_inputs must be alike, got "
                f"{_form(train)} and {_form(test)} without the number of examples"
            )
        largest = self._largest_label()
        if self.class_names and largest >= len(self.class_names):
            raise DataError(
                f"dataset {self.name!r}: labels must be in [0, {len(self.class_names)}) because there are "
                f"{len(self.class_names)} class names, got {largest}"
            )
        _check_statistics(self.name, self.mean, self.std, train)
        for source, target in (self.asymmetric or {}).items():
            if source == target or not (0 <= source < self.classes and 0 <= target < self.classes):
                raise SpecError(
                    f"dataset {self.name!r}: asymmetric must map classes in [0, {self.classes}) "
                    f"to other classes, got {source} -> {target}"
                )

    def __repr__(self) -> str:
        return (
            f"Dataset({self.name!r}, {len(self.train_targets)} train, {len(self.test_targets)} test, "
            f"{_form(self.train_inputs)}, {self.classes} classes)"
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
    ) -> Self:
        """Make a dataset of tensors, NumPy arrays or nested lists, which are copied.

        Inputs: uint8 images ``(N, C, H, W)`` or ``(N, H, W)``, or floats of any precision, ``(N, ...)``.
        Labels: ``(N,)`` of any integer type. Raises as the class does.
        """
        return cls(
            name,
            _inputs(name, "train_inputs", train_inputs),
            _labels(name, "train_targets", train_targets),
            _inputs(name, "test_inputs", test_inputs),
            _labels(name, "test_targets", test_targets),
            None if mean is None else tuple(float(value) for value in mean),
            None if std is None else tuple(float(value) for value in std),
            tuple(class_names),
            None if asymmetric is None else dict(asymmetric),
            tuple(remarks),
        )

    @classmethod
    def from_pairs(cls, train: Pairs, test: Pairs, *, name: str = "pairs", **others: Any) -> Self:
        """Make a dataset of two map-style datasets of ``(input, label)``; each item is read once, now.

        ``others`` are passed on to :meth:`from_arrays`. Raises :class:`DataError` for items of another form.
        """
        return cls.from_arrays(*_stack(name, "train", train), *_stack(name, "test", test), name=name, **others)

    @cached_property
    def task(self) -> Task:
        """What is to be done with the inputs: one of the classes for each."""
        return Classification(self.classes)

    @cached_property
    def classes(self) -> int:
        """Number of classes: the number of class names, else one more than the largest label."""
        return len(self.class_names) or self._largest_label() + 1

    def digest(self) -> str:
        """Return the SHA-256 of number of classes and of shape, type and bytes of the four tensors."""
        return self._digest

    def notes(self) -> tuple[str, ...]:
        """Return what may be wrong with the data though it can be used, a sentence each; ``check`` and ``run`` tell."""
        return self._notes

    @cached_property
    def _notes(self) -> tuple[str, ...]:
        found = (*self.remarks, *self._empty_classes(), *self._shared_examples(), *self._other_scale())
        return tuple(f"dataset {self.name!r}: {note}" for note in found)

    def _empty_classes(self) -> Iterator[str]:
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
        sha = hashlib.sha256(f"classes {self.classes}".encode())
        for tensor in (self.train_inputs, self.train_targets, self.test_inputs, self.test_targets):
            sha.update(f"|{tensor.dtype} {tuple(tensor.shape)}|".encode())
            sha.update(tensor.detach().cpu().contiguous().flatten().numpy().data)
        return sha.hexdigest()

    def _largest_label(self) -> int:
        return int(max(self.train_targets.max(), self.test_targets.max()))

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


def _form(inputs: Tensor) -> str:
    return f"{inputs.dtype} {tuple(inputs.shape[1:])}"


def _check_inputs(name: str, split: str, inputs: Tensor, targets: Tensor) -> None:
    what = f"dataset {name!r}: {split}_inputs"
    if not all(isinstance(each, Tensor) and each.device.type == "cpu" for each in (inputs, targets)):
        raise DataError(
            f"{what} and {split}_targets must be tensors on the CPU; use Dataset.from_arrays for anything else"
        )
    if inputs.dtype not in (torch.uint8, torch.float32):
        raise DataError(f"{what} must be uint8 images or float32 values, got {inputs.dtype}; convert them first")
    if inputs.dim() < 2 or (inputs.dtype == torch.uint8 and inputs.dim() != 4):
        raise DataError(
            f"{what} must be (N, C, H, W) if uint8 and (N, ...) with two dimensions or more if float32, "
            f"got {inputs.dtype} {tuple(inputs.shape)}; give numbers that are no images as float32"
        )
    if _channels_last(inputs):
        raise DataError(
            f"{what} must have the channels before height and width, got {tuple(inputs.shape)}; permute them"
        )
    if inputs.numel() == 0:
        raise DataError(f"{what} must hold at least one value, got the shape {tuple(inputs.shape)}")
    if inputs.dtype == torch.float32 and not bool(torch.isfinite(inputs).all()):
        bad = int((~torch.isfinite(inputs.flatten(1)).all(1)).nonzero()[0])
        raise DataError(f"{what} must be finite, got NaN or infinity in example {bad}")


def _channels_last(inputs: Tensor) -> bool:
    """Return whether these are images with their channels last: any such uint8, and square float32 ones."""
    if inputs.dim() != 4 or inputs.shape[1] <= 4 or inputs.shape[3] not in (1, 3, 4):
        return False
    return inputs.dtype == torch.uint8 or inputs.shape[1] == inputs.shape[2]


def _check_statistics(name: str, mean: tuple[float, ...] | None, std: tuple[float, ...] | None, inputs: Tensor) -> None:
    channels = inputs.shape[1]
    if (mean is None) != (std is None):
        raise SpecError(f"dataset {name!r}: mean and std must be given both or neither")
    for field, values in (("mean", mean), ("std", std)):
        if values is not None and (
            len(values) not in (1, channels) or not all(math.isfinite(value) for value in values)
        ):
            raise SpecError(
                f"dataset {name!r}: {field} must be one finite number, or one a channel ({channels}), got {values}"
            )
    if std is not None and min(std) <= 0:
        raise SpecError(f"dataset {name!r}: std must be above 0, got {std}")
    if mean is not None and inputs.dtype == torch.uint8 and not 0 <= min(mean) <= max(mean) <= 1:
        raise SpecError(
            f"dataset {name!r}: mean must be in [0, 1] for uint8 images, which are scaled to [0, 1] first; got {mean}"
        )


def _tensor(name: str, field: str, values: Any) -> Tensor:
    if np.ma.is_masked(values):
        raise DataError(f"dataset {name!r}: {field} has masked values; fill them or leave their examples out")
    try:
        if isinstance(values, Tensor):
            return values.detach().cpu().to_dense().clone()
        array = np.asarray(values)  # which may have the other byte order or negative strides, but torch takes neither
        return torch.from_numpy(np.array(array, array.dtype.newbyteorder("="), order="C"))
    except (TypeError, ValueError, RuntimeError) as error:
        raise DataError(f"dataset {name!r}: {field} must be a tensor or an array of numbers: {error}") from None


def _inputs(name: str, field: str, values: Any) -> Tensor:
    inputs = _tensor(name, field, values)
    if inputs.dtype == torch.uint8 and inputs.dim() == 3:
        inputs = inputs.unsqueeze(1)
    return (inputs.float() if inputs.is_floating_point() else inputs).contiguous()


def _labels(name: str, field: str, values: Any) -> Tensor:
    labels = _tensor(name, field, values)
    if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
        raise DataError(f"dataset {name!r}: {field} must be integers, got {labels.dtype}; convert them first")
    return labels.long()


def _stack(name: str, split: str, pairs: Pairs) -> tuple[Tensor, Tensor]:
    inputs, labels = [], []
    for index in range(len(pairs)):
        item = pairs[index]
        if not isinstance(item, tuple | list) or len(item) != 2:
            raise DataError(
                f"dataset {name!r}: item {index} of the {split} set must be (input, label), got {type(item).__name__}"
            )
        if hasattr(item[0], "getbands"):  # a PIL image has its channels last: np.asarray would not notice
            raise DataError(
                f"dataset {name!r}: item {index} of the {split} set is a PIL image; "
                "give the dataset a transform to tensors (C, H, W)"
            )
        inputs.append(_tensor(name, f"input {index} of the {split} set", item[0]))
        labels.append(_labels(name, f"label {index} of the {split} set", item[1]).reshape(-1))
    if not inputs:
        raise DataError(f"dataset {name!r}: the {split} set is empty; give at least one example")
    try:
        return torch.stack(inputs), torch.stack(labels).squeeze(1)
    except RuntimeError:
        shapes = sorted({tuple(each.shape) for each in inputs})
        raise DataError(
            f"dataset {name!r}: the {split} set must have inputs of one shape and single labels, "
            f"got inputs of {shapes[:4]}"
        ) from None
