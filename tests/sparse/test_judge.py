"""What is proven of a module: whether its forward is known, and which of its layers may be sparse."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import Linear as Line
from torch.nn import functional as F

from overparam.networks.architecture import NETWORKS
from overparam.sparse.networks.judge import judge


class Two(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(4, 4), nn.Linear(4, 4)
        self.begin()

    def begin(self) -> None:
        self.one.weight.data.mul_(2)  # a forward does not run this

    def forward(self, x: Tensor) -> Tensor:
        return self.two(self.one(x).relu())


class Above(Two):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x)


class Aliased(Two):
    def forward(self, x: Tensor) -> Tensor:
        return sum((part(x) for part in self.modules() if isinstance(part, Line)), torch.zeros(4))


class Kinds(Two):
    def begin(self) -> None:
        self.kinds = [nn.Linear, nn.Conv2d]


class Asking(Two):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.to(next(self.parameters()).dtype))


class Optimising(Two):
    def begin(self) -> None:
        self.optimiser = torch.optim.SGD(self.one.parameters(), lr=0.1)


class Training(Two):
    def train(self, mode: bool = True) -> Any:
        self.one.weight.requires_grad_(mode)
        return super().train(mode)


class Child(Two):
    def forward(self, x: Tensor) -> Tensor:
        return self.two(x) + F.linear(x, self.parent[0].own.weight)


class Parent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.own, self.child, self.other = nn.Linear(4, 4), Child(), Two()
        self.child.parent = [self.own]

    def forward(self, x: Tensor) -> Tensor:
        return self.other(self.child(self.own(x)))


def compiled() -> nn.Module:
    module = Two()
    module._compiled_call_impl = module._call_impl  # as module.compile() sets it, but at once
    return module


BY_A_GLOBAL = Two()


class Global(Two):
    def forward(self, x: Tensor) -> Tensor:
        return x + BY_A_GLOBAL.one.weight


CASES: list[tuple[Callable[[], nn.Module], dict[str, str | None]]] = [
    (Two, {"one": None, "two": None}),
    (Above, {"one": None, "two": None}),
    (Aliased, dict.fromkeys(("one", "two"), "Aliased mentions 'Linear' in its code")),
    (Kinds, dict.fromkeys(("one", "two"), "Kinds mentions 'Conv2d' in its code")),
    (Asking, dict.fromkeys(("one", "two"), "Asking mentions 'parameters' in its code")),
    (Training, dict.fromkeys(("one", "two"), "Training mentions 'weight' in its code")),
    (Optimising, {"one": "its weight is held elsewhere, too", "two": None}),
    (compiled, dict.fromkeys(("one", "two"), "Two is compiled, or its forward is no Python code")),
    (Global, dict.fromkeys(("one", "two"), "Global mentions 'weight' in its code")),
    (
        Parent,
        {
            **dict.fromkeys(("own", "child.one", "child.two"), "child (Child) mentions 'weight' in its code"),
            **dict.fromkeys(("other.one", "other.two")),
        },
    ),
]


@pytest.mark.parametrize(("make", "layers"), CASES)
def test_layers_that_code_may_see_stay_dense(make: Callable[[], nn.Module], layers: dict[str, str | None]) -> None:
    found = judge(make())
    assert found.unknown is not None
    assert found.layers == layers


def test_code_of_ones_own_is_read_whatever_its_module_is_called(tmp_path: Any) -> None:
    file = tmp_path / "queue.py"
    file.write_text("def read(layer, x):\n    return x @ layer.weight\n")
    module = ModuleType("queue")
    exec(compile(file.read_text(), str(file), "exec"), vars(module))

    class Calling(Two):
        def begin(self) -> None:
            self.read = module.read

    assert set(judge(Calling()).layers.values()) == {"Calling mentions 'weight' in its code"}


def test_a_loss_counts_where_it_holds_the_network() -> None:
    module = Two()

    def harmless(outputs: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(outputs, labels, weight=torch.ones(4))

    def decaying(outputs: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(outputs, labels) + module.one.weight.norm()

    assert judge(module, harmless).layers == {"one": None, "two": None}
    assert set(judge(module, decaying).layers.values()) == {"decaying mentions 'weight' in its code"}


@pytest.mark.parametrize("name", ["mlp", "lenet-5", "conv-2", "vgg-11", "resnet-20", "resnet-50"])
def test_the_built_in_networks_are_known_until_they_are_changed(name: str) -> None:
    module = NETWORKS.get(name)((3, 32, 32), 10)
    assert judge(module).unknown is None
    assert set(judge(module).layers.values()) == {None}
    changes: list[Callable[[nn.Module], Any]] = [
        lambda part: part.register_forward_hook(lambda *_: None),
        lambda part: setattr(part, "forward", part.forward),
        lambda part: part.add_module("more", Two()),
        lambda part: part.register_module("more", nn.Sequential(Above())),
    ]
    for change in changes:
        for part in (module, next(reversed(list(module.modules())))):
            fresh = NETWORKS.get(name)((3, 32, 32), 10)
            change(fresh if part is module else next(reversed(list(fresh.modules()))))
            assert judge(fresh).unknown is not None


def test_a_class_whose_forward_was_replaced_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    def doubled(self: Any, x: Tensor) -> Tensor:
        return 2 * F.linear(x, self.weight, self.bias)

    module = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))
    assert judge(module).unknown is None
    monkeypatch.setattr(nn.Linear, "forward", doubled)
    assert judge(module).unknown == "0 (Linear) has a method that was replaced"
    assert set(judge(module).layers.values()) == {"it has a method that was replaced"}
