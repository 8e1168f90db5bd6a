"""Whether torch's threads and those of the kernels get into each other's way.

Both have a pool of as many threads as torch is set to. A pool's threads wait actively for a moment after their work, so
two pools on the same cores might steal time from each other. Measured: a product of torch, a sparse kernel, and the two
in turns (each time one pool has just finished and the other begins). If they fight, the turns take longer than the sum.

Prediction: a ratio of 1 within the noise of a few percent.

Run: ``python benchmarks/sparse_threads.py``.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import numba
import numpy as np
import torch

from overparam.sparse.kernels.structure import linear_structure
from overparam.sparse.layers.autograd import Link, fused_layers

ROUNDS = 300
FEATURES = 512


def main() -> None:
    """Print microseconds of each and the ratio of the turns to the sum."""
    torch.manual_seed(0)
    mask = torch.rand(FEATURES, FEATURES) < 0.1
    structure = linear_structure(np.flatnonzero(mask.numpy()), FEATURES, FEATURES)
    values = torch.randn(structure.size)
    inputs = torch.randn(1, FEATURES, 128)
    matrix = torch.randn(FEATURES, FEATURES)

    def dense() -> None:
        torch.mm(matrix, inputs[0])

    def sparse() -> None:
        fused_layers(inputs, [Link(structure, values, None)])

    def both() -> None:
        dense()
        sparse()

    for threads in (1, torch.get_num_threads()):
        torch.set_num_threads(threads)
        times: dict[str, list[float]] = {"torch": [], "sparse": [], "in turns": []}
        calls: dict[str, Callable[[], None]] = {"torch": dense, "sparse": sparse, "in turns": both}
        for _ in range(ROUNDS):
            for name, call in calls.items():
                for _ in range(3):
                    call()  # the pool of this kind of work is awake
                began = time.perf_counter()
                for _ in range(10):
                    call()
                times[name].append((time.perf_counter() - began) / 10 * 1e6)
        middle = {name: statistics.median(each) for name, each in times.items()}
        ratio = middle["in turns"] / (middle["torch"] + middle["sparse"])
        layer = numba.threading_layer() if threads > 1 else "-"
        listed = ", ".join(f"{name} {value:.0f} us" for name, value in middle.items())
        print(f"{threads} thread(s), numba's layer {layer}: {listed}; turns / sum {ratio:.2f}")


if __name__ == "__main__":
    main()
