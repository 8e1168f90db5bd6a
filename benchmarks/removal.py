"""What removal gives: milliseconds a batch and bytes of seven networks before and after half of their units went.

    python benchmarks/removal.py            # a table as Markdown; a minute on a quiet machine, one thread

The networks are those of tests/networks/user_networks.py, wider. Times are the least of several rounds, in turns.
"""

from __future__ import annotations

import copy
import sys
import time
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "networks"))
from user_networks import NETWORKS, SIDE

from overparam.networks.forward import run
from overparam.networks.removal import removal
from overparam.networks.surgery import operate
from overparam.prune import Round, Scores, Units, apply_masks, dense_masks

WIDTHS = {"vgg": 64, "resnet": 64, "densenet": 32, "depth-wise": 48, "mixer": 256, "transformer": 256, "functional": 64}
BATCH, ROUNDS, CALLS = 16, 7, 5


def main() -> None:
    torch.set_num_threads(1)
    print("| network | ms dense | ms masked | ms smaller | bytes dense | bytes smaller | units removed | difference |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for name, make in NETWORKS.items():
        torch.manual_seed(0)
        dense, inputs = make(WIDTHS[name]).eval(), torch.randn(BATCH, 3, SIDE, SIDE)
        masked = pruned(dense, inputs)
        found = removal(masked, inputs)
        smaller = operate(copy.deepcopy(masked), found.surgery)
        smaller.load_state_dict(found.state(masked.state_dict()))
        outputs = run(masked, inputs)
        apart = float((run(smaller, inputs) - outputs).abs().max() / max(1.0, float(outputs.abs().max())))
        times = [f"{1000 * seconds:.2f}" for seconds in milliseconds([dense, masked, smaller], inputs)]
        sizes = [f"{len(save(module.state_dict())):,}" for module in (dense, smaller)]
        print("|", " | ".join([name, *times, *sizes, f"{sum(found.removed.values()):,}", f"{apart:.1e}"]), "|")


def pruned(module: nn.Module, inputs: Tensor) -> nn.Module:
    """Return a copy without the half of its units that have the smallest L1 norms, as zeros."""
    masks = dense_masks(module)
    scores = Scores({name: module.get_parameter(name).detach().abs() for name in masks})
    asked = Round(dict.fromkeys(masks, "linear"), lambda: (module, inputs), fraction=0.5, scope="per-layer")
    copied = copy.deepcopy(module)
    apply_masks(copied, Units().masks(scores, masks, asked))
    return copied


@torch.no_grad()
def milliseconds(modules: list[nn.Module], inputs: Tensor) -> list[float]:
    """Return the least seconds of a call of each, over rounds in which all take their turn."""
    best = [float("inf")] * len(modules)
    for _ in range(ROUNDS):
        for place, module in enumerate(modules):
            began = time.perf_counter()
            for _ in range(CALLS):
                module(inputs)
            best[place] = min(best[place], (time.perf_counter() - began) / CALLS)
    return best


if __name__ == "__main__":
    main()
