"""What the modules of the conformance suite are composed of: trunks, and ways to train."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from overparam import Dataset, World
from overparam.sparse import SparseLayer, convert, replace_layers
from overparam.streams import global_stream, torch_stream
from overparam.train import TrainSettings, fit

INPUTS, WIDTH, CLASSES = 36, 12, 4
BATCH, STEPS = 8, 3


class Net(nn.Module):
    """Encodes (batch, 36), works on (batch, 12) in between, and ends in 4 scores; behaviours override parts of this."""

    def __init__(self) -> None:
        super().__init__()
        self.build()
        self.hidden = nn.Linear(WIDTH, WIDTH)
        self.out = nn.Linear(WIDTH, CLASSES)
        self.begin()

    def build(self) -> None:
        """Make the layers of the trunk."""

    def begin(self) -> None:
        """Make what a behaviour needs."""

    def encode(self, x: Tensor) -> Tensor:
        raise NotImplementedError

    def middle(self, h: Tensor) -> Tensor:
        return torch.relu(self.hidden(h))

    def forward(self, x: Tensor) -> Any:
        return self.out(self.middle(self.encode(x)))


class Flat(Net):
    """A perceptron's."""

    def build(self) -> None:
        self.first = nn.Linear(INPUTS, WIDTH)

    def encode(self, x: Tensor) -> Tensor:
        return torch.relu(self.first(x))


class Image(Net):
    """Convolutions over two axes, with batch norm."""

    def build(self) -> None:
        self.conv, self.norm = nn.Conv2d(1, 3, 3, padding=1), nn.BatchNorm2d(3)
        self.narrow = nn.Conv2d(3, 3, 3, stride=2, groups=3)

    def encode(self, x: Tensor) -> Tensor:
        image = torch.relu(self.norm(self.conv(x.view(-1, 1, 6, 6))))
        return self.narrow(image).flatten(1)  # 3 x 2 x 2


class Words(Net):
    """Linear layers on (batch, length, features), a convolution over one axis and layer norm."""

    def build(self) -> None:
        self.query, self.key, self.value = (nn.Linear(6, 6) for _ in range(3))
        self.along, self.norm = nn.Conv1d(6, 2, 3, padding=1), nn.LayerNorm(6)

    def encode(self, x: Tensor) -> Tensor:
        words = x.view(-1, 6, 6)
        scores = (self.query(words) @ self.key(words).transpose(1, 2)).softmax(-1)
        return self.along(self.norm(words + scores @ self.value(words)).transpose(1, 2)).flatten(1)


TRUNKS: tuple[type[Net], ...] = (Flat, Image, Words)

Behaviour = Callable[[type[Net]], type[Net]]


def cross_entropy(outputs: Any, labels: Tensor) -> Tensor:
    return F.cross_entropy(outputs, labels)


@dataclass(frozen=True)
class Case:
    """A user's module, and how it is trained.

    Attributes:
        name: of the test.
        make: constructs it.
        loss: of its outputs and the labels.
        traces: names of attributes, other than the state_dict's, in which a call leaves a trace.
        refused: what ``convert`` and ``replace_layers`` say of it, if they cannot copy it.
        whole: whether ``convert`` is to compute it as a whole.
    """

    name: str
    make: Callable[[], nn.Module]
    loss: Callable[[Any, Tensor], Tensor] = cross_entropy
    traces: tuple[str, ...] = ()
    refused: str | None = None
    whole: bool = False


@contextmanager
def same_chance() -> Iterator[None]:
    """Seed all generators that a forward may use."""
    before = random.getstate(), np.random.get_state()  # noqa: NPY002 (users do)
    random.seed(5)
    np.random.seed(5)  # noqa: NPY002
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(5)
            yield
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])  # noqa: NPY002


def data() -> Any:
    generator = torch_stream(0, "conformance")
    count = BATCH * STEPS
    inputs = torch.randn(count, INPUTS, generator=generator)
    return World(Dataset("numbers", inputs, torch.arange(count) % CLASSES, inputs[:4], torch.arange(4))).build()


