"""This source against another one, in one run: what a change of sparse layers and engines costs or gains.

Two processes, one with each source folder, measure the same cases in turns, so that a slow moment of the machine hits
both; a row is the median over rounds of the best of a few calls, and ``ratio`` is other / this: below 1 where this
source is slower. Cases are those of the other benchmarks, through names that both sources have:

- ``layers``: forward and all gradients, batch 128, of a layer alone and of a converted network of four such layers
  (a fourth of its time);
- ``lenet``: an epoch of LeNet-300-100 with evaluation, on 60,000 random pictures, at every second level of the sweep,
  default engine; ``all`` adds up;
- ``conv-4``: the same of Conv-4 on 256 random pictures of 3 x 32 x 32.

Run: ``python benchmarks/sparse_before_after.py OTHER/src [layers] [lenet] [conv-4] [--rounds N] [--threads N]``.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

SHAPES = {
    "linear 300 x 784": ((300, 784), (0.4, 0.3, 0.2, 0.1, 0.05, 0.02, 0.01)),
    "linear 1024 x 1024": ((1024, 1024), (0.4, 0.3, 0.2, 0.1, 0.05, 0.02, 0.01)),
    "conv 3x3 64, 16 x 16": ((64, 16), (0.15, 0.1, 0.05, 0.02)),
    "conv 3x3 128, 8 x 8": ((128, 8), (0.15, 0.1, 0.05, 0.02)),
}
LEVELS = [round(0.8**level, 4) for level in range(0, 28, 2)]
WHICH = ("layers", "lenet", "conv-4")


def cases(which: list[str]) -> list[list[Any]]:
    found: list[list[Any]] = []
    for kind in which:
        if kind == "layers":
            found += [[k, name, d] for name, (_, each) in SHAPES.items() for d in each for k in ("alone", "within")]
        else:
            found += [[kind, kind, density] for density in LEVELS]
    return found


def made(name: str, density: float, depth: int) -> tuple[list[nn.Module], list[Tensor], Tensor]:
    one, two = SHAPES[name][0]
    torch.manual_seed(0)
    if name.startswith("linear"):
        sizes = [two if place % 2 == 0 else one for place in range(depth + 1)]
        layers: list[nn.Module] = [nn.Linear(*each) for each in pairwise(sizes)]
        inputs = torch.randn(128, two, requires_grad=True)
    else:
        layers = [nn.Conv2d(one, one, 3, padding=1) for _ in range(depth)]
        inputs = torch.randn(128, one, two, two, requires_grad=True)
    return layers, [torch.rand(layer.weight.shape) < density for layer in layers], inputs


def gradients(module: nn.Module, inputs: Tensor) -> Callable[[], None]:
    errors = torch.randn_like(module(inputs))

    def call() -> None:
        torch.autograd.grad(module(inputs), [inputs, *module.parameters()], errors)

    return call


def prepared(kind: str, name: str, density: float) -> tuple[Callable[[], None], int]:
    """Return a call, and how many layers its time is of."""
    from overparam.sparse import SparseLayer, convert

    if kind == "alone":
        (layer,), (mask,), inputs = made(name, density, 1)
        return gradients(SparseLayer.from_dense(layer, mask), inputs), 1
    if kind == "within":
        layers, masks, inputs = made(name, density, 4)
        network = convert(nn.Sequential(*layers), {f"{place}.weight": mask for place, mask in enumerate(masks)})
        assert network.whole
        return gradients(network, inputs), 4
    return epoch(kind, density), 1


def epoch(name: str, density: float) -> Callable[[], None]:
    from overparam import Network
    from overparam.prune import apply_masks, prune
    from overparam.train import TrainSettings, fit
    from overparam.worlds import Dataset, World

    generator = torch.Generator().manual_seed(0)
    count, shape = (60_000, (1, 28, 28)) if name == "lenet" else (256, (3, 32, 32))
    inputs, labels = torch.randn(count, *shape, generator=generator), torch.arange(count) % 10
    data = World(Dataset("noise", inputs, labels, inputs[: count // 6], labels[: count // 6])).build()
    module = Network("lenet-300-100" if name == "lenet" else "conv-4").build(data.input_shape, data.classes, 0)
    masks = prune(module, "magnitude", density=density, scope="per-layer")
    apply_masks(module, masks)
    settings = TrainSettings(epochs=1, batch_size=128, lr=0.02, evaluate_every="1ep")
    return lambda: fit(module, data, settings, masks=masks, engine="auto") and None


def seconds(call: Callable[[], None], least: float = 0.02) -> float:
    best, spent = float("inf"), 0.0
    while spent < least:
        began = time.perf_counter()
        call()
        taken = time.perf_counter() - began
        best, spent = min(best, taken), spent + taken
    return best


def serve() -> None:
    """Measure what the other process asks for."""
    warnings.simplefilter("ignore")
    ready: tuple[list[Any], Callable[[], None], int] | None = None
    for line in sys.stdin:
        case = json.loads(line)
        if ready is None or ready[0] != case:
            ready = (case, *prepared(*case))
            ready[1]()
        print(seconds(ready[1]) / ready[2], flush=True)


class Source:
    """A process with a source folder."""

    def __init__(self, folder: Path, threads: int) -> None:
        path = os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])
        env = {**os.environ, "PYTHONPATH": path, "OVERPARAM_BENCHMARKED": str(folder), "OMP_NUM_THREADS": str(threads)}
        self.process = subprocess.Popen(
            [sys.executable, __file__, "--serve"], env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def measure(self, case: list[Any]) -> float:
        """Return the seconds of a case."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(case) + "\n")
        self.process.stdin.flush()
        return float(self.process.stdout.readline())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("other", type=Path, help="the src folder to compare with")
    parser.add_argument("which", nargs="*", choices=[[], *WHICH], help="what to measure; all if left out")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    both = (
        Source(arguments.other.resolve(), arguments.threads),
        Source(Path(__file__).parents[1] / "src", arguments.threads),
    )
    sums: dict[str, list[float]] = {}
    print(f"{'case':<30} {'density':>7} {'other ms':>9} {'this ms':>9} {'ratio':>6}")
    for case in cases(arguments.which or list(WHICH)):
        taken: list[list[float]] = [[], []]
        for turn in range(arguments.rounds):
            for side in (0, 1) if turn % 2 else (1, 0):
                taken[side].append(both[side].measure(case))
        old, new = (statistics.median(each) * 1e3 for each in taken)
        kind, name, density = case
        title = name if kind == name else f"{name} {kind}"
        print(f"{title:<30} {density:>7} {old:>9.3f} {new:>9.3f} {old / new:>6.2f}", flush=True)
        if kind == name:
            sums[name] = [a + b for a, b in zip(sums.get(name, [0.0, 0.0]), (old, new), strict=True)]
    for name, (old, new) in sums.items():
        print(f"{name + ' all':<30} {'':>7} {old:>9.1f} {new:>9.1f} {old / new:>6.2f}")
    for each in both:
        each.process.terminate()


if __name__ == "__main__":
    if sys.argv[1:] == ["--serve"]:
        import overparam

        assert str(Path(overparam.__file__).parent.parent) == os.environ["OVERPARAM_BENCHMARKED"], overparam.__file__
        serve()
    else:
        main()
