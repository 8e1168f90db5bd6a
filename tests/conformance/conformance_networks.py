"""Modules that the whole networks of the conformance suite are made of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from conformance_parts import CLASSES, INPUTS, WIDTH
from torch import Tensor, nn
from torch.nn import functional as F


class Recurrent(nn.Module):
    """A recurrent layer of torch, or one that looks like it, and its last output."""

    def __init__(self, layer: nn.Module, features: int = WIDTH) -> None:
        super().__init__()
        self.before, self.layer, self.after = nn.Linear(6, 6), layer, nn.Linear(features, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        out, _ = self.layer(self.before(x.view(-1, 6, 6)))
        return self.after(out[:, -1])


class OwnCell(nn.Module):
    """A gated cell of linear layers, step by step."""

    def __init__(self) -> None:
        super().__init__()
        self.gate, self.new = nn.Linear(6 + WIDTH, WIDTH), nn.Linear(6 + WIDTH, WIDTH)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        state, states = x.new_zeros(len(x), WIDTH), []
        for word in x.unbind(1):
            both = torch.cat([word, state], 1)
            gate = self.gate(both).sigmoid()
            state = gate * state + (1 - gate) * self.new(both).tanh()
            states.append(state)
        return torch.stack(states, 1), state


class TorchCell(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.LSTMCell(6, WIDTH)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        state = None
        for word in x.unbind(1):
            state = self.cell(word, state)
        assert state is not None
        return state[0][:, None], state[1]


class Applied(nn.Module):
    """A function of a network and its input; layers are given by name."""

    def __init__(self, how: Callable[[Any, Tensor], Any], **parts: nn.Module) -> None:
        super().__init__()
        for name, part in parts.items():
            self.add_module(name, part)
        self.how = how

    def forward(self, x: Tensor) -> Any:
        return self.how(self, x)


def words(x: Tensor) -> Tensor:
    """Whole numbers from 0 to 9, (batch, 36)."""
    return (x.abs() * 4).long().clamp(max=9)


def volume(x: Tensor) -> Tensor:
    return x.view(-1, 1, 3, 4, 3)


def image(x: Tensor) -> Tensor:
    return x.view(-1, 1, 6, 6)


def line(x: Tensor) -> Tensor:
    return x.view(-1, 3, 12)


def linear(inputs: int = INPUTS, outputs: int = CLASSES) -> nn.Linear:
    return nn.Linear(inputs, outputs)


def attending(net: Any, x: Tensor) -> Tensor:
    rows = net.before(x.view(-1, 6, 6))
    out, _ = net.attention(rows, rows, rows, need_weights=False)
    return net.after(out.flatten(1))


def multi_head(net: Any, x: Tensor) -> Tensor:
    query, key, value = (part.view(-1, 6, 2, 4).transpose(1, 2) for part in net.all(x.view(-1, 6, 6)).chunk(3, -1))
    out = F.scaled_dot_product_attention(query, key, value)
    return net.after(out.transpose(1, 2).flatten(1))


def decoding(net: Any, x: Tensor) -> Tensor:
    rows = x.view(-1, 6, 6)
    return net.after(net.decoder(net.before(rows), rows).flatten(1))


def u_shape(net: Any, x: Tensor) -> Tensor:
    down = torch.relu(net.down(image(x)))
    up = net.up(torch.relu(net.low(F.max_pool2d(down, 2))))
    return net.after(torch.cat([down, up], 1).flatten(1))


def excited(net: Any, x: Tensor) -> Tensor:
    found = net.conv(image(x))
    return net.after((found * net.up(net.down(found.mean((2, 3), keepdim=True)).relu()).sigmoid()).flatten(1))


def dense_blocks(net: Any, x: Tensor) -> Tensor:
    for layer in (net.one, net.two):
        x = torch.cat([x, layer(x).relu()], 1)
    return net.after(x)


def mixing(net: Any, x: Tensor) -> Tensor:
    rows = x.view(-1, 6, 6)
    rows = rows + net.tokens(rows.transpose(1, 2)).transpose(1, 2).relu()
    return net.after((rows + net.channels(rows).relu()).mean(1))


def siamese(net: Any, x: Tensor) -> Tensor:
    left, right = x.chunk(2, 1)
    return net.after(net.both(left) * net.both(right))


def hyper(net: Any, x: Tensor) -> Tensor:
    made = net.maker(x[:, :6]).view(-1, CLASSES, INPUTS)
    return torch.bmm(made, x[:, :, None]).squeeze(2) + net.after(x)


def dictionary(net: Any, x: Tensor) -> Any:
    h = net.one(x).relu()
    return {"scores": net.after(h), "penalty": h.mean()}


def pair(net: Any, x: Tensor) -> Any:
    h = net.one(x).relu()
    return net.after(h), [net.back(h), h]


def dictionary_loss(outputs: Any, labels: Tensor) -> Tensor:
    return F.cross_entropy(outputs["scores"], labels) + outputs["penalty"]


def pair_loss(outputs: Any, labels: Tensor) -> Tensor:
    return F.cross_entropy(outputs[0], labels) + outputs[1][0].square().mean() + outputs[1][1].mean()


class Wrapper(nn.Module):
    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(self.module, name)

    def forward(self, *args: Any, **named: Any) -> Any:
        return self.module(*args, **named)


class TwoInputs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.left, self.right, self.out = linear(18, WIDTH), linear(18, WIDTH), linear(WIDTH)

    def forward(self, left: Tensor, right: Tensor | None = None, *, scale: float = 1.0) -> Tensor:
        return self.out(self.left(left) if right is None else self.left(left) * scale + self.right(right))


class Feeding(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = TwoInputs()

    def forward(self, x: Tensor) -> Tensor:
        left, right = x.chunk(2, 1)
        return self.inner(left, right=right, scale=0.3) + self.inner(left)


class Subclass(nn.Sequential):
    """Not nn.Sequential itself: it goes through its layers twice."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + super().forward(-x)


def lazy() -> nn.Module:
    module = nn.Sequential(nn.LazyLinear(WIDTH), nn.ReLU(), nn.LazyLinear(CLASSES))
    module(torch.zeros(1, INPUTS))
    return module


def doubled() -> nn.Module:
    return Applied(
        lambda net, x: net.net(x.double()), net=nn.Sequential(linear(INPUTS, WIDTH), nn.Tanh(), linear(WIDTH)).double()
    )


def sixteen() -> nn.Module:
    net = nn.Sequential(linear(INPUTS, WIDTH), nn.Tanh(), linear(WIDTH)).bfloat16()
    return Applied(lambda net, x: net.net(x.bfloat16()).float(), net=net)


class Deep(nn.Module):
    """Modules in modules in lists and dictionaries, with parameters of their own."""

    def __init__(self) -> None:
        super().__init__()
        self.stages = nn.ModuleList(
            nn.ModuleDict({"main": nn.Sequential(linear(INPUTS, INPUTS), nn.ReLU()), "side": linear(INPUTS, INPUTS)})
            for _ in range(2)
        )
        self.scales = nn.ParameterList(nn.Parameter(torch.ones(INPUTS)) for _ in range(2))
        self.bias = nn.ParameterDict({"end": nn.Parameter(torch.zeros(CLASSES))})
        self.out = linear()

    def forward(self, x: Tensor) -> Tensor:
        for stage, scale in zip(self.stages, self.scales, strict=True):
            parts = dict(stage.items())  # type: ignore[operator]
            x = parts["main"](x) * scale + parts["side"](x)
        return self.out(x) + self.bias["end"]
