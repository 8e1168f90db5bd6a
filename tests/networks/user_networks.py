"""Seven networks as users write them, whose neurons and filters are removed."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

SIDE = 16


class VGG(nn.Module):
    """Plain stages of convolution, batch norm and ReLU, and a classifier of linear layers with dropout."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for filters in (width, "pool", 2 * width, 2 * width, "pool", 4 * width, "pool"):
            if isinstance(filters, int):
                layers += [nn.Conv2d(channels, filters, 3, padding=1), nn.BatchNorm2d(filters), nn.ReLU(inplace=True)]
                channels = filters
            else:
                layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(
            nn.Linear(channels * (SIDE // 8) ** 2, 8 * width), nn.ReLU(), nn.Dropout(), nn.Linear(8 * width, 10)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(torch.flatten(self.features(x), 1))


class Residual(nn.Module):
    """A bottleneck block whose shortcut is projected where the shape changes."""

    def __init__(self, inputs: int, inner: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(inputs, inner, 1, bias=False), nn.BatchNorm2d(inner)
        self.conv2, self.bn2 = nn.Conv2d(inner, inner, 3, stride, 1, bias=False), nn.BatchNorm2d(inner)
        self.conv3, self.bn3 = nn.Conv2d(inner, outputs, 1, bias=False), nn.BatchNorm2d(outputs)
        self.downsample: nn.Module | None = None
        if stride > 1 or inputs != outputs:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.bn2(self.conv2(self.bn1(self.conv1(x)).relu())).relu()
        return (self.bn3(self.conv3(x)) + shortcut).relu()


class ResNet(nn.Module):
    """Bottleneck blocks with projections behind a stem."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU())
        self.layers = nn.Sequential(
            Residual(width, width, 2 * width, 1),
            Residual(2 * width, width, 2 * width, 1),
            Residual(2 * width, 2 * width, 4 * width, 2),
        )
        self.fc = nn.Linear(4 * width, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.layers(self.stem(x)).mean((2, 3)))


class Dense(nn.Module):
    """Each layer reads the concatenation of all before it, behind a norm and a ReLU; a transition narrows them."""

    def __init__(self, growth: int = 8, layers: int = 3) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 2 * growth, 3, padding=1, bias=False)
        channels = 2 * growth
        self.norms, self.convs = nn.ModuleList(), nn.ModuleList()
        for _ in range(layers):
            self.norms.append(nn.BatchNorm2d(channels))
            self.convs.append(nn.Conv2d(channels, growth, 3, padding=1, bias=False))
            channels += growth
        self.transition = nn.Sequential(nn.BatchNorm2d(channels), nn.ReLU(), nn.Conv2d(channels, channels // 2, 1))
        self.head = nn.Linear(channels // 2, 10)

    def forward(self, x: Tensor) -> Tensor:
        features = [self.first(x)]
        for norm, conv in zip(self.norms, self.convs, strict=True):
            features.append(conv(norm(torch.cat(features, 1)).relu()))
        x = functional.avg_pool2d(self.transition(torch.cat(features, 1)), 2)
        return self.head(functional.adaptive_avg_pool2d(x, 1).flatten(1))


class DepthWise(nn.Module):
    """Inverted residuals as in MobileNet: expansion, depth-wise convolution, projection, with clipped activations."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, width, 3, 2, 1, bias=False)
        self.blocks = nn.ModuleList(self._block(width) for _ in range(2))
        self.last, self.head = nn.Conv2d(width, 4 * width, 1), nn.Linear(4 * width, 10)

    @staticmethod
    def _block(width: int) -> nn.Sequential:
        inner = 4 * width
        return nn.Sequential(
            *(nn.Conv2d(width, inner, 1, bias=False), nn.BatchNorm2d(inner), nn.ReLU6()),
            *(nn.Conv2d(inner, inner, 3, 1, 1, groups=inner, bias=False), nn.BatchNorm2d(inner), nn.ReLU6()),
            *(nn.Conv2d(inner, width, 1, bias=False), nn.BatchNorm2d(width)),
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for block in self.blocks:
            x = x + block(x)
        return self.head(functional.hardswish(self.last(x)).amax((2, 3)))


class Mixer(nn.Module):
    """Patches, and blocks that mix tokens and then channels, each behind a layer norm (MLP-Mixer)."""

    def __init__(self, width: int = 16, patch: int = 4, blocks: int = 2) -> None:
        super().__init__()
        tokens = (SIDE // patch) ** 2
        self.patches = nn.Conv2d(3, width, patch, patch)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2 * blocks))
        self.mixers = nn.ModuleList(
            nn.Sequential(nn.Linear(size, 2 * size), nn.GELU(), nn.Linear(2 * size, size))
            for _ in range(blocks)
            for size in (tokens, width)
        )
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        for place in range(0, len(self.mixers), 2):
            mixed = self.mixers[place](self.norms[place](x).transpose(1, 2))
            x = x + mixed.transpose(1, 2)
            x = x + self.mixers[place + 1](self.norms[place + 1](x))
        return self.head(self.norm(x).mean(1))


class TransformerBlock(nn.Module):
    """Self-attention of linear layers for queries, keys and values, with any number of heads of one size."""

    def __init__(self, width: int = 16, heads: int = 4) -> None:
        super().__init__()
        self.size = width // heads
        self.patches = nn.Conv2d(3, width, 4, 4)
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.out = nn.Linear(width, width)
        self.up, self.down, self.head = nn.Linear(width, 4 * width), nn.Linear(4 * width, width), nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        normed = self.norm1(x)
        query, key, value = (
            layer(normed).unflatten(2, (-1, self.size)).transpose(1, 2) for layer in (self.query, self.key, self.value)
        )
        mixed = functional.scaled_dot_product_attention(query, key, value)
        x = x + self.out(mixed.transpose(1, 2).flatten(2))
        x = x + self.down(functional.gelu(self.up(self.norm2(x))))
        return self.head(x.mean(1))


class Functional(nn.Module):
    """Layers that the forward never calls: it hands their weights to functions."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, width, 3), nn.Conv2d(width, 2 * width, 3)
        self.bn = nn.BatchNorm2d(2 * width)
        self.fc1, self.fc2 = nn.Linear(2 * width, 4 * width), nn.Linear(4 * width, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(functional.conv2d(x, self.conv1.weight, self.conv1.bias, stride=2))
        x = functional.conv2d(x, self.conv2.weight, self.conv2.bias)
        bn = self.bn
        x = functional.batch_norm(x, bn.running_mean, bn.running_var, bn.weight, bn.bias, bn.training, 0.1, bn.eps)
        x = functional.silu(x).mean((2, 3))
        return functional.linear(functional.relu(functional.linear(x, self.fc1.weight, self.fc1.bias)), self.fc2.weight)


NETWORKS: dict[str, Callable[..., nn.Module]] = {
    "vgg": VGG,
    "resnet": ResNet,
    "densenet": Dense,
    "depth-wise": DepthWise,
    "mixer": Mixer,
    "transformer": TransformerBlock,
    "functional": Functional,
}
