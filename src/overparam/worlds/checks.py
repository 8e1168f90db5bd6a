"""What is wrong with the inputs and the statistics of a dataset."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from overparam.errors import DataError, SpecError


def form(inputs: Tensor) -> str:
    """Return type and shape of one of the inputs, in words."""
    return f"{inputs.dtype} {tuple(inputs.shape[1:])}"


def check_inputs(name: str, split: str, inputs: Tensor, targets: Tensor) -> None:
    """Raise :class:`DataError` unless inputs are images, finite real numbers or tokens, and targets a tensor."""
    what = f"dataset {name!r}: {split}_inputs"
    if not all(isinstance(each, Tensor) and each.device.type == "cpu" for each in (inputs, targets)):
        raise DataError(
            f"{what} and {split}_targets must be tensors on the CPU; use Dataset.from_arrays for anything else"
        )
    if inputs.dtype not in (torch.uint8, torch.float32) and not _tokens(inputs):
        raise DataError(
            f"{what} must be uint8 images or float32 values, got {inputs.dtype} {tuple(inputs.shape)}, or int64 tokens "
            "(N, T); convert them first"
        )
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
    if inputs.dtype == torch.int64 and int(inputs.min()) < 0:
        raise DataError(f"{what} must be tokens from 0 on as they are int64, got {int(inputs.min())}")


def _tokens(inputs: Tensor) -> bool:
    return inputs.dtype == torch.int64 and inputs.dim() == 2


def _channels_last(inputs: Tensor) -> bool:
    """Return whether these are images with their channels last: any such uint8, and square float32 ones."""
    if inputs.dim() != 4 or inputs.shape[1] <= 4 or inputs.shape[3] not in (1, 3, 4):
        return False
    return inputs.dtype == torch.uint8 or inputs.shape[1] == inputs.shape[2]


def check_statistics(name: str, mean: tuple[float, ...] | None, std: tuple[float, ...] | None, inputs: Tensor) -> None:
    """Raise :class:`SpecError` for a mean and a deviation that do not fit the inputs."""
    channels = inputs.shape[1]
    if (mean is None) != (std is None):
        raise SpecError(f"dataset {name!r}: mean and std must be given both or neither")
    if mean is not None and inputs.dtype == torch.int64:
        raise SpecError(f"dataset {name!r}: mean and std belong to real inputs, these are tokens; leave them out")
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
