"""What the dense engine costs against a hand-written loop: an epoch of masked LeNet-300-100 on MNIST, in one run.

Floor: the arithmetic is 6 x 266,200 multiply-adds per example (forward, gradient of weights, gradient of inputs less
the first layer's), which both loops spend in the same torch kernels. What is left to win or lose is Python around them.

Run: ``python benchmarks/training_loop.py`` (needs MNIST; one thread, epochs interleaved, ratio of minima and medians).
"""

from __future__ import annotations

import statistics
import time

import torch
from torch import nn
from torch.nn import functional

from overparam import Network, World
from overparam.streams import torch_stream
from overparam.train import TrainSettings, fit

EPOCHS = 7
BATCH = 128


def minimal(module: nn.Module, inputs: torch.Tensor, labels: torch.Tensor, masks: dict[str, torch.Tensor]) -> None:
    """Train one epoch as somebody would write it by hand, with masks put on the weights after each step."""
    optimiser = torch.optim.SGD(module.parameters(), lr=0.1)
    masked = [(p, masks[name].float()) for name, p in module.named_parameters() if name in masks]
    order = torch.randperm(len(inputs))
    for start in range(0, len(inputs), BATCH):
        chosen = order[start : start + BATCH]
        optimiser.zero_grad()
        functional.cross_entropy(module(inputs[chosen]), labels[chosen]).backward()
        optimiser.step()
        with torch.no_grad():
            for parameter, mask in masked:
                parameter.mul_(mask)


def main() -> None:
    """Print seconds an epoch of both loops and their ratio."""
    torch.set_num_threads(1)
    data = World("mnist").build()
    settings = TrainSettings(epochs=1, batch_size=BATCH, lr=0.1)
    network = Network("lenet-300-100")
    ours, theirs = (network.build(data.input_shape, data.classes, seed) for seed in (0, 1))
    masks = {
        name: torch.rand(p.shape, generator=torch_stream(0, "bench", name)) < 0.2
        for name, p in ours.named_parameters()
        if p.dim() == 2
    }
    for module in (ours, theirs):
        for name, parameter in module.named_parameters():
            if name in masks:
                parameter.data.mul_(masks[name])
    seconds: dict[str, list[float]] = {"minimal": [], "overparam": []}
    for _ in range(EPOCHS + 1):
        began = time.perf_counter()
        minimal(theirs, data.train.inputs, data.train.targets, masks)
        middle = time.perf_counter()
        fit(ours, data, settings, masks=masks)
        seconds["minimal"].append(middle - began)
        seconds["overparam"].append(time.perf_counter() - middle)
    for name, times in seconds.items():
        del times[0]  # warm-up
        print(f"{name:10} min {min(times):.3f} s  median {statistics.median(times):.3f} s  max {max(times):.3f} s")
    ratio = min(seconds["overparam"]) / min(seconds["minimal"])
    pairs = [a / b for a, b in zip(seconds["overparam"], seconds["minimal"], strict=True)]
    print(f"ratio of minima {ratio:.3f}, median of paired ratios {statistics.median(pairs):.3f} (bar: 1.15)")


if __name__ == "__main__":
    main()
