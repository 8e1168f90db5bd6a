"""From raw inputs to what a network sees."""

from __future__ import annotations

import torch
from torch import Tensor

Statistics = tuple[tuple[float, ...], tuple[float, ...]]
"""Mean and standard deviation, one of each for all channels or one a channel."""


def normal(inputs: Tensor, statistics: Statistics | None) -> Tensor:
    """Return ``(x - mean) / std`` in float32, uint8 scaled to [0, 1] before; channels are dimension 1. Tokens stay."""
    scaled = inputs.float().div_(255) if inputs.dtype == torch.uint8 else inputs
    if statistics is not None:
        mean, std = (torch.tensor(each, dtype=torch.float32).view(-1, *[1] * (inputs.dim() - 2)) for each in statistics)
        scaled = (scaled - mean if scaled is inputs else scaled.sub_(mean)).div_(std)
    return scaled.contiguous()
