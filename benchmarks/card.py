"""Check a card in under three minutes: curves as on the CPU, exact masks, the same bits after a stop, and speed.

    python benchmarks/card.py [cuda|cuda:1|mps]

Prints a line for each check and ends with 1 if one fails. Never run so far: no card was at hand when it was written.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from overparam import Network, World
from overparam.constraints import masked
from overparam.lab.torch_settings import full_precision
from overparam.networks import prunable, tensor_roles
from overparam.prune import Evidence, Magnitude, count_kept, new_masks
from overparam.train import Fit, TrainSettings, fit
from overparam.train.events import Gradual, RigL
from overparam.worlds import Dataset, WorldData

TOLERANCE = 2e-2  # of losses after some epochs, relative: sums are in another order, and training amplifies that


class Stop(Exception):  # noqa: N818 (not an error)
    """Ends a training in its middle."""


class Memory:
    """A journal that ends a training at its second save, once."""

    def __init__(self) -> None:
        self.kept: tuple[dict[str, Tensor], dict[str, Any]] | None = None
        self.saves = 0

    def due(self) -> bool:
        """Save after each epoch."""
        return True

    def save(self, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        """Keep copies, and end the second time."""
        self.kept, self.saves = ({name: t.clone() for name, t in tensors.items()}, dict(facts)), self.saves + 1
        if self.saves == 2:
            raise Stop

    def load(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """Return what was kept."""
        return self.kept


def digits() -> WorldData:
    return World("digits", train_size=400, test_size=200).build()


def train(
    device: str, network: str = "lenet-300-100", density: float = 0.2, journal: Any = None, **changes: Any
) -> Fit:
    data = digits()
    module = Network(network).build(**data.form, seed=0)
    masks = masks_of(module, density, data)
    settings = TrainSettings(**{"epochs": 4, "batch_size": 50, "lr": 0.05, "evaluate_every": 1, **changes})
    for name, mask in masks.items():
        module.get_parameter(name).data.mul_(mask)
    return fit(module, data, settings, constraints=masked(masks), seed=1, device=device, journal=journal)


def masks_of(module: torch.nn.Module, density: float, data: WorldData) -> dict[str, Tensor]:
    roles = tensor_roles(module, data.test.inputs[:1])
    weights = {name: module.get_parameter(name).detach() for name in prunable(roles)}
    ones = {name: torch.ones(weight.shape, dtype=torch.bool, device=weight.device) for name, weight in weights.items()}
    return new_masks(Magnitude()(Evidence(weights=weights)), ones, roles, density=density)


def curves(device: str) -> str:
    """Losses and accuracies are those of the CPU, within a tolerance, for three networks and two precisions."""
    worst = 0.0
    for network in ("lenet-300-100", "conv-2"):
        for changes in ({}, {"optimizer": "adam", "lr": 0.001}, {"precision": "bfloat16"}):
            here, there = (train(place, network, **changes) for place in ("cpu", device))
            rows = zip(here.curve, there.curve, strict=True)
            worst = max(worst, *(abs(a["train_loss"] - b["train_loss"]) / max(a["train_loss"], 0.1) for a, b in rows))
    assert worst < TOLERANCE, f"losses differ by {worst:.2g}, relative"
    return f"losses differ by {worst:.1g} at most, relative"


def masks(device: str) -> str:
    """The same weights give the same masks; pruned weights are zero, counts exact, also after events."""
    data = digits()
    module = Network("conv-2").build(**data.form, seed=0)
    here = masks_of(module, 0.1, data)
    there = masks_of(module.to(device), 0.1, data)
    assert all(here[name].equal(there[name].cpu()) for name in here), "masks differ"
    for event in (RigL(every="5it"), Gradual(density=0.05, every="5it", until="30it")):
        found = train(device, density=0.2, events=[event])
        kept = {name: each.kept() for name, each in found.constraints.items()}
        zero = all(not bool(found.state[name][~mask].any()) for name, mask in kept.items() if mask is not None)
        assert zero, "a pruned weight is not zero"
        weights = sum(mask.numel() for mask in kept.values() if mask is not None)
        counted = count_kept({name: mask for name, mask in kept.items() if mask is not None})
        assert counted == round((0.05 if isinstance(event, Gradual) else 0.2) * weights), "a count is not exact"
    return "equal, and exact after events"


def resume(device: str) -> str:
    """A training that is stopped in its middle ends with the bits of one that is not."""
    for changes in (
        {"optimizer": {"sgd": {"momentum": 0.9}}},
        {"optimizer": "adam", "lr": 0.001},
        {"events": [RigL(every="7it")]},
    ):
        whole, journal = train(device, "conv-2", **changes), Memory()
        with contextlib.suppress(Stop):
            train(device, "conv-2", journal=journal, **changes)
        again = train(device, "conv-2", journal=journal, **changes)
        assert all(again.state[name].equal(tensor) for name, tensor in whole.state.items()), "other bits"
        assert again.curve == whole.curve, "another curve"
    return "the same bits"


def speed(device: str, iterations: int = 60) -> str:
    """Seconds of a training of Conv-4 on random images of 32 x 32, here and on the CPU."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (2048, 3, 32, 32), dtype=torch.uint8, generator=generator)
    labels = torch.arange(2048) % 10
    data = World(Dataset("random", images, labels, images[:64], labels[:64])).build()
    seconds = {}
    for place in ("cpu", device):
        for length in ("4it", f"{iterations}it"):  # the first warms up
            module = Network("conv-4").build(**data.form, seed=0)
            began = time.perf_counter()
            fit(module, data, TrainSettings(length=length, batch_size=128, lr=0.01), device=place)
            seconds[place] = time.perf_counter() - began
    return f"{seconds['cpu'] / seconds[device]:.1f} times the CPU ({torch.get_num_threads()} threads)"


CHECKS: dict[str, Callable[[str], str]] = {"curves": curves, "masks": masks, "resume": resume, "speed": speed}


def main() -> None:
    device, failed = (sys.argv[1:] or ["cuda"])[0], 0
    with full_precision():
        for name, check in CHECKS.items():
            began = time.perf_counter()
            try:
                said = check(device)
            except AssertionError as error:
                said, failed = f"FAILED: {error}", failed + 1
            print(f"{name:8} {said} ({time.perf_counter() - began:.0f} s)", flush=True)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
