"""Forward and both gradients of one layer, sparse against dense, through autograd: batch 128, float32, all cores.

What is compared, in one run and in turns (so that a slow moment of the machine hits all of them):

- dense: torch's own layer; masked: the same with its weight multiplied by a mask, as pruning libraries do;
- CSR: ``torch.sparse``, the layer's transposition included, linear only;
- sparseprop, sparselab: the packages, where they are installed (both are compiled C++ with AVX2);
- network: overparam within a converted network (batch-last in and out);
- layer: overparam's layer as a user has it, batch-first in and out, transpositions included.

Floor of a linear layer of 1,024 x 1,024 at density 0.01: 10,486 nonzeros x 3 products x 128 examples are 252 thousand
operations on 16 numbers, 50 us on a core of 2.5 GHz that does two a cycle; each reads 64 bytes from the second-level
cache, which delivers 25 to 40 bytes a cycle here: 150 to 250 us. About 100 us are autograd's own, dense or sparse.

Run: ``python benchmarks/sparse_layers.py`` prints the table; ``--write`` puts it into docs/sparse-benchmarks.md.
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings
from collections.abc import Callable
from importlib.util import find_spec

import torch
from torch import Tensor, nn

from overparam.sparse import SparseConv2d, SparseLinear
from overparam.sparse.layout import to_batch_last
from sparse_tables import markdown, replace_section

BATCH = 128
ROUNDS = 7
LINEAR = ((300, 784), (1024, 1024))
CONVOLUTIONS = ((64, 16), (128, 8))  # channels in and out, pixels a side
LINEAR_DENSITIES = (0.4, 0.3, 0.2, 0.1, 0.05, 0.02, 0.01)
CONV_DENSITIES = (0.15, 0.1, 0.05, 0.02)


def gradients(layer: Callable[[Tensor], Tensor], parameters: list[Tensor], inputs: Tensor) -> Callable[[], None]:
    """Return a call of forward and all gradients for a fixed gradient of the outputs."""
    errors = torch.randn_like(layer(inputs))

    def call() -> None:
        torch.autograd.grad(layer(inputs), [inputs, *parameters], errors)

    return call


def linear(rows: int, columns: int, density: float) -> dict[str, Callable[[], None]]:
    dense = nn.Linear(columns, rows)
    mask = torch.rand(rows, columns) < density
    inputs = torch.randn(BATCH, columns, requires_grad=True)
    pruned = nn.Linear(columns, rows)
    pruned.weight.data = dense.weight.detach() * mask
    own = SparseLinear.from_dense(dense, mask)
    tiles = to_batch_last(inputs.detach()).requires_grad_()
    factor = mask.float()
    csr = pruned.weight.detach().to_sparse_csr().requires_grad_()
    both = [dense.weight, dense.bias]
    calls = {
        "dense": gradients(dense, both, inputs),
        "masked": gradients(lambda x: nn.functional.linear(x, dense.weight * factor, dense.bias), both, inputs),
        "CSR": gradients(lambda x: (csr @ x.t()).t() + dense.bias, [csr, dense.bias], inputs),
        **packages_linear(pruned, density, inputs),
        "network": gradients(own.forward_last, [own.values, own.bias], tiles),
        "layer": gradients(own, [own.values, own.bias], inputs),
    }
    return calls


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
    tiles = to_batch_last(inputs.detach()).requires_grad_()
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
    calls["network"] = gradients(own.forward_last, [own.values, own.bias], tiles)
    calls["layer"] = gradients(own, [own.values, own.bias], inputs)
    return calls


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


COLUMNS = ("dense", "masked", "CSR", "sparseprop", "sparselab", "network", "layer")


def rows_of(title: str, density: float, times: dict[str, float]) -> list[str]:
    """Return a row of the table: milliseconds, then how many times faster than dense torch and sparseprop."""
    numbers = [f"{times[name]:.3f}" if name in times else "-" for name in COLUMNS]
    ratios = [f"{times['dense'] / times[name]:.1f}" for name in ("network", "layer")]
    prop = [f"{times['sparseprop'] / times[n]:.1f}" if "sparseprop" in times else "-" for n in ("network", "layer")]
    return [title, f"{density:g}", *numbers, *ratios, *prop]


HEAD = ["layer", "density", *(f"{name} ms" for name in COLUMNS), "dense/network", "dense/layer"]
HEAD += ["sparseprop/network", "sparseprop/layer"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="put the table into docs/sparse-benchmarks.md")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta state")
    torch.manual_seed(0)
    table = [HEAD]
    for rows, columns in LINEAR:
        for density in LINEAR_DENSITIES:
            table.append(rows_of(f"linear {rows} x {columns}", density, measured(linear(rows, columns, density))))
            print(*table[-1], flush=True)
    for channels, side in CONVOLUTIONS:
        for density in CONV_DENSITIES:
            times = measured(convolution(channels, side, density), 3)
            table.append(rows_of(f"conv 3x3 {channels}, {side} x {side}", density, times))
            print(*table[-1], flush=True)
    text = markdown(table)
    print(text)
    if arguments.write:
        replace_section("layers", text)


if __name__ == "__main__":
    main()