def made(case: Case) -> tuple[nn.Module, dict[str, Tensor]]:
    """The module and masks of half of all its matrices, whatever they are for, under which it lies already."""
    with same_chance():
        module = case.make()
        masks: dict[str, Tensor] = {}
        places: dict[int, Tensor] = {}  # parameters in one memory have one mask
        with torch.no_grad():
            for name, each in module.named_parameters():
                if each.dim() > 1:
                    masks[name] = places.setdefault(each.data_ptr(), torch.rand(each.shape) < 0.5)
                    each.copy_(torch.where(masks[name], each, 0))
    return module, masks


def steps(module: nn.Module, masks: Mapping[str, Tensor], loss: Callable[[Any, Tensor], Tensor]) -> list[float]:
    """The plain loop of torch, with masks: the reference. Return the losses."""
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    optimiser = torch.optim.SGD(trained, lr=0.1, momentum=0.9, weight_decay=1e-3, fused=True)
    for parameter in trained:  # which torch would do at the first gradient, but not for some of them later
        optimiser.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    factors = {id(module.get_parameter(name)): mask for name, mask in masks.items()}
    losses = []
    module.train()
    with global_stream(3, "dropout", 0):
        for batch in data().batches(BATCH, torch_stream(3, "order", 0)):
            optimiser.zero_grad()
            found = loss(module(batch.inputs), batch.targets)
            found.backward()
            for parameter in trained:
                if parameter.grad is not None and id(parameter) in factors:
                    parameter.grad *= factors[id(parameter)]
            optimiser.step()
            losses.append(float(found))
    return losses


@dataclass
class Result:
    """What a training leaves."""

    state: dict[str, Tensor]
    losses: list[float]
    traces: list[Any]
    layers: int = 0
    bitwise: bool = False
    whole: bool = False


def masked(state: Mapping[str, Any], masks: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copies, +0.0 outside the masks."""
    return {
        name: torch.where(masks[name], value, 0) if name in masks else value.detach().clone()
        for name, value in state.items()
    }


def traces(case: Case, module: Any) -> list[Any]:
    return [copy.deepcopy(getattr(module, name)) for name in case.traces]


def reference(case: Case) -> Result:
    module, masks = made(case)
    with same_chance():
        losses = steps(module, masks, case.loss)
    return Result(masked(module.state_dict(), masks), losses, traces(case, module))


def fitted(case: Case, engine: str) -> Result:
    module, masks = made(case)
    sgd = {"sgd": {"momentum": 0.9, "weight_decay": 1e-3}}
    settings = TrainSettings(length=f"{STEPS}it", batch_size=BATCH, lr=0.1, optimizer=sgd, loss=case.loss)
    with same_chance():
        found = fit(module, data(), settings, masks=masks, seed=3, engine=engine)
    used = list(found.engines.values())
    loss = found.curve[-1]["loss"]
    state = masked(module.state_dict(), masks)
    return Result(state, [loss], traces(case, module), used.count("sparse"), "sparse" not in used)


def converted(case: Case) -> Result:
    module, masks = made(case)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    left = [vars(module).get(name) for name in case.traces]
    before_text = str(left)
    with same_chance():
        network = convert(module, masks)
        losses = steps(network, {}, case.loss)
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert str([vars(module).get(name) for name in case.traces]) == before_text, "the module itself was run"
    count = sum(isinstance(part, SparseLayer) for part in network.modules())
    return Result(network.dense_state(), losses, traces(case, network.model), count, whole=network.whole)


def replaced(case: Case) -> Result:
    module, masks = made(case)
    with same_chance():
        found = replace_layers(module)
        names = dict(found.named_parameters())
        losses = steps(found, {name: mask for name, mask in masks.items() if name in names}, case.loss)
    left = traces(case, found)
    dense = {id(part): part.to_dense() for part in found.modules() if isinstance(part, SparseLayer)}
    count = len(dense)
    return Result(masked(copy.deepcopy(found, dense).state_dict(), masks), losses, left, count)


WAYS: dict[str, Callable[[Case], Result]] = {
    "dense": lambda case: fitted(case, "dense"),
    "auto": lambda case: fitted(case, "auto"),
    "sparse": lambda case: fitted(case, "sparse"),
    "convert": converted,
    "replace": replaced,
}
COPYING = ("convert", "replace")
