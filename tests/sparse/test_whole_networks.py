"""Networks whose forward is known are computed as a whole, on batch-last tiles."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from network_cases import agree, built, pruned
from torch import nn

from overparam.networks.resnet import Basic, Bottleneck
from overparam.sparse import convert
from overparam.sparse.layers.kinds import SparseLayer
from overparam.sparse.networks.tiles import NATIVE


@pytest.fixture(autouse=True)
def _seeded() -> Iterator[None]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


ARCHITECTURES: list[tuple[str, tuple[int, ...], dict[str, Any]]] = [
    ("mlp", (1, 6, 6), {"hidden": [20, 10]}),
    ("mlp", (5,), {"hidden": [], "bias": False}),
    ("lenet-300-100", (1, 6, 6), {"width": 0.1}),
    ("lenet-5", (1, 16, 16), {"width": 0.2}),
    ("conv-2", (3, 6, 6), {"width": 0.1}),
    ("conv-4", (3, 8, 6), {"width": 0.1}),
    ("conv-6", (3, 8, 8), {"width": 0.1}),
    ("vgg-11", (3, 16, 16), {"width": 0.1}),
    ("resnet-20", (3, 8, 8), {"width": 0.5}),
]


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(("name", "shape", "options"), ARCHITECTURES)
def test_architectures(name: str, shape: tuple[int, ...], options: dict[str, Any], training: bool) -> None:
    model, masks = pruned(built(name, shape, options).double())
    model.train(training)
    network = convert(model, masks, strict=True)
    assert sum(isinstance(part, SparseLayer) for part in network.modules()) == len(masks)
    agree(model, torch.randn(17, *shape, dtype=torch.float64), network, 1e-9)


@pytest.mark.parametrize("batch", [1, 5, 17, 100, 130])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_batch_sizes(batch: int, dtype: torch.dtype) -> None:
    model, masks = pruned(built("conv-4", (3, 8, 8), {"width": 0.1}).to(dtype))
    agree(model, torch.randn(batch, 3, 8, 8, dtype=dtype), convert(model, masks))
    model, masks = pruned(built("lenet-300-100", (1, 6, 6), {"width": 0.1}).to(dtype))
    agree(model, torch.randn(batch, 1, 6, 6, dtype=dtype), convert(model, masks))


INPUTS = {2: (7,), 3: (3, 9), 4: (3, 7, 6)}


def before(rank: int) -> nn.Module:
    """A layer with 4 features or channels as output."""
    return {2: nn.Linear(7, 4), 3: nn.Conv1d(3, 4, 2), 4: nn.Conv2d(3, 4, 2)}[rank]  # 4; 4 x 8; 4 x 6 x 5


def check_between(rank: int, *between: nn.Module) -> None:
    """Modules after a layer, so that they meet a batch-last value."""
    model, _ = pruned(nn.Sequential(before(rank), *between).double())
    for training in (True, False):
        model.train(training)
        network = convert(model)
        assert network.whole
        kinds = {type(part) for part in model.modules() if not any(True for _ in part.children())}
        assert (network.fallbacks == ()) == (kinds <= {*NATIVE, nn.Linear, nn.Conv1d, nn.Conv2d, nn.Sequential})
        agree(model, torch.randn(6, *INPUTS[rank], dtype=torch.float64), network, 1e-9)


ELEMENTWISE: list[nn.Module] = [
    *(nn.ReLU(), nn.ReLU(inplace=True), nn.LeakyReLU(0.2), nn.GELU(), nn.GELU("tanh"), nn.SiLU(), nn.Tanh()),
    *(nn.Sigmoid(), nn.ELU(), nn.Softplus(), nn.Hardtanh(), nn.Identity(), nn.PReLU(), nn.PReLU(4), nn.Mish()),
    *(nn.ReLU6(), nn.SELU(), nn.CELU(), nn.Hardswish(), nn.Hardsigmoid(), nn.Softsign(), nn.LogSigmoid()),
    *(nn.Tanhshrink(), nn.Softshrink(), nn.Hardshrink(), nn.Threshold(0.1, 0.2), nn.ELU(inplace=True)),
]


@pytest.mark.parametrize("operation", ELEMENTWISE, ids=str)
@pytest.mark.parametrize("rank", [2, 4])
def test_elementwise(operation: nn.Module, rank: int) -> None:
    check_between(rank, operation)


BETWEEN: list[tuple[int, nn.Module, nn.Module | None]] = [
    (2, nn.BatchNorm1d(4), nn.Linear(4, 3)),
    (2, nn.BatchNorm1d(4, affine=False, momentum=None), None),
    (3, nn.BatchNorm1d(4), nn.Conv1d(4, 3, 3)),
    (4, nn.BatchNorm2d(4), nn.Conv2d(4, 2, 3)),
    (4, nn.BatchNorm2d(4, track_running_stats=False), None),
    (2, nn.LayerNorm(4), None),
    (4, nn.LayerNorm([4, 6, 5]), None),
    (4, nn.LayerNorm([4, 6, 5], elementwise_affine=False), None),
    (4, nn.GroupNorm(2, 4), None),
    (2, nn.GroupNorm(2, 4), None),
    (4, nn.MaxPool2d(2), nn.Conv2d(4, 2, 2)),
    (4, nn.MaxPool2d(3, 2, 1, ceil_mode=True), None),
    (4, nn.AvgPool2d(2), None),
    (4, nn.AvgPool2d(3, 2, 1, count_include_pad=False), None),
    (4, nn.AdaptiveAvgPool2d(1), None),
    (4, nn.AdaptiveAvgPool2d((3, 2)), None),
    (4, nn.AdaptiveMaxPool2d(2), None),
    (3, nn.MaxPool1d(2), nn.Conv1d(4, 2, 2)),
    (3, nn.AvgPool1d(3, 2, 1), None),
    (3, nn.AdaptiveAvgPool1d(3), None),
    (3, nn.AdaptiveMaxPool1d(3), None),
    (2, nn.Softmax(dim=1), nn.Linear(4, 3)),
    (2, nn.LogSoftmax(-1), None),
    (4, nn.Softmax(1), None),
    (4, nn.Softmax(-1), None),
    (4, nn.Flatten(), nn.Linear(120, 3)),
    (4, nn.Flatten(), None),
    (3, nn.Flatten(), nn.Linear(32, 3)),
    (2, nn.Flatten(), nn.Linear(4, 3)),
    (4, nn.Flatten(), nn.Sequential(nn.ReLU(), nn.BatchNorm1d(120), nn.Linear(120, 3))),
    (4, nn.Flatten(), nn.Sequential(nn.LayerNorm(120), nn.Linear(120, 3))),
    (4, nn.Flatten(), nn.Sequential(nn.Dropout(0.4), nn.Linear(120, 3))),
    (4, nn.Flatten(), nn.Softmax(1)),
    (4, nn.Sequential(nn.MaxPool2d(2), nn.ReLU(inplace=True), nn.BatchNorm2d(4), nn.ReLU(inplace=True)), None),
    (2, nn.Dropout(0.3), nn.Linear(4, 3)),
    (4, nn.Dropout(0.3), nn.Conv2d(4, 2, 2)),
    (3, nn.Dropout1d(0.3), nn.Conv1d(4, 2, 2)),
    (4, nn.Dropout2d(0.3), nn.Conv2d(4, 2, 2)),
    (4, nn.Dropout(1.0), None),
    (2, nn.Dropout(0.0), None),
    (4, Basic(4, 4, 1), None),
    (4, Basic(4, 6, 2), nn.Conv2d(6, 2, 1)),
    (4, Bottleneck(4, 4, 1), None),
]


@pytest.mark.parametrize(("rank", "operation", "after"), BETWEEN)
def test_operations_between_layers(rank: int, operation: nn.Module, after: nn.Module | None) -> None:
    check_between(rank, operation, *([] if after is None else [after]))


CONVOLUTIONS = [
    nn.Conv2d(4, 6, 3, stride=2, padding=1),
    nn.Conv2d(4, 6, (3, 2), padding=(0, 1), dilation=(2, 1), bias=False),
    nn.Conv2d(4, 8, 3, groups=4, padding="same"),
    nn.Conv2d(4, 6, 2, groups=2),
]


@pytest.mark.parametrize("after", CONVOLUTIONS)
def test_convolutions(after: nn.Module) -> None:
    check_between(4, nn.ReLU(), after)


def test_convolutions_over_one_axis() -> None:
    check_between(3, nn.ReLU(), nn.Conv1d(4, 6, 3, stride=2, padding=2, dilation=2, groups=2))


def test_a_block_that_begins_a_network() -> None:
    model, masks = pruned(nn.Sequential(Basic(3, 3, 1), Bottleneck(3, 6, 2)).double())
    agree(model, torch.randn(5, 3, 4, 4, dtype=torch.float64), convert(model, masks, strict=True), 1e-9)
