"""Whole modules of other shapes: recurrent, attending, wrapped; several inputs and outputs; networks that are known."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from conformance_parts import CLASSES, INPUTS, WIDTH, Case, Flat, Image
from torch import Tensor, nn
from torch.nn import functional as F

from overparam.networks.architecture import NETWORKS


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


def applied(how: Callable[[Any, Tensor], Any], **parts: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
    return lambda: Applied(how, **{name: make() for name, make in parts.items()})


def built_in(name: str, shape: tuple[int, ...], **options: Any) -> Callable[[], nn.Module]:
    return lambda: nn.Sequential(nn.Unflatten(1, shape), NETWORKS.get(name)(shape, CLASSES, **options))


def sequence(*layers: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
    return lambda: nn.Sequential(*(layer() for layer in layers))


MODULES: dict[str, Callable[[], nn.Module]] = {
    "rnn": lambda: Recurrent(nn.RNN(6, WIDTH, batch_first=True)),
    "two lstms with dropout": lambda: Recurrent(nn.LSTM(6, WIDTH, 2, dropout=0.2, batch_first=True)),
    "gru in both directions": lambda: Recurrent(nn.GRU(6, 6, bidirectional=True, batch_first=True)),
    "own cell": lambda: Recurrent(OwnCell()),
    "lstm cell": lambda: Recurrent(TorchCell()),
    "multi-head attention": applied(
        attending,
        before=lambda: linear(6, 8),
        after=lambda: linear(48),
        attention=lambda: nn.MultiheadAttention(8, 2, batch_first=True),
    ),
    "own attention": applied(multi_head, all=lambda: linear(6, 24), after=lambda: linear(48)),
    "transformer encoder": applied(
        lambda net, x: net.after(net.encoder(net.before(x.view(-1, 6, 6))).mean(1)),
        before=lambda: linear(6, 8),
        after=lambda: linear(8),
        encoder=lambda: nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 8, 0.1, batch_first=True), 2),
    ),
    "transformer decoder": applied(
        decoding,
        before=lambda: linear(6, 6),
        after=lambda: linear(36),
        decoder=lambda: nn.TransformerDecoderLayer(6, 2, 8, 0.1, batch_first=True),
    ),
    "encoder layer alone": sequence(
        lambda: nn.Unflatten(1, (6, 6)),
        lambda: nn.TransformerEncoderLayer(6, 2, 8, 0.0, batch_first=True),
        nn.Flatten,
        linear,
    ),
    "embedding": applied(
        lambda net, x: net.after(net.table(words(x)).mean(1).relu()),
        table=lambda: nn.Embedding(10, 8),
        after=lambda: linear(8),
    ),
    "bag of embeddings": applied(
        lambda net, x: net.after(net.table(words(x))),
        table=lambda: nn.EmbeddingBag(10, 8, mode="sum"),
        after=lambda: linear(8),
    ),
    "one convolution over one axis": applied(
        lambda net, x: net.after(F.gelu(net.conv(line(x))).flatten(1)),
        conv=lambda: nn.Conv1d(3, 4, 3, stride=2, padding=1),
        after=lambda: linear(24),
    ),
    "dilated convolution": applied(
        lambda net, x: net.after(net.conv(line(x)).amax(2)),
        conv=lambda: nn.Conv1d(3, 6, 3, dilation=2, padding="same", groups=3, bias=False),
        after=lambda: linear(6),
    ),
    "convolution over three axes": applied(
        lambda net, x: net.after(net.conv(volume(x)).relu().flatten(1)),
        conv=lambda: nn.Conv3d(1, 2, 2),
        after=lambda: linear(24),
    ),
    "transposed convolution": applied(
        lambda net, x: net.after(net.up(image(x)).tanh().flatten(1)),
        up=lambda: nn.ConvTranspose2d(1, 2, 2),
        after=lambda: linear(98),
    ),
    "circular padding": applied(
        lambda net, x: net.after(net.conv(image(x)).flatten(1)),
        conv=lambda: nn.Conv2d(1, 2, 3, padding=1, padding_mode="circular"),
        after=lambda: linear(72),
    ),
    "channels last": applied(
        lambda net, x: net.after(net.conv(net.stem(image(x)).to(memory_format=torch.channels_last)).flatten(1)),
        stem=lambda: nn.Conv2d(1, 3, 3),
        conv=lambda: nn.Conv2d(3, 2, 3).to(memory_format=torch.channels_last),  # type: ignore[call-overload]
        after=lambda: linear(8),
    ),
    "u shape": applied(
        u_shape,
        down=lambda: nn.Conv2d(1, 3, 3, padding=1),
        low=lambda: nn.Conv2d(3, 3, 3, padding=1),
        up=lambda: nn.ConvTranspose2d(3, 3, 2, stride=2),
        after=lambda: linear(216),
    ),
    "squeeze and excitation": applied(
        excited,
        conv=lambda: nn.Conv2d(1, 4, 3),
        down=lambda: nn.Conv2d(4, 2, 1),
        up=lambda: nn.Conv2d(2, 4, 1),
        after=lambda: linear(64),
    ),
    "dense blocks": applied(
        dense_blocks, one=lambda: linear(36, 8), two=lambda: linear(44, 8), after=lambda: linear(52)
    ),
    "mixing": applied(mixing, tokens=lambda: linear(6, 6), channels=lambda: linear(6, 6), after=lambda: linear(6)),
    "siamese": applied(siamese, both=lambda: nn.Sequential(linear(18, 8), nn.Tanh()), after=lambda: linear(8)),
    "hypernetwork": applied(hyper, maker=lambda: linear(6, 144), after=linear),
    "bilinear": applied(
        lambda net, x: net.after(net.pair(x[:, :6], x[:, 6:10]).relu()),
        pair=lambda: nn.Bilinear(6, 4, 5),
        after=lambda: linear(5),
    ),
    "norms": applied(
        lambda net, x: net.after(net.layer(net.instance(net.group(net.conv(image(x)))).flatten(1))),
        conv=lambda: nn.Conv2d(1, 4, 3),
        group=lambda: nn.GroupNorm(2, 4),
        instance=lambda: nn.InstanceNorm2d(4, affine=True, track_running_stats=True),
        layer=lambda: nn.LayerNorm(64),
        after=lambda: linear(64),
    ),
    "several inputs": Feeding,
    "float64": doubled,
    "bfloat16": sixteen,
    "deep": Deep,
    "a subclass of sequential": lambda: Subclass(linear(INPUTS, WIDTH), nn.ReLU(), linear(WIDTH)),
    "a wrapper": lambda: Wrapper(Image()),
    "a wrapper in a wrapper": lambda: Wrapper(Wrapper(Flat())),
    "data parallel": lambda: nn.DataParallel(Flat()),
    "no linear layer": applied(
        lambda net, x: x.view(-1, 9, 4).sum(1) * net.scale(x[:, :1]), scale=lambda: linear(1, 4)
    ),
}

KNOWN: dict[str, Callable[[], nn.Module]] = {
    "once lazy": lazy,
    "perceptron": sequence(lambda: linear(INPUTS, WIDTH), nn.ReLU, lambda: linear(WIDTH)),
    "other activations": sequence(
        lambda: linear(INPUTS, WIDTH), nn.GELU, nn.PReLU, lambda: linear(WIDTH, 6), nn.Tanh, lambda: linear(6)
    ),
    "dropout and norms": sequence(
        nn.Dropout,
        lambda: linear(INPUTS, WIDTH),
        lambda: nn.BatchNorm1d(WIDTH),
        nn.ReLU,
        lambda: nn.LayerNorm(WIDTH),
        lambda: linear(WIDTH),
    ),
    "convolutions": sequence(
        lambda: nn.Unflatten(1, (1, 6, 6)),
        *(
            lambda: nn.Conv2d(1, 4, 3, padding=1),
            nn.ReLU,
            lambda: nn.MaxPool2d(2),
            nn.Dropout2d,
            lambda: nn.Conv2d(4, 4, 2),
        ),
        *(nn.Flatten, lambda: linear(16)),
    ),
    "nested": sequence(
        sequence(lambda: linear(INPUTS, WIDTH), nn.Sequential), sequence(sequence(nn.ReLU), lambda: linear(WIDTH))
    ),
    "rows": sequence(lambda: nn.Unflatten(1, (6, 6)), lambda: linear(6, 4), nn.ReLU, nn.Flatten, lambda: linear(24)),
    "without a sparse form": sequence(
        lambda: nn.Unflatten(1, (1, 6, 6)), lambda: nn.ConvTranspose2d(1, 2, 2), nn.ReLU, nn.Flatten, lambda: linear(98)
    ),
    "mlp": built_in("mlp", (1, 6, 6), hidden=[10, 8]),
    "conv-2": built_in("conv-2", (1, 6, 6), width=0.1),
    "resnet-20": built_in("resnet-20", (1, 6, 6), width=0.25),
}

SHAPES: list[Case] = [
    Case("one layer", linear, refused="model is a single layer; use overparam.sparse.SparseLayer.from_dense"),
    *(Case(name, make) for name, make in MODULES.items()),
    *(Case(f"known: {name}", make, whole=True) for name, make in KNOWN.items()),
    Case(
        "a dictionary",
        applied(dictionary, one=lambda: linear(INPUTS, WIDTH), after=lambda: linear(WIDTH)),
        dictionary_loss,
    ),
    Case(
        "a pair and a list",
        applied(pair, one=lambda: linear(INPUTS, WIDTH), after=lambda: linear(WIDTH), back=lambda: linear(WIDTH, 3)),
        pair_loss,
    ),
]
