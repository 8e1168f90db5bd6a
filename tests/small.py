"""Worlds, networks and checkpoints so small that a test takes milliseconds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from overparam import Checkpoint, Dataset, Network, World
from overparam.checkpoint import Given, state_of
from overparam.constraints import masked
from overparam.constraints.storage import to_parts
from overparam.networks import NETWORKS, prunable, tensor_roles
from overparam.steps import Context
from overparam.streams import torch_stream
from overparam.train.loop import Journal
from overparam.worlds import WorldData

TRAIN, TEST = 50, 21


def vectors(train: int = TRAIN, test: int = TEST, classes: int = 3, width: int = 4, seed: int = 0) -> Dataset:
    """Three clouds of points that a small network can tell apart, mostly."""
    centres = 2 * torch.randn(classes, width, generator=torch_stream(seed, "centres"))
    parts: list[Tensor] = []
    for name, size in (("train", train), ("test", test)):
        labels = torch.arange(size) % classes
        noise = torch.randn(size, width, generator=torch_stream(seed, "points", name))
        parts += [centres[labels] + noise, labels]
    return Dataset("vectors", *parts)


def images(train: int = TRAIN, test: int = TEST, classes: int = 3, side: int = 6, seed: int = 0) -> Dataset:
    """Grey pictures with a bright row for each class."""
    parts: list[Tensor] = []
    for name, size in (("train", train), ("test", test)):
        labels = torch.arange(size) % classes
        pictures = torch.randint(0, 120, (size, 1, side, side), generator=torch_stream(seed, "pictures", name))
        pictures[torch.arange(size), 0, labels] += 100
        parts += [pictures.to(torch.uint8), labels]
    return Dataset("images", *parts)


def conv_net(input_shape: tuple[int, ...], classes: int, dropout: float = 0.3) -> nn.Module:
    """A network with all that can go wrong in a resume: batch norm and dropout."""
    channels, height, width = input_shape
    return nn.Sequential(
        nn.Conv2d(channels, 4, 3, padding=1, bias=False),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Flatten(),
        nn.Dropout(dropout),
        nn.Linear(4 * height * width, 8),
        nn.ReLU(),
        nn.Linear(8, classes),
    )


TOKEN_NETWORKS = ("transformer", "gru")
IMAGE_NETWORKS = tuple(name for name in NETWORKS if name not in TOKEN_NETWORKS)

MLP = Network("mlp", {"hidden": [8]})
CONV = Network(conv_net)


def begin(network: Network, data: WorldData, seed: int = 0) -> Checkpoint:
    """The initialisation, as the lab makes it."""
    module = network.build(**data.form, seed=seed)
    roles = tensor_roles(module, data.test.inputs[:1])
    state = state_of(module)
    masks = {name: torch.ones(state[name].shape, dtype=torch.bool) for name in prunable(roles)}
    return Checkpoint(state, masked(masks), roles)


def context_of(
    network: Network,
    data: WorldData,
    seed: int = 0,
    references: Mapping[str, Checkpoint] | None = None,
    journal: Journal | None = None,
    engine: str = "dense",
) -> Context:
    """What the lab hands to a step."""
    shape, classes = data.input_shape, data.classes
    return Context(
        world=data,
        module=lambda: network.build(shape, classes, 123),  # other weights: they must be loaded over
        fresh=lambda draw, surgery=(): network.fresh(shape, classes, seed, draw, surgery=surgery),
        seed=seed,
        given=given(network, data, references or {}),
        journal=journal,
        engine=engine,
    )


def given(network: Network, data: WorldData, named: Mapping[str, Checkpoint]) -> dict[str, Given]:
    """The checkpoints that a step named, of ``network``, as the lab hands them over."""

    def one(checkpoint: Checkpoint) -> Given:
        return Given(checkpoint, lambda: checkpoint.load_into(network.build(data.input_shape, data.classes, 123)))

    return {name: one(checkpoint) for name, checkpoint in named.items()}


def half_pruned(start: Checkpoint, density: float = 0.5, seed: int = 0) -> Checkpoint:
    """The same with a random mask on each tensor that can be pruned."""
    masks = {
        name: torch.rand(mask.shape, generator=torch_stream(seed, "half", name)) < density
        for name, mask in start.masks.items()
    }
    return start.masked(masks)


def bits(tensor: Tensor) -> bytes:
    """The bytes of a tensor: tells -0.0 from 0.0, and equal NaNs are equal."""
    return tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def same_bits(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> bool:
    """Whether two states have the same names, in the same order, and the same bytes."""
    return list(first) == list(second) and all(bits(first[name]) == bits(second[name]) for name in first)


def frozen(checkpoint: Checkpoint) -> dict[str, Any]:
    """All of a checkpoint in a form that can be compared with a later look."""
    tensors, facts = to_parts(checkpoint.constraints)
    return {
        "state": {name: bits(tensor) for name, tensor in checkpoint.state.items()},
        "masks": {name: bits(mask) for name, mask in checkpoint.masks.items()},
        "constraints": ({key: bits(tensor) for key, tensor in tensors.items()}, facts),
        "roles": dict(checkpoint.roles),
        "position": str(checkpoint.position),
        "counters": dict(checkpoint.counters),
    }


def zeros_are_clean(checkpoint: Checkpoint) -> bool:
    """Whether every weight outside its mask is exactly +0.0, but for those that are held at other values."""
    return all(
        bits(checkpoint.state[name][~mask]) == bytes(checkpoint.state[name][~mask].nbytes)
        for name, mask in checkpoint.masks.items()
        if checkpoint.constraints[name].zero_outside
    )


def built(dataset: Dataset, **fields: Any) -> WorldData:
    """The data of a world of ``dataset``."""
    return World(dataset, **fields).build()
