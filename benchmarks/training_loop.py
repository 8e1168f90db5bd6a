"""What the dense engine costs against a hand-written masked loop: an epoch of LeNet-300-100 on MNIST, in one run.

Floor: the arithmetic is 6 x 266,200 multiply-adds per example (forward, gradient of weights, gradient of inputs less
the first layer's), which both loops spend in the same torch kernels. What is left to win or lose is Python around them,
and what a constraint computes: two passes over the weights to freeze or quantise, a choice of the highest scores for a
supermask (topk over 235,200 of them costs more than the forward pass).

Run: ``python benchmarks/training_loop.py`` (needs MNIST; one thread, epochs interleaved, ratio of minima and medians).
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional

from overparam import Network, World
from overparam.constraints import Constraint, Frozen, Masked, Quantised, Supermask, Uniform
from overparam.streams import torch_stream
from overparam.train import TrainSettings, fit

EPOCHS = 7
BATCH = 128
BARS = {"plain masks": "bar: 1.15", "frozen": "bar: 1.3", "quantised": "bar: 1.3", "supermask": "no bar"}


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


def constraints(kind: str, module: nn.Module, masks: dict[str, torch.Tensor]) -> dict[str, Constraint]:
    """Return constraints of one kind on the weights that have masks."""
    weights = {name: module.get_parameter(name).detach().clone() for name in masks}
    scores = {name: torch.rand(mask.shape, generator=torch_stream(1, "bench", name)) for name, mask in masks.items()}
    make: dict[str, Callable[[str], Constraint]] = {
        "plain masks": lambda name: Masked(masks[name]),
        "frozen": lambda name: Frozen(masks[name], weights[name]),
        "quantised": lambda name: Quantised(weights[name], torch.ones_like(masks[name]), Uniform(4)),
        "supermask": lambda name: Supermask(scores[name], weights[name], 0.5),
    }
    return {name: make[kind](name) for name in masks}


def main() -> None:
    """Print seconds an epoch of the hand-written loop and of ours under each kind of constraint, and their ratios."""
    torch.set_num_threads(1)
    data = World("mnist").build()
    settings = TrainSettings(epochs=1, batch_size=BATCH, lr=0.1)
    network = Network("lenet-300-100")
    modules = {kind: network.build(data.input_shape, data.classes, 0) for kind in ("by hand", *BARS)}
    masks = {
        name: torch.rand(p.shape, generator=torch_stream(0, "bench", name)) < 0.2
        for name, p in modules["by hand"].named_parameters()
        if p.dim() == 2
    }
    for name, mask in masks.items():
        for kind in ("by hand", "plain masks"):
            modules[kind].get_parameter(name).data.mul_(mask)
    under = {kind: constraints(kind, modules[kind], masks) for kind in BARS}
    seconds: dict[str, list[float]] = {kind: [] for kind in modules}
    for _ in range(EPOCHS + 1):
        for kind, module in modules.items():
            began = time.perf_counter()
            if kind == "by hand":
                minimal(module, data.train.inputs, data.train.targets, masks)
            else:
                fit(module, data, settings, constraints=under[kind])
            seconds[kind].append(time.perf_counter() - began)
    for times in seconds.values():
        del times[0]  # warm-up
    hand = seconds["by hand"]
    print(f"{'by hand':12} min {min(hand):.3f} s  median {statistics.median(hand):.3f} s")
    for kind, bar in BARS.items():
        pairs = statistics.median(a / b for a, b in zip(seconds[kind], hand, strict=True))
        least = min(seconds[kind])
        print(f"{kind:12} min {least:.3f} s  ratio of minima {least / min(hand):.3f}, of pairs {pairs:.3f} ({bar})")


if __name__ == "__main__":
    main()
