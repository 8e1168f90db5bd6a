"""Does the default engine give the same bits every time? Fresh processes with an empty cache each, all cores busy.

Each trains LeNet-300-100 and a narrow Conv-2 on a few pictures, at several densities, and prints which layers were
sparse and a digest of every weight; these must be the same in all. Compiling the kernels takes most of the time.

Run: ``python benchmarks/sparse_same_bits.py [--processes 10]``.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import subprocess
import sys
import tempfile

import torch

from overparam import Network
from overparam.prune import apply_masks, prune
from overparam.train import TrainSettings, fit
from overparam.worlds import Dataset, World

DENSITIES = (0.5, 0.38, 0.3, 0.2, 0.05)


def trained() -> None:
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    inputs, labels = torch.randn(256, 1, 12, 12, generator=generator), torch.arange(256) % 10
    data = World(Dataset("noise", inputs, labels, inputs[:64], labels[:64])).build()
    for network in (Network("lenet-300-100"), Network("conv-2", {"width": 0.25})):
        for density in DENSITIES:
            module = network.build(data.input_shape, data.classes, 0)
            masks = prune(module, "magnitude", density=density, scope="erk")
            apply_masks(module, masks)
            found = fit(module, data, TrainSettings(epochs=1, batch_size=64, lr=0.05), masks=masks, engine="auto")
            digest = hashlib.sha256(b"".join(tensor.numpy().tobytes() for tensor in found.state.values())).hexdigest()
            print(network.name, density, *found.engines.values(), digest)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", type=int, default=10)
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        trained()
        return
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(os.cpu_count() or 1)]
    said: dict[str, int] = {}
    try:
        for number in range(arguments.processes):
            with tempfile.TemporaryDirectory() as cache:
                env = {**os.environ, "OVERPARAM_CACHE": cache}
                done = subprocess.run([sys.executable, __file__, "--one"], env=env, stdout=subprocess.PIPE, text=True)
            done.check_returncode()
            said[done.stdout] = said.get(done.stdout, 0) + 1
            print(f"process {number + 1}: {len(said)} different outcomes so far", flush=True)
    finally:
        for process in busy:
            process.kill()
    print(*said, sep="\n")
    sys.exit(len(said) != 1)


if __name__ == "__main__":
    main()
