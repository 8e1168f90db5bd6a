"""Whole sweeps of magnitude pruning, sparse against dense: 28 levels of 20 %, one thread against one thread.

The dense side is the best masked loop of torch that we could write: batches gathered by ``index_select``, fused SGD,
one ``_foreach_mul_`` to mask all gradients, losses read once an epoch. Both sides start each level from the same
rewound weights under the same masks (those of the sparse side), and measure training and test set after it; levels
alternate between the two, so that a slow moment of the machine hits both. LeNet is pruned over all layers, Conv-4 each
layer by the same share, as in the Lottery Ticket Hypothesis (in few iterations weights stay near their initial sizes,
and one threshold for all would empty the wide linear layer and leave the convolutions whole).

Bars: LeNet-300-100 on MNIST 3 times as fast (aim: 4), Conv-4 on CIFAR-10 1.8 times. Prediction, from times of an epoch
of LeNet at 1 / 0.5 / 0.2 / 0.05 / 0.01 density of 0.8 / 0.8 / 0.45 / 0.16 / 0.1 s against 1.5 s: about 4.5 times.

Run: ``python benchmarks/sparse_sweeps.py lenet|conv-4 [--write] [--epochs N] [--size N] [--levels N]``; ``conv-4``
wants a folder of CIFAR-10 images, ``--data FOLDER``.
"""

from __future__ import annotations

import argparse
import time

import torch
from torch import Tensor, nn
from torch.nn import functional

from overparam import Network, World
from overparam.networks import prunable, tensor_roles
from overparam.train import TrainSettings, evaluate, fit
from overparam.worlds import ImageFolder, WorldData
from sparse_tables import markdown, replace_section


def masked_loop(module: nn.Module, data: WorldData, settings: TrainSettings, masks: dict[str, Tensor]) -> None:
    """Train ``module`` with its gradients masked, as fast as torch can."""
    weights = dict(module.named_parameters())
    chosen = [weights[name] for name in masks]
    factors = [mask.float() for mask in masks.values()]
    optimiser = torch.optim.SGD(module.parameters(), lr=settings.lr, fused=True)
    inputs, labels = data.train.inputs, data.train.targets
    module.train()
    for _ in range(int(settings.epochs or 1)):
        order = torch.randperm(len(labels))
        losses = []
        for start in range(0, len(labels), settings.batch_size):
            here = order[start : start + settings.batch_size]
            optimiser.zero_grad(set_to_none=True)
            loss = functional.cross_entropy(module(inputs.index_select(0, here)), labels.index_select(0, here))
            loss.backward()
            torch._foreach_mul_([weight.grad for weight in chosen], factors)
            optimiser.step()
            losses.append(loss.detach())
        torch.stack(losses).mean().item()


def accuracies(module: nn.Module, data: WorldData) -> tuple[float, float]:
    train, test = (evaluate(module, split.examples(), data.task) for split in (data.train, data.test))
    return train["accuracy"], test["accuracy"]


def sweep(name: str, data: WorldData, settings: TrainSettings, levels: int, engine: str) -> list[list[str]]:
    network = Network(name)
    ours, theirs = (network.build(data.input_shape, data.classes, 0) for _ in range(2))
    roles = tensor_roles(ours, data.test.inputs[:1])
    masks = {k: torch.ones(ours.get_parameter(k).shape, dtype=torch.bool) for k in prunable(roles)}
    initial = {key: value.clone() for key, value in ours.state_dict().items()}
    table = [["level", "density", "torch s", "overparam s", "ratio", "test torch", "test overparam", "sparse layers"]]
    spent = [0.0, 0.0]
    for level in range(levels):
        for module in (ours, theirs):
            module.load_state_dict(initial)
            for key, mask in masks.items():
                module.get_parameter(key).data.mul_(mask)
        seconds, scores = [0.0, 0.0], [(0.0, 0.0), (0.0, 0.0)]
        sparse = 0
        for side in (0, 1) if level % 2 else (1, 0):
            began = time.perf_counter()
            if side == 0:
                masked_loop(theirs, data, settings, masks)
                scores[0] = accuracies(theirs, data)
            else:
                fitted = fit(ours, data, settings, masks=masks, engine=engine)
                sparse = sum(kind == "sparse" for kind in fitted.engines.values())
                last = fitted.curve[-1]
                scores[1] = last["train_accuracy"], last["test_accuracy"]
            seconds[side] = time.perf_counter() - began
        density = sum(int(mask.sum()) for mask in masks.values()) / sum(mask.numel() for mask in masks.values())
        if level:  # the first level also compiles and measures
            spent = [spent[0] + seconds[0], spent[1] + seconds[1]]
        else:
            first = seconds
        table.append(
            [
                str(level),
                f"{density:.4f}",
                f"{seconds[0]:.2f}",
                f"{seconds[1]:.2f}",
                f"{seconds[0] / seconds[1]:.2f}",
                f"{scores[0][1]:.4f}",
                f"{scores[1][1]:.4f}",
                f"{sparse} of {len(masks)}",
            ]
        )
        print(*table[-1], flush=True)
        masks = pruned(ours, masks, each=name != "lenet-300-100")
    total = [first[0] + spent[0], first[1] + spent[1]]
    table.append(["all", "", f"{total[0]:.1f}", f"{total[1]:.1f}", f"{total[0] / total[1]:.2f}", "", "", ""])
    print(*table[-1], flush=True)
    return table


def pruned(module: nn.Module, masks: dict[str, Tensor], each: bool) -> dict[str, Tensor]:
    """Return masks with 20 % less of all layers but the output: the smallest weights of them all, or of each."""
    names = list(masks)[:-1]
    groups = [[name] for name in names] if each else [names]
    masks = dict(masks)
    for group in groups:
        sizes = torch.cat([module.get_parameter(k).detach()[masks[k]].abs() for k in group])
        threshold = sizes.kthvalue(max(1, round(0.2 * len(sizes)))).values
        masks |= {k: masks[k] & (module.get_parameter(k).detach().abs() > threshold) for k in group}
    return masks


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("which", choices=("lenet", "conv-4"))
    parser.add_argument("--write", action="store_true", help="put the table into docs/sparse-benchmarks.md")
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--size", type=int, default=None, help="training examples; all of MNIST, or 640 of CIFAR-10")
    parser.add_argument("--levels", type=int, default=28)
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--data", default="cifar10", help="folder with train/ and test/ folders of CIFAR-10 images")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.which == "lenet":
        name, data = "lenet-300-100", World("mnist", train_size=arguments.size).build()
    else:
        folder = ImageFolder(arguments.data, size=(32, 32))
        name, data = "conv-4", World(folder, train_size=arguments.size or 640, test_size=128).build()
    settings = TrainSettings(
        epochs=arguments.epochs,
        batch_size=128,
        lr=0.1 if arguments.which == "lenet" else 0.02,
        evaluate_every=f"{arguments.epochs}ep",
    )
    table = sweep(name, data, settings, arguments.levels, arguments.engine)
    if arguments.write:
        replace_section(arguments.which, markdown(table))


if __name__ == "__main__":
    main()
