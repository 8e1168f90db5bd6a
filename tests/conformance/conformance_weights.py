"""Behaviours: weights that are read, changed, shared or made otherwise, and references to layers."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from conformance_parts import WIDTH, Net
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations
from torch.nn.utils import prune as torch_prune


def with_middle(middle: Callable[[Any, Tensor], Tensor]) -> Callable[[type[Net]], type[Net]]:
    """A behaviour that is nothing but another function in the middle."""

    def behave(base: type[Net]) -> type[Net]:
        return type(middle.__name__.title().replace("_", ""), (base,), {"middle": middle})

    return behave


def with_change(change: Callable[[Any], Any]) -> Callable[[type[Net]], type[Net]]:
    """A behaviour that is a change to the module when it is made."""

    def behave(base: type[Net]) -> type[Net]:
        return type("Changed", (base,), {"begin": change})

    return behave


# weights read


def functional(self: Any, h: Tensor) -> Tensor:
    return F.linear(h, self.hidden.weight, self.hidden.bias)


def called_and_read(self: Any, h: Tensor) -> Tensor:
    return F.linear(torch.relu(self.hidden(h)), self.hidden.weight.t())


def weight_noise(self: Any, h: Tensor) -> Tensor:
    return F.linear(h, self.hidden.weight + 0.1 * torch.randn(WIDTH, WIDTH))


def read_by_name(self: Any, h: Tensor) -> Tensor:
    return h @ getattr(self.hidden, "weight")  # noqa: B009


def outer(layer: Any, h: Tensor) -> Tensor:
    return F.linear(h, layer.weight)


def read_by_a_helper(self: Any, h: Tensor) -> Tensor:
    return outer(self.hidden, h)


def penalty_over_parameters(self: Any, h: Tensor) -> Tensor:
    return self.hidden(h) + 1e-2 * sum(p.square().sum() for p in self.parameters())


def penalty_over_matrices(self: Any, h: Tensor) -> Tensor:
    return self.hidden(h) * (1 + 1e-2 * sum(p.abs().sum() for _, p in self.named_parameters() if p.dim() > 1))


def penalty_over_modules(self: Any, h: Tensor) -> Tensor:
    layers = [part for part in self.modules() if isinstance(part, nn.Linear)]
    return self.hidden(h) + 1e-2 * sum(part.weight.norm() for part in layers)


def from_the_state(self: Any, h: Tensor) -> Tensor:
    return self.hidden(h) + self.state_dict()["hidden.weight"].sum()


def called_functionally(self: Any, h: Tensor) -> Tensor:
    return torch.func.functional_call(self.hidden, dict(self.hidden.named_parameters()), (h,))


def by_dtype(self: Any, h: Tensor) -> Tensor:
    return self.hidden(h.double().to(next(self.parameters()).dtype))


# weights changed


def clamped(self: Any, h: Tensor) -> Tensor:
    self.hidden.weight.data.clamp_(-0.1, 0.1)
    return self.hidden(h)


def normed(self: Any, h: Tensor) -> Tensor:
    with torch.no_grad():
        self.hidden.weight.div_(self.hidden.weight.norm(dim=1, keepdim=True).clamp(min=1e-3))
    return self.hidden(h)


def decayed(self: Any, h: Tensor) -> Tensor:
    with torch.no_grad():
        for parameter in self.hidden.parameters():
            parameter.mul_(0.9)
    return self.hidden(h)


def bias_changed(self: Any, h: Tensor) -> Tensor:
    with torch.no_grad():
        self.hidden.bias.add_(0.01)
    return self.hidden(h) + self.hidden.bias


def momentum_teacher(base: type[Net]) -> type[Net]:
    class Student(base):  # type: ignore[misc,valid-type]
        def begin(self) -> None:
            self.teacher = copy.deepcopy(self.hidden).requires_grad_(False)

        def middle(self, h: Tensor) -> Tensor:
            with torch.no_grad():
                for old, new in zip(self.teacher.parameters(), self.hidden.parameters(), strict=True):
                    old.lerp_(new, 0.5)
            return self.hidden(h) - self.teacher(h)

    return Student


# weights held elsewhere


def kept_in_a_list(base: type[Net]) -> type[Net]:
    class Listing(base):  # type: ignore[misc,valid-type]
        def begin(self) -> None:
            self.matrices = [self.hidden.weight]

        def middle(self, h: Tensor) -> Tensor:
            return torch.relu(h @ self.matrices[0] + self.hidden(h))

    return Listing


def kept_as_a_view(base: type[Net]) -> type[Net]:
    class Viewing(base):  # type: ignore[misc,valid-type]
        def begin(self) -> None:
            self.register_buffer("turned", self.hidden.weight.detach().t())

        def middle(self, h: Tensor) -> Tensor:
            return self.hidden(h) + h @ self.turned

    return Viewing


def kept_by_numpy(base: type[Net]) -> type[Net]:
    class Array(base):  # type: ignore[misc,valid-type]
        def begin(self) -> None:
            self.array = self.hidden.weight.detach().numpy()

        def middle(self, h: Tensor) -> Tensor:
            return self.hidden(h) * float(self.array.std())

    return Array


# weights made otherwise


def weight_norm(self: Any) -> None:
    parametrizations.weight_norm(self.hidden)


def spectral_norm(self: Any) -> None:
    parametrizations.spectral_norm(self.hidden)


def orthogonal(self: Any) -> None:
    parametrizations.orthogonal(self.hidden)


class Symmetric(nn.Module):
    def forward(self, weight: Tensor) -> Tensor:
        return weight.triu() + weight.triu(1).t()


def own_parametrisation(self: Any) -> None:
    nn.utils.parametrize.register_parametrization(self.hidden, "weight", Symmetric())


def torchs_pruning(self: Any) -> None:
    torch_prune.l1_unstructured(self.hidden, "weight", 0.3)  # type: ignore[no-untyped-call]


def old_spectral_norm(self: Any) -> None:
    nn.utils.spectral_norm(self.hidden)


def frozen(self: Any) -> None:
    self.hidden.weight.requires_grad_(False)


def frozen_layer(self: Any) -> None:
    self.hidden.requires_grad_(False)


class Doubled(nn.Linear):
    def forward(self, h: Tensor) -> Tensor:
        return 2 * super().forward(h)


def subclassed(self: Any) -> None:
    self.hidden = Doubled(WIDTH, WIDTH)


class Standardised(nn.Conv1d):
    def forward(self, h: Tensor) -> Tensor:
        return self._conv_forward(h, self.weight - self.weight.mean(), self.bias)


def subclassed_convolution(base: type[Net]) -> type[Net]:
    class Standard(base):  # type: ignore[misc,valid-type]
        def begin(self) -> None:
            self.line = Standardised(3, 3, 3, padding=1)

        def middle(self, h: Tensor) -> Tensor:
            return self.hidden(self.line(h.view(-1, 3, 4)).flatten(1))

    return Standard


def other_forward(self: Any) -> None:
    layer = self.hidden
    self.hidden.forward = partial(F.linear, weight=layer.weight)


def attribute_added(base: type[Net]) -> type[Net]:
    class Scaling(base):  # type: ignore[misc,valid-type]
        def begin(self) -> None:
            self.hidden.gain = 0.5

        def middle(self, h: Tensor) -> Tensor:
            return self.hidden(h) * self.hidden.gain

    return Scaling


def buffer_added(base: type[Net]) -> type[Net]:
    class Masking(base):  # type: ignore[misc,valid-type]
        def begin(self) -> None:
            self.hidden.register_buffer("gate", torch.ones(WIDTH))

        def middle(self, h: Tensor) -> Tensor:
            self.hidden.gate[0] += 1
            return self.hidden(h) * self.hidden.gate

    return Masking


def attribute_in_passing(base: type[Net]) -> type[Net]:
    class Labelling(base):  # type: ignore[misc,valid-type]
        def middle(self, h: Tensor) -> Tensor:
            self.hidden.uses = getattr(self.hidden, "uses", 0) + 1
            return self.hidden(h) / self.hidden.uses

    return Labelling


WEIGHTS = {
    **{
        each.__name__.replace("_", " "): with_middle(each)
        for each in (
            *(functional, called_and_read, weight_noise, read_by_name, read_by_a_helper, penalty_over_parameters),
            *(penalty_over_matrices, penalty_over_modules, from_the_state, called_functionally, by_dtype, clamped),
            *(normed, decayed, bias_changed),
        )
    },
    **{
        each.__name__.replace("_", " "): each
        for each in (
            *(momentum_teacher, kept_in_a_list, kept_as_a_view, kept_by_numpy, subclassed_convolution),
            *(attribute_added, buffer_added, attribute_in_passing),
        )
    },
    **{
        each.__name__.replace("_", " "): with_change(each)
        for each in (
            *(weight_norm, spectral_norm, orthogonal, own_parametrisation, torchs_pruning, old_spectral_norm),
            *(frozen, frozen_layer, subclassed, other_forward),
        )
    },
}
