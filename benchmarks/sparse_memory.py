"""Memory of training a sparse layer of 20,000 x 20,000 at density 0.0005 with Adam, batch 128. Bar: 500 MB in all.

The dense weight alone would take 1,600 MB, and 6,400 with its gradient and Adam's state. Prints the largest resident
size of the process (VmHWM, Linux only) so far: after imports, when torch's Adam and the kernels have worked once on a
tiny layer (what any sparse training takes), and in the end. The task is a classification into 20,000 classes, so
that the layer's own inputs and outputs, 10 MB each, are the only large tensors. The optimiser is torch's Adam as
overparam's trainings use it; ``torch.optim.Adam`` itself and ``zero_grad`` import torch's compiler, 70 MB more.

Run: ``python benchmarks/sparse_memory.py``, a second time so that kernels are compiled. With glibc's default settings
about 100 MB of the result are freed blocks that it keeps; ``MALLOC_MMAP_THRESHOLD_=1000000 python
benchmarks/sparse_memory.py`` lets it give them back.
"""

from __future__ import annotations

from pathlib import Path

import torch

from overparam.sparse.layers.kinds import SparseLinear
from overparam.sparse.layers.topology import rewire
from overparam.train import Adam

FEATURES, DENSITY, BATCH, STEPS = 20_000, 0.0005, 128, 5


def peak() -> int:
    """Return the process's largest resident size so far, in MB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("VmHWM"))) * 1024 // 1_000_000


def train(features: int, density: float) -> tuple[SparseLinear, torch.optim.Optimizer]:
    layer = SparseLinear(features, features, density=density)
    optimizer = Adam().over(list(layer.parameters()), lr=1e-3)
    inputs, labels = torch.randn(BATCH, features), torch.randint(features, (BATCH,))
    for _ in range(STEPS):
        layer.zero_grad()  # the optimiser's own imports torch's compiler
        torch.nn.functional.cross_entropy(layer(inputs), labels).backward()
        optimizer.step()
    return layer, optimizer


def main() -> None:
    torch.manual_seed(0)
    imported = peak()
    train(10, 0.5)
    ready = peak()
    layer, optimizer = train(FEATURES, DENSITY)
    new = torch.arange(1000) * FEATURES
    rewire(layer, torch.arange(1000), new[~torch.isin(new, layer.indices)], optimizer=optimizer)
    layer.state_dict()
    print(f"{layer.nonzeros:,} nonzeros, {STEPS} steps, some rewired: {peak()} MB")
    print(f"of which imports {imported} MB, Adam and kernels {ready - imported} MB, the layer {peak() - ready} MB")


if __name__ == "__main__":
    main()
