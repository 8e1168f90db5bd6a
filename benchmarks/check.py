"""Six ratios in one run, under a minute: has something become slow? Each is how many times faster ours is.

Compared are two ways to do the same on one thread, in turns, so that a slow moment meets both; a ratio is
of the minima of their processor's time, which others on the machine disturb less than the clock's. It says little about
another machine, and much about a change of the code on the same one.

Run: ``python benchmarks/check.py`` compares with ``benchmarks/expected.json`` and names what fell below 0.9 of it; its
exit status is 0 all the same. ``--write`` puts what was measured there.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import nn

from lab_overhead import Nothing
from lab_overhead import images as few_images
from overparam import Chain, Dataset, Network, Repeat, Study, World
from overparam.papers.sparse_double_descent import find_phases
from overparam.sparse import SparseConv2d, SparseLinear
from overparam.streams import torch_stream
from overparam.train import TrainSettings, fit
from overparam.worlds import WorldData
from phase_statistics import CURVES, arm
from sparse_layers import gradients
from training_loop import BATCH, minimal

EXPECTED = Path(__file__).with_name("expected.json")
ENOUGH = 0.9
ROUNDS = 7
DENSITY = 0.05
STEPS = 200  # of a study that is found in the store


def faster(ours: Callable[[], object], theirs: Callable[[], object], rounds: int = ROUNDS) -> float:
    """Return how many times faster ``ours`` is; both are called once before anything is measured."""
    times: dict[Callable[[], object], list[float]] = {ours: [], theirs: []}
    for _ in range(rounds + 1):
        for call, spent in times.items():
            began = time.process_time()
            call()
            spent.append(time.process_time() - began)
    return min(times[theirs][1:]) / min(times[ours][1:])


def data_like_mnist(examples: int) -> WorldData:
    inputs = torch.rand(examples, 1, 28, 28, generator=torch_stream(0, "check"))
    labels = torch.arange(examples) % 10
    return World(Dataset("noise", inputs, labels, inputs[:100], labels[:100])).build()


def lenet(data: WorldData, density: float) -> tuple[nn.Module, dict[str, torch.Tensor]]:
    """Return LeNet-300-100 and masks of a density, drawn at random; what they leave out is zero."""
    module = Network("lenet-300-100").build(**data.form, seed=0)
    weights = {name: weight for name, weight in module.named_parameters() if weight.dim() == 2}
    masks = {
        name: torch.rand(weight.shape, generator=torch_stream(0, name)) < density for name, weight in weights.items()
    }
    for name, weight in weights.items():
        weight.data.mul_(masks[name])
    return module, masks


def masked_training() -> float:
    """An epoch of masked training, against a loop written by hand."""
    data, settings = data_like_mnist(5_000), TrainSettings(epochs=1, batch_size=BATCH, lr=0.1)
    (ours, masks), (theirs, _) = lenet(data, 0.2), lenet(data, 0.2)
    inputs, labels = data.train.inputs, data.train.targets
    return faster(
        lambda: fit(ours, data, settings, masks=masks, engine="dense"), lambda: minimal(theirs, inputs, labels, masks)
    )


def compiled_epoch() -> float:
    """An epoch at the nonzeros alone, against the dense one."""
    data, settings = data_like_mnist(5_000), TrainSettings(epochs=1, batch_size=BATCH, lr=0.1)
    (ours, masks), (theirs, _) = lenet(data, DENSITY), lenet(data, DENSITY)
    return faster(
        lambda: fit(ours, data, settings, masks=masks, engine="sparse"),
        lambda: fit(theirs, data, settings, masks=masks, engine="dense"),
    )


def sparse_linear() -> float:
    """All gradients of a sparse layer of 1,024 x 1,024, against torch's own."""
    layer = nn.Linear(1024, 1024)
    return against(layer, SparseLinear.from_dense(layer, torch.rand(1024, 1024) < DENSITY), torch.randn(BATCH, 1024))


def sparse_conv() -> float:
    """All gradients of a sparse convolution of 64 channels, against torch's own."""
    layer = nn.Conv2d(64, 64, 3, padding=1)
    mask = torch.rand(layer.weight.shape) < DENSITY
    return against(layer, SparseConv2d.from_dense(layer, mask), torch.randn(32, 64, 16, 16))


def against(dense: nn.Module, sparse: nn.Module, inputs: torch.Tensor) -> float:
    inputs.requires_grad_()
    return faster(
        gradients(sparse, list(sparse.parameters()), inputs), gradients(dense, list(dense.parameters()), inputs), 15
    )


def cached_steps() -> float:
    """A study of which all is in the store, against reading the small files there by hand: the numbers, no weights."""
    with tempfile.TemporaryDirectory() as folder:

        def found() -> None:
            study = Study("check", World(few_images()), "lenet-300-100", Chain(Repeat(STEPS, Nothing())), probes=[])
            study.run(folder, jobs=1, threads=1)

        found()

        def read() -> list[bytes]:
            return [path.read_bytes() for path in small if path.exists()]

        small = [path for path in Path(folder).rglob("*") if path.is_file() and path.stat().st_size < 10_000]

        return faster(found, read, 3)


def phase_statistics() -> float:
    """The verdict on a curve of 22 levels and 8 seeds, against drawing as many tables of noise as its null may take."""
    generator = np.random.default_rng(0)
    tables = iter(CURVES["double descent"].curve + 0.01 * generator.standard_normal((ROUNDS + 1, 8, 22)))
    return faster(lambda: find_phases(arm(next(tables))), lambda: generator.standard_normal((5_000, 8, 22)))


RATIOS: dict[str, Callable[[], float]] = {
    "masked training / loop by hand": masked_training,
    "sparse linear layer / dense, density 0.05": sparse_linear,
    "sparse convolution / dense, density 0.05": sparse_conv,
    "compiled epoch / dense, density 0.05": compiled_epoch,
    "cached steps / reading their files": cached_steps,
    "phases of a curve / drawing its noise": phase_statistics,
}


def line(name: str, measured: float, expected: float | None) -> str:
    if expected is None:
        return f"{name:44} {measured:8.3f}  (nothing to compare with)"
    fell = "" if measured >= ENOUGH * expected else f"  FELL below {ENOUGH} of it"
    return f"{name:44} {measured:8.3f}  expected {expected:.3f}{fell}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="put what is measured into benchmarks/expected.json")
    options = parser.parse_args()
    torch.set_num_threads(1)
    expected = json.loads(EXPECTED.read_text()) if EXPECTED.exists() else {}
    measured = {}
    for name, ratio in RATIOS.items():
        measured[name] = ratio()
        print(line(name, measured[name], expected.get(name)), flush=True)
    fell = [name for name, value in measured.items() if value < ENOUGH * expected.get(name, 0.0)]
    print(f"{len(fell)} of {len(measured)} fell: {'; '.join(fell)}" if fell else "none fell")
    if options.write:
        EXPECTED.write_text(json.dumps({name: round(value, 3) for name, value in measured.items()}, indent=1) + "\n")


if __name__ == "__main__":
    main()
