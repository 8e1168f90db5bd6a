"""Forward and all gradients of a layer, sparse against dense, through autograd: batch 128, float32, all cores.

What is compared, in one run and in turns (so that a slow moment of the machine hits all of them). A layer alone, with
batch-first inputs and outputs:

- dense: torch's own layer; masked: the same with its weight multiplied by a mask, as pruning libraries do;
- CSR: ``torch.sparse``, the layer's transposition included, linear only;
- sparseprop, sparselab: the packages, where they are installed (both are compiled C++ with AVX2);
- overparam, transpositions included.

And a layer within a network: a fourth of the time that a network of four such layers takes (a linear layer and its
reverse in turns, so that they fit), for dense, sparseprop and overparam's converted network.

Floor of a linear layer of 1,024 x 1,024 at density 0.01: 10,486 nonzeros x 3 products x 128 examples are 252 thousand
operations on 16 numbers, 50 us on a core of 2.5 GHz that does two a cycle; each reads 64 bytes from the second-level
cache, which delivers 25 to 40 bytes a cycle here: 150 to 250 us. Autograd's own work comes on top, dense or sparse.

Run: ``python benchmarks/sparse_layers.py`` prints the tables; ``--write`` puts them into docs/sparse-benchmarks.md.
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from itertools import pairwise

import torch
from torch import Tensor, nn

from overparam.sparse import SparseConv2d, SparseLinear, convert
from sparse_tables import markdown, replace_section

BATCH = 128
ROUNDS = 7
DEPTH = 4  # layers of a network
LINEAR = ((300, 784), (1024, 1024))
CONVOLUTIONS = ((64, 16), (128, 8))  # channels in and out, pixels a side
LINEAR_DENSITIES = (0.4, 0.35, 0.3, 0.2, 0.1, 0.05, 0.02, 0.01)
CONV_DENSITIES = (0.3, 0.25, 0.2, 0.15, 0.1, 0.05, 0.02)
Calls = dict[str, Callable[[], None]]


def gradients(layer: Callable[[Tensor], Tensor], parameters: list[Tensor], inputs: Tensor) -> Callable[[], None]:
    """Return a call of forward and all gradients for a fixed gradient of the outputs."""
    errors = torch.randn_like(layer(inputs))

    def call() -> None:
        torch.autograd.grad(layer(inputs), [inputs, *parameters], errors)

    return call


def linear(rows: int, columns: int, density: float) -> Calls:
    dense = nn.Linear(columns, rows)
    mask = torch.rand(rows, columns) < density
    inputs = torch.randn(BATCH, columns, requires_grad=True)
    pruned = nn.Linear(columns, rows)
    pruned.weight.data = dense.weight.detach() * mask
    own = SparseLinear.from_dense(dense, mask)
    factor = mask.float()
    csr = pruned.weight.detach().to_sparse_csr().requires_grad_()
    both = [dense.weight, dense.bias]
    return {
        "dense": gradients(dense, both, inputs),
        "masked": gradients(lambda x: nn.functional.linear(x, dense.weight * factor, dense.bias), both, inputs),
        "CSR": gradients(lambda x: (csr @ x.t()).t() + dense.bias, [csr, dense.bias], inputs),
        **packages_linear(pruned, density, inputs),
        "overparam": gradients(own, [own.values, own.bias], inputs),
    }


def packages_linear(pruned: nn.Linear, density: float, inputs: Tensor) -> dict[str, Callable[[], None]]:
    found = {}
    if find_spec("sparseprop"):
        from sparseprop.modules.linear import SparseLinear as Theirs

        theirs = Theirs.from_dense(pruned)
        found["sparseprop"] = gradients(theirs, [theirs.W_val, theirs.bias], inputs)
    if find_spec("sparselab"):
        from sparselab import SparseLinear as Others

        others = Others(pruned.in_features, pruned.out_features, sparsity=1 - density)
        found["sparselab"] = gradients(others, list(others.parameters()), inputs)
    return found


def convolution(channels: int, side: int, density: float) -> dict[str, Callable[[], None]]:
    dense = nn.Conv2d(channels, channels, 3, padding=1)
    mask = torch.rand(dense.weight.shape) < density
    inputs = torch.randn(BATCH, channels, side, side, requires_grad=True)
    own = SparseConv2d.from_dense(dense, mask)
    factor = mask.float()
    both = [dense.weight, dense.bias]

    def masked(batch: Tensor) -> Tensor:
        return nn.functional.conv2d(batch, dense.weight * factor, dense.bias, padding=1)

    calls = {"dense": gradients(dense, both, inputs), "masked": gradients(masked, both, inputs)}
    if find_spec("sparseprop"):
        from sparseprop.modules.conv2d import SparseConv2d as Theirs

        pruned = nn.Conv2d(channels, channels, 3, padding=1)
        pruned.weight.data = dense.weight.detach() * mask
        for over in (False, True):  # its two ways of using vector instructions; the faster one is compared with
            theirs = Theirs.from_dense(pruned, vectorizing_over_on=over)
            calls[f"sparseprop {int(over)}"] = gradients(theirs, [theirs.W_val, theirs.bias], inputs)
    calls["overparam"] = gradients(own, [own.values, own.bias], inputs)
    return calls


def networks(layers: list[nn.Module], inputs: Tensor, density: float, package: str) -> Calls:
    """Return calls of networks of such layers: dense, converted, and those of a package's layers."""
    masks = [torch.rand(layer.weight.shape) < density for layer in layers]
    for layer, mask in zip(layers, masks, strict=True):
        layer.weight.data *= mask
    dense = nn.Sequential(*layers)
    own = convert(dense, {f"{place}.weight": mask for place, mask in enumerate(masks)})
    calls = {
        "dense": gradients(dense, list(dense.parameters()), inputs),
        "overparam": gradients(own, list(own.parameters()), inputs),
    }
    if find_spec("sparseprop"):
        module = import_module(f"sparseprop.modules.{package}")
        theirs = nn.Sequential(*(getattr(module, PROP[package]).from_dense(layer) for layer in layers))
        numbers = [each for layer in theirs for each in (layer.W_val, layer.bias)]
        calls["sparseprop"] = gradients(theirs, numbers, inputs)
    return calls


