"""How long a network takes for an example, dense and sparse, measured."""

import statistics
import time
import warnings
from collections.abc import Mapping
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from overparam.checkpoint import Checkpoint
from overparam.errors import LayerCollapseWarning
from overparam.probes.base import PROBES, Measurements, Probe, View
from overparam.spec import spec

WARM_UP = 2  # calls that are not measured: the first compiles kernels and makes lists


@PROBES.named("latency")
@spec
class Latency(Probe):
    """Seconds per example of the dense and of the sparse network in evaluation, and how many times faster sparse is.

    ``latency_dense`` is torch's time for the module with zeros where its masks are False, ``latency_sparse`` that of
    :func:`overparam.sparse.convert` of it, both medians, per example; ``latency_ratio`` is dense over sparse, below 1
    where sparse is slower. Both are called in turns, with torch's present number of threads, so that what else the
    machine does meets both alike. They differ from run to run.

    Args:
        batch_size: test examples in a call, 1 or more (as many as there are, if fewer).
        repeats: calls that are measured of each, 1 or more.

    Example:
        {latency: {batch_size: 32, repeats: 50}}
    """

    kind: ClassVar[str] = "latency"
    columns: ClassVar[Mapping[str, type]] = dict.fromkeys(("latency_dense", "latency_sparse", "latency_ratio"), float)
    measured: ClassVar[tuple[str, ...]] = tuple(columns)
    batch_size: Annotated[int, Field(ge=1)] = 1
    repeats: Annotated[int, Field(ge=1)] = 20

    def measure(self, checkpoint: Checkpoint, view: View) -> Measurements:
        """Convert the network under its masks, and call both."""
        from overparam.sparse import convert  # numba takes half a second to import

        dense = checkpoint.load_into(view.module())
        inputs = view.world.test.inputs[: self.batch_size]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", LayerCollapseWarning)  # pruning has told it
            sparse = convert(dense, checkpoint.masks)
        one, two = _seconds((dense.eval(), sparse.eval()), inputs, self.repeats)
        count = len(inputs)
        return Measurements({"latency_dense": one / count, "latency_sparse": two / count, "latency_ratio": one / two})


def _seconds(modules: tuple[nn.Module, ...], inputs: Tensor, repeats: int) -> list[float]:
    """Return the median seconds of a call of each, in turns."""
    taken: list[list[float]] = [[] for _ in modules]
    with torch.inference_mode():
        for _ in range(WARM_UP + repeats):
            for module, found in zip(modules, taken, strict=True):
                began = time.perf_counter()
                module(inputs)
                found.append(time.perf_counter() - began)
    return [statistics.median(found[WARM_UP:]) for found in taken]
