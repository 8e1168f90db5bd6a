"""From what a user has (arrays, lists, tensors, pairs) to the tensors of a dataset."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from overparam.errors import DataError
from overparam.worlds.task import Classification, NextToken, Regression, Task


class Pairs(Protocol):
    """A map-style dataset as torch knows it: a length, and ``(input, label)`` at each index."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Any: ...


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


def inputs_of(name: str, field: str, values: Any) -> Tensor:
    """Return inputs as a tensor of the dataset's own; real numbers become float32."""
    inputs = _tensor(name, field, values)
    if inputs.dtype == torch.uint8 and inputs.dim() == 3:
        inputs = inputs.unsqueeze(1)
    return (inputs.float() if inputs.is_floating_point() else inputs).contiguous()


def targets_of(name: str, field: str, values: Any, task: Task | None) -> Tensor:
    """Return targets as a tensor of the dataset's own: int64 for classes and tokens, else float32 if they are real."""
    targets = _tensor(name, field, values)
    if task is None or isinstance(task, Classification | NextToken):
        if targets.is_floating_point() or targets.is_complex() or targets.dtype == torch.bool:
            raise DataError(
                f"dataset {name!r}: {field} must be integers, got {targets.dtype}; convert them first, or say what "
                "they are by a task, such as task=Regression(1)"
            )
        return targets.long().contiguous()
    if isinstance(task, Regression):
        return (targets.unsqueeze(1) if targets.dim() == 1 else targets).float().contiguous()
    return (targets.float() if targets.is_floating_point() else targets).contiguous()


def stacked(name: str, split: str, pairs: Pairs, task: Task | None) -> tuple[Tensor, Tensor]:
    """Return inputs and targets of all items of ``pairs``; raises :class:`DataError` for items of another form."""
    inputs, targets = [], []
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
        target = targets_of(name, f"label {index} of the {split} set", item[1], task)
        targets.append(target.squeeze() if target.numel() == 1 else target)
    if not inputs:
        raise DataError(f"dataset {name!r}: the {split} set is empty; give at least one example")
    try:
        return torch.stack(inputs), torch.stack(targets)
    except RuntimeError:
        shapes = sorted({tuple(each.shape) for each in inputs})
        raise DataError(
            f"dataset {name!r}: the {split} set must have inputs of one shape and single labels, "
            f"got inputs of {shapes[:4]}"
        ) from None
