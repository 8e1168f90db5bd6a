"""What a sparse network gains in inference on this machine, measured."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from overparam.errors import SpecError
from overparam.sparse.conversion import convert
from overparam.sparse.network import SparseNetwork

WARM_UP = 2  # calls that are not measured: the first compiles kernels and makes lists


@dataclass(frozen=True)
class InferenceGain:
    """How long one call of a network takes, dense and sparse, in milliseconds: medians.

    Attributes:
        dense_ms: of the dense module in torch, with zeros where its masks are False.
        sparse_ms: of the converted network.
    """

    dense_ms: float
    sparse_ms: float

    @property
    def gain_ms(self) -> float:
        """Milliseconds that a call takes less when sparse; negative if it takes longer."""
        return self.dense_ms - self.sparse_ms

    @property
    def speedup(self) -> float:
        """How many times faster a call is when sparse; below 1 if it is slower."""
        return self.dense_ms / self.sparse_ms


def inference_gain(
    model: nn.Module, masks: Mapping[str, Tensor] | None, inputs: Tensor, *, repeat: int = 20
) -> InferenceGain:
    """Measure a network on ``inputs``, dense and converted, with torch's present number of threads.

    Both run in evaluation mode under ``torch.inference_mode()``, and they take turns, so that what else the machine
    does meets both alike.

    Args:
        model: a module, which is converted as by :func:`overparam.sparse.convert`, or a network that already is; it is
            not changed.
        masks: as of :func:`overparam.sparse.convert`; None for a converted network.
        inputs: a batch as the module takes it; a batch of one is fine.
        repeat: how often each is measured, 1 or more.

    Raises :class:`SpecError` for ``repeat`` below 1, masks for a converted network, and what ``convert`` refuses.
    """
    if repeat < 1:
        raise SpecError(f"repeat must be 1 or more, got {repeat}")
    if isinstance(model, SparseNetwork):
        if masks is not None:
            raise SpecError("masks must be None for a converted network, which has its own; see its masks()")
        network = model
    else:
        network = convert(model, masks, example=inputs)
    dense = network.to_dense()
    flags = {part: part.training for part in network.modules()}
    seconds: dict[nn.Module, list[float]] = {dense: [], network: []}
    try:
        with torch.inference_mode():
            dense.eval()
            network.eval()
            for turn in range(WARM_UP + repeat):
                for each, found in seconds.items():
                    began = time.perf_counter()
                    each(inputs)
                    if turn >= WARM_UP:
                        found.append(time.perf_counter() - began)
    finally:
        for part, training in flags.items():
            part.training = training
    return InferenceGain(1000 * statistics.median(seconds[dense]), 1000 * statistics.median(seconds[network]))
