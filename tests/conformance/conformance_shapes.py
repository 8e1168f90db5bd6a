"""Whole modules of other shapes: recurrent, attending, wrapped; several inputs and outputs; networks that are known."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from conformance_networks import (
    Applied,
    Deep,
    Feeding,
    OwnCell,
    Recurrent,
    Subclass,
    TorchCell,
    Wrapper,
    attending,
    decoding,
    dense_blocks,
    dictionary,
    dictionary_loss,
    doubled,
    excited,
    hyper,
    image,
    lazy,
    line,
    linear,
    mixing,
    multi_head,
    pair,
    pair_loss,
    siamese,
    sixteen,
    u_shape,
    volume,
    words,
)
from conformance_parts import CLASSES, INPUTS, WIDTH, Case, Flat, Image
from torch import Tensor, nn
from torch.nn import functional as F

from overparam.networks.architecture import NETWORKS


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