PROP = {"linear": "SparseLinear", "conv2d": "SparseConv2d"}


def network_of(shape: tuple[int, int], kind: str, density: float) -> Calls:
    if kind == "linear":
        rows, columns = shape
        sizes = [columns if place % 2 == 0 else rows for place in range(DEPTH + 1)]
        layers: list[nn.Module] = [nn.Linear(*pair) for pair in pairwise(sizes)]
        return networks(layers, torch.randn(BATCH, columns, requires_grad=True), density, "linear")
    channels, side = shape
    layers = [nn.Conv2d(channels, channels, 3, padding=1) for _ in range(DEPTH)]
    return networks(layers, torch.randn(BATCH, channels, side, side, requires_grad=True), density, "conv2d")


def measured(calls: dict[str, Callable[[], None]], rounds: int = ROUNDS) -> dict[str, float]:
    """Return the milliseconds of each call: the median over rounds, in turns, of the best of a few."""
    for call in calls.values():
        call()
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            best, spent = 1e9, 0.0
            while spent < 0.02:
                began = time.perf_counter()
                call()
                seconds = time.perf_counter() - began
                best, spent = min(best, seconds), spent + seconds
            times[name].append(best)
    found = {name: statistics.median(each) * 1e3 for name, each in times.items()}
    prop = [found.pop(name) for name in list(found) if name.startswith("sparseprop ")]
    return found | ({"sparseprop": min(prop)} if prop else {})


ALONE = ("dense", "masked", "CSR", "sparseprop", "sparselab", "overparam")
WITHIN = ("dense", "sparseprop", "overparam")
HEAD = ["layer", "density", *(f"{name} ms" for name in ALONE), "dense/overparam", "sparseprop/overparam"]
WITHIN_HEAD = ["layer", "density", *(f"{name} ms" for name in WITHIN), "dense/overparam", "sparseprop/overparam"]


def row(title: str, density: float, times: dict[str, float], columns: tuple[str, ...], layers: int = 1) -> list[str]:
    """Return a row of a table: milliseconds a layer, then how many times faster overparam is."""
    numbers = [f"{times[name] / layers:.3f}" if name in times else "-" for name in columns]
    ratios = [f"{times[name] / times['overparam']:.1f}" if name in times else "-" for name in ("dense", "sparseprop")]
    return [title, f"{density:g}", *numbers, *ratios]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="put the tables into docs/sparse-benchmarks.md")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta state")
    torch.manual_seed(0)
    alone, within = [HEAD], [WITHIN_HEAD]
    for kind, shapes, densities in (("linear", LINEAR, LINEAR_DENSITIES), ("conv", CONVOLUTIONS, CONV_DENSITIES)):
        for shape in shapes:
            one, two = shape
            title = f"linear {one} x {two}" if kind == "linear" else f"conv 3x3 {one}, {two} x {two}"
            rounds = ROUNDS if kind == "linear" else 3
            for density in densities:
                single = linear(one, two, density) if kind == "linear" else convolution(one, two, density)
                alone.append(row(title, density, measured(single, rounds), ALONE))
                print(*alone[-1], flush=True)
                within.append(row(title, density, measured(network_of(shape, kind, density), rounds), WITHIN, DEPTH))
                print("  within:", *within[-1][2:], flush=True)
    for table in (within, alone):
        print(markdown(table))
    if arguments.write:
        replace_section("within", markdown(within))
        replace_section("layers", markdown(alone))


if __name__ == "__main__":
    main()
