"""Behaviours: references to layers and weights, in closures, lists, objects and other layers."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from conformance_parts import WIDTH, Net
from torch import Tensor, nn
from torch.nn import functional as F


def acting(base: type[Net]) -> type[Net]:
    """Calls what ``begin`` made in place of the layer."""

    class Acting(base):  # type: ignore[misc,valid-type]
        def middle(self, h: Tensor) -> Tensor:
            return torch.relu(self.act(h)) + 0.1 * self.hidden(h)

    return Acting


def with_act(begin: Callable[[Any], None]) -> Callable[[type[Net]], type[Net]]:
    def behave(base: type[Net]) -> type[Net]:
        return type(begin.__name__.title().replace("_", ""), (acting(base),), {"begin": begin})

    return behave


class Reader:
    """Not a module."""

    def __init__(self, layer: nn.Module) -> None:
        self.layer = layer

    def __call__(self, h: Tensor) -> Tensor:
        return F.linear(h, self.layer.weight)  # type: ignore[arg-type]


def read_by_an_object(self: Any) -> None:
    self.act = Reader(self.hidden)


def tied(self: Any) -> None:
    self.again = nn.Linear(WIDTH, WIDTH)
    self.again.weight = self.hidden.weight
    self.act = self.again


def tied_memory(self: Any) -> None:
    self.again = nn.Linear(WIDTH, WIDTH)
    self.again.weight = nn.Parameter(self.hidden.weight.data)
    self.again.requires_grad_(False)
    self.act = self.again


def closure_over_self(self: Any) -> None:
    self.act = lambda h: self.hidden(h)


def closure_over_a_layer(self: Any) -> None:
    layer = self.hidden
    self.act = lambda h: layer(h)


def closure_over_a_weight(self: Any) -> None:
    weight = self.hidden.weight
    self.act = lambda h: h @ weight


def default_argument(self: Any) -> None:
    self.act = lambda h, layer=self.hidden: layer(h)


def held_partially(self: Any) -> None:
    self.act = partial(self.hidden)


def bound_method(self: Any) -> None:
    self.act = self.hidden.forward


def plain_list(self: Any) -> None:
    self.all = [self.hidden, {"out": self.out}]
    self.act = self.all[0]


class Caller:
    def __init__(self, layer: nn.Module) -> None:
        self.layer = layer

    def __call__(self, h: Tensor) -> Tensor:
        return self.layer(h)  # type: ignore[no-any-return]


def held_by_an_object(self: Any) -> None:
    self.act = Caller(self.hidden)


def unregistered(self: Any) -> None:
    self.outside = [nn.Linear(WIDTH, WIDTH)]
    self.act = self.outside[0]


def under_two_names(self: Any) -> None:
    self.act = self.hidden


REFERENCES = {
    each.__name__.replace("_", " "): with_act(each)
    for each in (
        *(tied, tied_memory, read_by_an_object, closure_over_self, closure_over_a_layer, closure_over_a_weight),
        *(default_argument, held_partially, bound_method, plain_list, held_by_an_object, unregistered),
        *(under_two_names,),
    )
}
REFERS = "a function that .* holds, refers to parts of the model, and a copy would go on using the original's"
SHARES = "shares its memory with another tensor that the model holds, which a copy would not"
REFUSED = {  # by convert and replace_layers, which copy; a training does not, and takes these as they are
    **dict.fromkeys(("closure over self", "closure over a layer", "closure over a weight", "default argument"), REFERS),
    **dict.fromkeys(("kept as a view", "kept by numpy", "tied memory", "old spectral norm"), SHARES),
    "torchs pruning": "cannot be copied .*torch.nn.utils.prune",
}
