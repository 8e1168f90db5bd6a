"""What the lab costs a step: plan, store, checksums and scheduling, without the step itself. Bar: 5 ms a step.

Run with ``python benchmarks/lab_overhead.py``. The steps do nothing, on checkpoints of LeNet-300-100 (266,610
parameters, 1 MB): what is left is the lab. The same steps and probes run by hand, one after another in memory, are
taken off. Times are of one job in one process, by the clock and of the processor (the former says more on an idle
machine, the latter on a busy one); the folder of results is on the disk of the working directory.
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import tempfile
import time
from typing import ClassVar

import torch

from overparam import (
    Accuracy,
    Chain,
    Checkpoint,
    Cost,
    Dataset,
    Density,
    LearningDistance,
    Network,
    Probe,
    Prune,
    Repeat,
    Study,
    World,
)
from overparam.checkpoint import Given, state_of
from overparam.constraints import masked
from overparam.networks import prunable, tensor_roles
from overparam.probes import View
from overparam.spec import spec
from overparam.steps import STEPS, Context, Outcome, Step
from overparam.streams import torch_stream


@STEPS.named("nothing")
@spec
class Nothing(Step):
    """Hand on a checkpoint as it is; taken for a training, so that probes look at its result."""

    kind: ClassVar[str] = "nothing"
    trains: ClassVar[bool] = True

    def run(self, start: Checkpoint, context: Context) -> Outcome:
        """Return ``start`` with one more step behind it."""
        return Outcome(start.counted("nothing"))


def images() -> Dataset:
    """Return a little data of MNIST's shape."""
    inputs = torch.rand(40, 1, 28, 28, generator=torch_stream(0, "bench"))
    labels = torch.arange(40) % 10
    return Dataset("noise", inputs, labels, inputs, labels)


class Watch:
    """Seconds of clock and processor between two looks."""

    def __init__(self) -> None:
        self.look()

    def look(self) -> tuple[float, float]:
        """Return both since the last look."""
        now = (time.perf_counter(), time.process_time())
        before, self.last = getattr(self, "last", now), now
        return now[0] - before[0], now[1] - before[1]


def by_hand(chain: Chain, world: World, network: Network, probes: list[Probe]) -> tuple[float, float]:
    """Return the seconds that the steps and probes take one after another, without the lab."""
    data = world.build()
    module = network.build(data.input_shape, data.classes, 0)
    state, roles = state_of(module), tensor_roles(module)
    masks = {name: torch.ones(state[name].shape, dtype=torch.bool) for name in prunable(roles)}
    init = checkpoint = Checkpoint(state, masked(masks), roles)
    context = Context(data, lambda: module, lambda draw: module)
    view = View(data, lambda: module, against=Given(init, lambda: module))
    watch = Watch()
    for step in chain.flat():
        checkpoint = step.run(checkpoint, context).checkpoint
        for probe in probes if step.trains else ():
            probe.measure(checkpoint, view)
    return watch.look()


def measure(title: str, chain: Chain, probes: list[Probe], profile: bool) -> None:
    """Print milliseconds a step: run through the lab, run by hand, and found in the store."""
    world, network, count = World(images()), Network("lenet-300-100"), len(list(chain.flat()))
    hand = by_hand(chain, world, network, probes)
    with tempfile.TemporaryDirectory(dir=".") as folder:
        study = Study("overhead", world, network, chain, probes=probes)
        profiler = cProfile.Profile()
        if profile:
            profiler.enable()
        watch = Watch()
        study.run(folder, jobs=1, threads=1)
        ran = watch.look()
        profiler.disable()
        again = Study("overhead", world, network, chain, probes=probes)
        watch.look()
        again.run(folder, jobs=1, threads=1)
        found = watch.look()
    if profile:
        pstats.Stats(profiler).sort_stats("cumulative").print_stats(45)
    for kind, place in (("clock", 0), ("processor", 1)):
        print(
            f"{title:32} {count:5} steps, {kind:9}: lab {1000 * (ran[place] - hand[place]) / count:6.2f} ms a step "
            f"(with the steps {1000 * ran[place] / count:6.2f}); all found again in {found[place]:.2f} s"
        )


def main() -> None:
    """Measure dense and sparse checkpoints, with and without probes."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--steps", type=int, default=1000)
    options.add_argument("--profile", action="store_true")
    given = options.parse_args()
    torch.set_num_threads(1)
    many, few = Repeat(given.steps, Nothing()), Repeat(given.steps // 4, Nothing())
    measure("dense", Chain(many), [], given.profile)
    measure("density 0.1", Chain(Prune(density=0.1), many), [], given.profile)
    four: list[Probe] = [Accuracy(), LearningDistance(), Density(), Cost()]
    measure("density 0.1, four probes", Chain(Prune(density=0.1), few), four, given.profile)


if __name__ == "__main__":
    main()
