"""What the lab costs a step: plan, store, checksums and scheduling, without the step itself. Bar: 5 ms a step.

Run with ``python benchmarks/lab_overhead.py``. The steps do nothing, on checkpoints of LeNet-300-100 (266,610 parameters,
1 MB): what is left is the lab. The same steps run by hand, one after another in memory, are taken off. Times are of one
job in one process; the folder of results is on the disk of the working directory.
"""

from __future__ import annotations

import argparse
import cProfile
import dataclasses
import pstats
import tempfile
import time
from pathlib import Path
from typing import ClassVar

import torch

from overparam import Chain, Checkpoint, Dataset, Network, Prune, Study, World
from overparam.checkpoint import state_of
from overparam.lab import Store
from overparam.networks import prunable, tensor_roles
from overparam.spec import spec
from overparam.steps import STEPS, Context, Outcome, Step
from overparam.streams import torch_stream


@STEPS.named("nothing")
@spec
class Nothing(Step):
    """Hand on a checkpoint as it is; ``number`` makes each one a step of its own."""

    kind: ClassVar[str] = "nothing"
    number: int = 0

    def run(self, start: Checkpoint, context: Context) -> Outcome:
        """Return ``start`` with one more step behind it."""
        return Outcome(start.counted("nothing"))


@STEPS.named("measured-nothing")
@spec
class MeasuredNothing(Nothing):
    """The same, taken for a training: the probes look at its result."""

    kind: ClassVar[str] = "measured-nothing"
    trains: ClassVar[bool] = True


def images() -> Dataset:
    """Return a little data of MNIST's shape."""
    inputs = torch.rand(40, 1, 28, 28, generator=torch_stream(0, "bench"))
    labels = torch.arange(40) % 10
    return Dataset("noise", inputs, labels, inputs, labels)


def by_hand(steps: list[Step], world: World, network: Network) -> float:
    """Return the seconds that the steps take one after another, without the lab."""
    data = world.build()
    module = network.build(data.input_shape, data.classes, 0)
    state, roles = state_of(module), tensor_roles(module)
    masks = {name: torch.ones(state[name].shape, dtype=torch.bool) for name in prunable(roles)}
    checkpoint = Checkpoint(state, masks, roles)
    context = Context(data, lambda: module, lambda draw: module)
    began = time.perf_counter()
    for step in steps:
        checkpoint = step.run(checkpoint, context).checkpoint
    return time.perf_counter() - began


def measure(title: str, steps: list[Step], probes: list[str], profile: bool) -> None:
    """Print milliseconds a step: run through the lab, run by hand, and found in the store."""
    world, network, count = World(images()), Network("lenet-300-100"), len(steps)
    hand = by_hand(steps, world, network)
    with tempfile.TemporaryDirectory(dir=".") as folder:
        store = Store(Path(folder) / "runs")
        study = Study("overhead", world, network, Chain(*steps), probes=probes)
        profiler = cProfile.Profile()
        if profile:
            profiler.enable()
        began = time.perf_counter()
        study.run(store, jobs=1, threads=1)
        ran = time.perf_counter()
        profiler.disable()
        Study("overhead", world, network, Chain(*steps), probes=probes).run(store, jobs=1, threads=1)
        again = time.perf_counter()
    if profile:
        pstats.Stats(profiler).sort_stats("cumulative").print_stats(35)
    print(
        f"{title:34} {count:5} steps: run {1000 * (ran - began) / count:6.2f} ms, by hand {1000 * hand / count:6.3f} ms,"
        f" lab {1000 * (ran - began - hand) / count:6.2f} ms a step; found again {1000 * (again - ran) / count:6.2f} ms"
        f" a step, {again - ran:.1f} s in all"
    )


def main() -> None:
    """Measure dense and sparse checkpoints, with and without probes."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--steps", type=int, default=1000)
    options.add_argument("--profile", action="store_true")
    given = options.parse_args()
    torch.set_num_threads(1)
    many: list[Step] = [Nothing(number=number) for number in range(given.steps)]
    measured: list[Step] = [MeasuredNothing(number=number) for number in range(given.steps // 4)]
    measure("dense", many, [], given.profile)
    measure("density 0.1", [Prune(density=0.1), *many], [], given.profile)
    measure("density 0.1, density and distance", [Prune(density=0.1), *measured], ["density", "learning-distance"], given.profile)


if __name__ == "__main__":
    main()
