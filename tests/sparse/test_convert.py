"""A converted network computes and learns what the masked dense module does."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
import torch.nn.utils.prune
from torch import Tensor, nn

from overparam.errors import SpecError
from overparam.networks.architecture import NETWORKS
from overparam.sparse import convert, replace_layers
from overparam.sparse.batch_last import Tiles, flattened_order, natural, to_first, to_tiles
from overparam.sparse.layers import SparseConv2d, SparseLayer, SparseLinear
from overparam.sparse.network import SparseNetwork
from small import same_bits

pytestmark = pytest.mark.filterwarnings("ignore:layer collapse")  # layers of eight weights, masked at random


@pytest.fixture(autouse=True)
def _seeded() -> Iterator[None]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def pruned(model: nn.Module, density: float = 0.4) -> tuple[nn.Module, dict[str, Tensor]]:
    """The model with random masks on its weights, and these; norms get weights other than 1."""
    masks = {}
    with torch.no_grad():
        for part_name, part in model.named_modules():
            weight = getattr(part, "weight", None)
            if isinstance(part, nn.Linear | nn.Conv1d | nn.Conv2d):
                mask = torch.rand(weight.shape) < density
                weight.copy_(torch.where(mask, weight, 0))
                masks[f"{part_name}.weight"] = mask
            elif weight is not None:
                weight.uniform_(0.5, 1.5)
                if getattr(part, "bias", None) is not None:
                    part.bias.uniform_(-1, 1)
    return model, masks


def close(found: Tensor, wanted: Tensor, tolerance: float) -> None:
    """Errors are relative to the tensor's largest element, those below 1e-6 count as such."""
    assert found.shape == wanted.shape
    scale = max(float(wanted.detach().abs().max()) if wanted.numel() else 1.0, 0.01)
    torch.testing.assert_close(found, wanted, rtol=0, atol=tolerance * scale)


def agree(model: nn.Module, inputs: Tensor, network: SparseNetwork | None = None, tolerance: float = 2e-5) -> None:
    """Outputs, buffers and all gradients agree, and both draw the same random numbers."""
    network = convert(model) if network is None else network
    reference, masks = copy.deepcopy(model), network.masks()
    network.train(model.training)
    given = [inputs.clone().requires_grad_() for _ in range(2)]
    state = torch.get_rng_state()
    found = network(given[0])
    after = torch.get_rng_state()
    torch.set_rng_state(state)
    wanted = reference(given[1])
    assert torch.equal(after, torch.get_rng_state())
    close(found, wanted, tolerance)
    errors = torch.randn_like(wanted)
    found.backward(errors)
    wanted.backward(errors)
    close(given[0].grad, given[1].grad, tolerance)
    dense = dict(reference.named_parameters())
    assert list(network.names.values()) == list(dense)
    for name, parameter in network.named_parameters():
        original = network.names[name]
        gradient = dense[original].grad
        if gradient is None:
            assert parameter.grad is None
            continue
        mask = masks.get(original)
        if mask is not None:
            gradient = gradient[mask].view(1, 1, -1) if name.endswith(".values") else gradient * mask
        close(parameter.grad, gradient, 5 * tolerance)
    for name, value in reference.state_dict().items():
        close(network.dense_state()[name].double(), value.double(), tolerance)


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


def built(name: str, shape: tuple[int, ...], options: dict[str, Any]) -> nn.Module:
    return NETWORKS.get(name)(shape, 4, **options)


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


class Between(nn.Module):
    """An operation between two layers, so that it meets a batch-last value."""

    def __init__(self, before: nn.Module, operation: Callable[..., Tensor], after: nn.Module | None = None) -> None:
        super().__init__()
        self.before, self.operation = before, operation
        self.after = nn.Identity() if after is None else after

    def forward(self, inputs: Tensor) -> Tensor:
        return self.after(self.operation(self.before(inputs)))


INPUTS = {2: (7,), 3: (3, 9), 4: (3, 7, 6)}


def before(rank: int) -> nn.Module:
    """A layer with 4 features or channels as output."""
    return {2: nn.Linear(7, 4), 3: nn.Conv1d(3, 4, 2), 4: nn.Conv2d(3, 4, 2)}[rank]  # 4; 4 x 8; 4 x 6 x 5


def check_between(rank: int, operation: Callable[..., Tensor], after: nn.Module | None = None) -> None:
    model, _ = pruned(Between(before(rank), operation, after).double())
    for training in (True, False):
        model.train(training)
        network = convert(model)
        assert network.fallbacks == ()
        agree(model, torch.randn(6, *INPUTS[rank], dtype=torch.float64), network, 1e-9)


ELEMENTWISE: list[Callable[..., Tensor]] = [
    *(nn.ReLU(), nn.ReLU(inplace=True), nn.LeakyReLU(0.2), nn.GELU(), nn.GELU("tanh"), nn.SiLU(), nn.Tanh()),
    *(nn.Sigmoid(), nn.ELU(), nn.Softplus(), nn.Hardtanh(), nn.Identity(), nn.PReLU(), nn.PReLU(4), nn.Mish()),
    *(F.relu, F.gelu, F.leaky_relu, F.silu, F.softplus, torch.relu, torch.tanh, torch.sigmoid, torch.exp),
    *(lambda x: x.relu(), lambda x: x.tanh(), lambda x: x.sigmoid(), lambda x: abs(x), F.logsigmoid, torch.square),
    *(lambda x: torch.relu_(x), lambda x: x.mul_(2), lambda x: F.relu(x, inplace=True)),
    *(lambda x: x.clamp(min=0), lambda x: x * 2 + 1, lambda x: 1 - x / 3, lambda x: -x, lambda x: 2 * (x**2)),
    *(lambda x: torch.where(x > 0, x, 0.1 * x), lambda x: x * torch.sigmoid(x), lambda x: torch.maximum(x, x * x)),
    *(lambda x: F.leaky_relu(x, negative_slope=0.3), lambda x: x.masked_fill(x > 0.5, 0.5)),
]


@pytest.mark.parametrize("operation", ELEMENTWISE)
@pytest.mark.parametrize("rank", [2, 4])
def test_elementwise(operation: Callable[..., Tensor], rank: int) -> None:
    check_between(rank, operation)


class Scaled(nn.Module):
    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.randn(shape))

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs * self.scale


class Excited(nn.Module):
    """Squeeze and excitation: features of the whole image scale its channels."""

    def __init__(self) -> None:
        super().__init__()
        self.down, self.up = nn.Conv2d(4, 2, 1), nn.Linear(2, 4)

    def forward(self, inputs: Tensor) -> Tensor:
        gates = self.down(inputs.mean((2, 3), keepdim=True))
        return inputs * torch.sigmoid(gates).mean(dim=1, keepdim=True)


NATIVE: list[tuple[int, Callable[..., Tensor], nn.Module | None]] = [
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
    (4, lambda x: F.max_pool2d(x, 2), None),
    (4, lambda x: F.avg_pool2d(x, (2, 1), stride=2), None),
    (4, lambda x: F.adaptive_avg_pool2d(x, 1), None),
    (3, lambda x: F.max_pool1d(x, 3, padding=1), None),
    (4, lambda x: x.mean((2, 3)), nn.Linear(4, 3)),
    (4, lambda x: torch.mean(x, dim=[-1, -2]), nn.Linear(4, 3)),
    (4, lambda x: x.sum(dim=1, keepdim=True), nn.Conv2d(1, 3, 2)),
    (4, lambda x: torch.amax(x, (2, 3), keepdim=True), nn.Conv2d(4, 3, 1)),
    (3, lambda x: x.mean(2), nn.Linear(4, 3)),
    (3, lambda x: x.mean(-1, True), nn.Conv1d(4, 2, 1)),
    (2, nn.Softmax(dim=1), nn.Linear(4, 3)),
    (2, nn.LogSoftmax(-1), None),
    (4, nn.Softmax(1), None),
    (4, lambda x: torch.softmax(x, 3), None),
    (2, lambda x: F.log_softmax(x, dim=1), None),
    (2, lambda x: x.softmax(1), None),
    (4, nn.Flatten(), nn.Linear(120, 3)),
    (4, nn.Flatten(), None),
    (3, nn.Flatten(), nn.Linear(32, 3)),
    (2, nn.Flatten(), nn.Linear(4, 3)),
    (4, lambda x: torch.flatten(x, 1), nn.Sequential(nn.ReLU(), nn.BatchNorm1d(120), nn.Linear(120, 3))),
    (4, lambda x: x.flatten(start_dim=1), nn.Sequential(nn.LayerNorm(120), nn.Linear(120, 3))),
    (4, lambda x: x.flatten(1), nn.Sequential(nn.Dropout(0.4), nn.Linear(120, 3))),
    (4, lambda x: x.flatten(1), nn.Softmax(1)),
    (4, lambda x: x.flatten(1), Scaled(120)),
    (4, lambda x: x.view(x.size(0), -1), nn.Linear(120, 3)),
    (4, lambda x: x.reshape(x.shape[0], -1), nn.Linear(120, 3)),
    (4, lambda x: x.reshape((6, 120)), None),
    (4, lambda x: x.view(-1, 120), nn.Linear(120, 3)),
    (4, lambda x: torch.cat([x, 2 * x], 1), nn.Conv2d(8, 2, 2)),
    (4, lambda x: torch.cat([x, x.abs()], dim=-1), nn.Conv2d(4, 2, 2)),
    (4, lambda x: x.flatten(1).relu_(), nn.Linear(120, 3)),
    (4, nn.Sequential(nn.MaxPool2d(2), nn.ReLU(inplace=True), nn.BatchNorm2d(4), nn.ReLU(inplace=True)), None),
    (2, lambda x: torch.cat((x, -x), -1), nn.Linear(8, 2)),
    (2, Scaled(4), None),
    (4, Scaled(4, 1, 1), None),
    (4, Scaled(1, 4, 6, 5), None),
    (4, Scaled(5), None),
    (2, Scaled(), None),
    (2, nn.Dropout(0.3), nn.Linear(4, 3)),
    (4, nn.Dropout(0.3), nn.Conv2d(4, 2, 2)),
    (3, nn.Dropout1d(0.3), nn.Conv1d(4, 2, 2)),
    (4, nn.Dropout2d(0.3), nn.Conv2d(4, 2, 2)),
    (4, nn.Dropout(1.0), None),
    (2, nn.Dropout(0.0), None),
    (2, lambda x: F.dropout(x, 0.2, training=True), None),
    (4, lambda x: F.dropout2d(x, p=0.2, training=True), None),
    (4, lambda x: torch.dropout(x, 0.2, train=True), None),
    (4, lambda x: F.dropout(x, training=False), None),
    (4, Excited(), None),
]


@pytest.mark.parametrize(("rank", "operation", "after"), NATIVE)
def test_native_operations(rank: int, operation: Callable[..., Tensor], after: nn.Module | None) -> None:
    check_between(rank, operation, after)


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


class Residual(nn.Module):
    """Skips from a batch-first input, and between an image and its flattened forms in both orders."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 3, 3, padding=1), nn.Conv2d(3, 3, 3, padding=1)
        self.linear, self.out = nn.Linear(48, 48), nn.Linear(48, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        image = inputs + self.first(inputs)
        image += self.second(F.relu(image))
        flat = image.flatten(1)
        both = torch.cat([flat + self.linear(flat), flat], 1)
        return self.out(flat - self.linear(flat * flat)) + both.mean(1, keepdim=True)


def test_residual_connections() -> None:
    model, masks = pruned(Residual().double())
    agree(model, torch.randn(5, 3, 4, 4, dtype=torch.float64), convert(model, masks, strict=True), 1e-9)


class Noisy(nn.Module):
    """Batch norm, and dropout that reads the training flag where torch.fx sees a constant."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(4)
        self.drop = nn.Dropout2d(0.2)
        self.fc1, self.norm1, self.fc2 = nn.Linear(64, 12), nn.BatchNorm1d(12), nn.Linear(12, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        image = self.drop(F.relu(self.norm(self.conv(inputs))))
        flat = F.dropout(image.view(image.size(0), -1), 0.3, self.training)
        return self.fc2(F.dropout(F.relu(self.norm1(self.fc1(flat))), 0.5, self.training))


OPTIMISERS: list[Callable[..., torch.optim.Optimizer]] = [
    lambda parameters: torch.optim.SGD(parameters, lr=0.05, momentum=0.9, weight_decay=1e-3),
    lambda parameters: torch.optim.Adam(parameters, lr=0.003),
]


def learn(model: nn.Module, make: Callable[..., torch.optim.Optimizer], masks: dict[str, Tensor], data: Any) -> None:
    """Ten steps; weights outside ``masks`` are held at zero."""
    optimiser = make(model.parameters())
    torch.manual_seed(1)
    model.train()
    for inputs, labels in data:
        optimiser.zero_grad()
        F.cross_entropy(model(inputs), labels).backward()
        for name, mask in masks.items():
            gradient = model.get_parameter(name).grad
            assert gradient is not None
            gradient *= mask
        optimiser.step()


@pytest.mark.parametrize("make", OPTIMISERS)
@pytest.mark.parametrize("dense", [(), ("fc1.weight",), ("conv.weight", "fc2.weight")])
def test_training_follows_the_dense_trajectory(
    make: Callable[..., torch.optim.Optimizer], dense: tuple[str, ...]
) -> None:
    model, masks = pruned(Noisy().double())
    data = [(torch.randn(20, 3, 4, 4, dtype=torch.float64), torch.randint(3, (20,))) for _ in range(10)]
    network = convert(model, masks, dense=dense)
    assert network.fallbacks == ()
    learn(network, make, {}, data)
    learn(model, make, masks, data)
    state = network.dense_state()
    assert list(state) == list(model.state_dict())
    for name, value in model.state_dict().items():
        torch.testing.assert_close(state[name], value, rtol=1e-4, atol=1e-7)
    assert all(not state[name][~mask].any() for name, mask in masks.items())
    probe = data[0][0]
    torch.testing.assert_close(network.eval()(probe), model.eval()(probe), rtol=1e-4, atol=1e-6)


def test_a_dense_state_round_trip_keeps_all_bits() -> None:
    model, masks = pruned(built("resnet-20", (3, 8, 8), {"width": 0.5}))
    with torch.no_grad():  # a nonzero may be zero, of either sign
        weight = model.get_parameter("conv.weight")
        weight.view(-1)[masks["conv.weight"].view(-1).nonzero()[0]] = -0.0
    untouched = copy.deepcopy(model.state_dict())
    network = convert(model, masks, dense=["output.weight"])
    assert same_bits(network.dense_state(), untouched)
    dense = network.to_dense()
    assert type(dense) is type(model)
    assert same_bits(dense.state_dict(), untouched)
    assert [name for name, _ in dense.named_parameters()] == [name for name, _ in model.named_parameters()]
    network(torch.randn(3, 3, 8, 8))
    assert same_bits(model.state_dict(), untouched)
    other = built("resnet-20", (3, 8, 8), {"width": 0.5})
    network.load_dense_state(other.state_dict())
    wanted = {
        name: torch.where(masks[name], value, 0) if name in masks else value
        for name, value in other.state_dict().items()
    }
    assert same_bits(network.dense_state(), wanted)
    assert {name: mask.tolist() for name, mask in network.masks().items()} == {
        name: mask.tolist() for name, mask in masks.items()
    }
    assert network.nonzeros == sum(int(mask.sum()) for mask in masks.values())
    assert network.density == network.nonzeros / sum(mask.numel() for mask in masks.values())


def test_copies_pickles_and_states() -> None:
    model, masks = pruned(Noisy())
    network = convert(model, masks, dense=["fc2.weight"]).eval()
    inputs = torch.randn(6, 3, 4, 4)
    wanted = network(inputs)
    for twin in (copy.deepcopy(network), pickle.loads(pickle.dumps(network))):
        assert torch.equal(twin(inputs), wanted)
        assert same_bits(twin.dense_state(), network.dense_state())
        assert not {id(each) for each in twin.parameters()} & {id(each) for each in network.parameters()}
    fresh = convert(Noisy(), masks, dense=["fc2.weight"]).eval()
    fresh.load_state_dict(network.state_dict())
    assert torch.equal(fresh(inputs), wanted)
    assert network.names["model.fc1.values"] == "fc1.weight"


def test_masks_none_takes_the_nonzeros() -> None:
    model, masks = pruned(Noisy())
    network = convert(model, dense=["fc1.weight"])
    assert all(torch.equal(mask, masks[name]) for name, mask in network.masks().items())
    assert isinstance(network.part("conv"), SparseConv2d)
    assert type(network.part("fc1")) is nn.Linear


def test_layers_without_a_mask_stay_dense() -> None:
    model, masks = pruned(Noisy().double())
    network = convert(model, {"fc1.weight": masks["fc1.weight"]}, strict=True)
    assert [name for name, part in network.model.named_modules() if isinstance(part, SparseLayer)] == ["fc1"]
    assert network.nonzeros == int(masks["fc1.weight"].sum()) + 36 + 4 * 27
    agree(model, torch.randn(9, 3, 4, 4, dtype=torch.float64), network, 1e-9)


@pytest.mark.parametrize("dense", [["0.weight"], ["2.weight"], ["4.weight"], ["0.weight", "2.weight", "4.weight"]])
def test_dense_layers_anywhere(dense: list[str]) -> None:
    layers = nn.Conv2d(3, 4, 2), nn.ReLU(), nn.Conv2d(4, 2, 2), nn.Flatten(), nn.Linear(24, 3)
    model, masks = pruned(nn.Sequential(*layers).double())
    network = convert(model, masks, dense=dense, strict=True)
    agree(model, torch.randn(9, 3, 5, 6, dtype=torch.float64), network, 1e-9)


class Odd(nn.Module):
    """Operations without a batch-last form."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.up = nn.Conv2d(3, 4, 3), nn.ConvTranspose2d(4, 4, 2)
        self.fc, self.other = nn.Linear(4 * 25, 4 * 25), nn.Linear(20, 2)

    def forward(self, inputs: Tensor) -> Tensor:
        image = F.relu(self.up(F.relu(self.conv(inputs))))
        turned = self.fc(image.flatten(1)).view(-1, 4, 5, 5).transpose(2, 3)
        return self.other(F.relu(turned).flatten(2).sum(2).repeat(1, 5))


def test_fallbacks_are_stated_and_right() -> None:
    model, masks = pruned(Odd().double())
    masks["up.weight"] = torch.rand(model.up.weight.shape) < 0.5
    network = convert(model, masks)
    assert network.fallbacks == ("up: ConvTranspose2d", "view: Tensor.view")
    with torch.no_grad():
        model.up.weight *= masks["up.weight"]
    agree(model, torch.randn(6, 3, 6, 6, dtype=torch.float64), network, 1e-9)
    with pytest.raises(SpecError, match=r"strict: .*up: ConvTranspose2d; view: Tensor\.view"):
        convert(model, masks, strict=True)
    assert pickle.loads(pickle.dumps(network)).fallbacks == network.fallbacks


def test_linear_layers_over_positions_need_an_example() -> None:
    model, masks = pruned(nn.Sequential(nn.Linear(5, 6), nn.ReLU(), nn.LayerNorm(6), nn.Linear(6, 2)).double())
    inputs = torch.randn(4, 3, 5, dtype=torch.float64)
    with pytest.raises(SpecError, match="example"):
        convert(model, masks)(inputs)
    agree(model, inputs, convert(model, masks, example=inputs), 1e-9)
    with pytest.raises(SpecError, match="example: the model fails on a batch of shape"):
        convert(model, masks, example=torch.zeros(2, 7, dtype=torch.float64))


class Shared(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(5, 5)
        self.again = self.layer

    def forward(self, inputs: Tensor) -> Tensor:
        return self.again(F.relu(self.layer(inputs)))


def test_a_layer_called_twice() -> None:
    model, _ = pruned(Shared().double())
    network = convert(model, strict=True)
    agree(model, torch.randn(6, 5, dtype=torch.float64), network, 1e-9)
    assert same_bits(network.dense_state(), model.state_dict())
    dense: Any = network.to_dense()
    assert dense.layer is dense.again


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.third = nn.Linear(5, 5), nn.Linear(5, 5), nn.Linear(5, 5)
        self.second.weight = self.first.weight

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = self.third(F.relu(self.second(F.relu(self.first(inputs)))))
        return hidden + F.linear(hidden, self.third.weight)


def test_tied_weights_stay_dense_under_their_mask() -> None:
    model, _ = pruned(Tied().double())
    network = convert(model)
    assert network.fallbacks[:2] == (
        "first: Linear stays dense, as its weight belongs to another layer, too",
        "second: Linear stays dense, as its weight belongs to another layer, too",
    )
    assert network.fallbacks[2] == "third: Linear stays dense, as its weight is used outside of it, too"
    agree(model, torch.randn(6, 5, dtype=torch.float64), network, 1e-9)
    assert same_bits(network.dense_state(), model.state_dict())
    dense: Any = network.to_dense()
    assert dense.first.weight is dense.second.weight


class Branching(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 4)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.fc(inputs) if inputs.sum() > 0 else self.fc(-inputs)


def test_what_cannot_be_traced_is_replaced_layer_by_layer() -> None:
    model = Branching().double()
    masks = {"fc.weight": torch.rand(4, 4) < 0.5}
    with pytest.raises(SpecError, match=r"torch.fx cannot trace Branching .*control flow.*replace_layers"):
        convert(model, masks)
    found: Any = replace_layers(model, masks)
    assert isinstance(found.fc, SparseLinear)
    assert type(model.fc) is nn.Linear
    with torch.no_grad():
        model.fc.weight *= masks["fc.weight"]
    inputs = torch.randn(3, 4, dtype=torch.float64)
    torch.testing.assert_close(found(inputs), model(inputs))
    encoder = nn.TransformerEncoderLayer(8, 2, 8, batch_first=True)
    assert not any(isinstance(part, SparseLayer) for part in replace_layers(encoder).modules())
    with pytest.raises(SpecError, match=r"masks: 'norm1.weight' is not the weight of a layer"):
        replace_layers(encoder, {"norm1.weight": torch.ones(8, dtype=torch.bool)})


class Listed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(4, 4) for _ in range(2))

    def forward(self, inputs: Tensor) -> Tensor:
        for layer in self.layers:
            inputs = F.relu(layer(inputs))
        return inputs


def test_layers_in_lists() -> None:
    model, masks = pruned(Listed().double())
    inputs = torch.randn(3, 4, dtype=torch.float64)
    agree(model, inputs, convert(model, masks, strict=True), 1e-9)
    replaced = replace_layers(model, masks)
    assert sum(isinstance(part, SparseLinear) for part in replaced.modules()) == 2
    torch.testing.assert_close(replaced(inputs), model(inputs))


def test_hooks_keep_a_layer_dense() -> None:
    model, _ = pruned(nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2)).double())
    seen: list[torch.Size] = []
    model[2].register_forward_hook(lambda module, args, output: seen.append(args[0].shape))
    network = convert(model)
    assert network.fallbacks == ("2: Linear with hooks",)
    network(torch.randn(3, 4, dtype=torch.float64))
    assert seen == [(3, 4)]


class Attending(nn.Module):
    """Modules of torch that have no sparse form, with weights of their own and layers inside."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.fc = nn.Embedding(5, 8), nn.Linear(8, 8)
        self.encoder = nn.TransformerEncoderLayer(8, 2, 8, dropout=0.0, batch_first=True)
        self.out = nn.Linear(8, 2)

    def forward(self, words: Tensor) -> Tensor:
        return self.out(F.relu(self.encoder(self.fc(self.embed(words)))).mean(1))


@pytest.mark.parametrize("training", [True, False])
def test_composite_modules_stay_dense_under_their_masks(training: bool) -> None:
    model, _ = pruned(Attending())
    words = torch.randint(5, (3, 4))
    network = convert(model.train(training), example=words)
    assert network.fallbacks == ("embed: Embedding", "encoder: TransformerEncoderLayer")
    assert set(network.masks()) == {
        *("fc.weight", "encoder.self_attn.out_proj.weight", "encoder.linear1.weight", "encoder.linear2.weight"),
        "out.weight",
    }
    found, wanted = network(words), model(words)
    torch.testing.assert_close(found, wanted)
    found.sum().backward()
    gradient = network.part("encoder").linear1.weight.grad  # type: ignore[union-attr]
    assert gradient is not None
    assert not gradient[~network.masks()["encoder.linear1.weight"]].any()
    assert same_bits(network.dense_state(), model.state_dict())


def test_weights_of_torchs_own_pruning() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))
    torch.nn.utils.prune.random_unstructured(model[0], "weight", 0.5)  # type: ignore[no-untyped-call]
    with pytest.raises(SpecError, match=r"cannot be copied .*remove that first"):
        convert(model)


class Several(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Linear(4, 3), nn.Linear(5, 3)

    def forward(self, left: Tensor, right: Tensor, scale: float = 2.0) -> dict[str, Any]:
        return {"sum": self.left(left) + self.right(right) * scale, "both": (self.left(left), scale)}


def test_several_inputs_and_outputs() -> None:
    model, _ = pruned(Several().double())
    network = convert(model, strict=True)
    left, right = torch.randn(3, 4, dtype=torch.float64), torch.randn(3, 5, dtype=torch.float64)
    for args, named in (((left, right), {}), ((left,), {"right": right, "scale": 0.5})):
        found, wanted = network(*args, **named), model(*args, **named)
        torch.testing.assert_close(found, wanted)
    with pytest.raises(TypeError, match="needs its argument 'right'"):
        network(left)
    with pytest.raises(TypeError, match="takes left, right, scale"):
        network(left, wrong=1)


class InPlace(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.fc(inputs).fill_diagonal_(0.0)


class Views(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 1)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.conv(inputs).view(-1, 4)


def test_errors() -> None:
    model, masks = pruned(Noisy())
    weight = masks["fc1.weight"]
    cases: list[tuple[Callable[[], Any], str]] = [
        (lambda: convert(model, {"fc.weight": weight}), "masks: the model has no parameter 'fc.weight'"),
        (lambda: convert(model, {"fc1.weight": weight[:2]}), r"masks: 'fc1.weight' must be a bool tensor of shape"),
        (lambda: convert(model, {"fc1.weight": weight.float()}), "torch.float32"),
        (lambda: convert(model, masks, dense=["fc3.weight"]), "dense: the model has no parameter 'fc3.weight'"),
        (lambda: convert(nn.Linear(3, 2)), "single layer"),
        (lambda: replace_layers(nn.Linear(3, 2)), "single layer"),
        (lambda: convert(nn.Sequential(nn.LazyLinear(3))), "no shape yet"),
        (lambda: convert(convert(model, masks)), "not sparse yet, got SparseNetwork"),
        (lambda: convert("model"), "got str"),  # type: ignore[arg-type]
        (lambda: convert(InPlace()), "changes a tensor in place"),
        (lambda: convert(Views())(torch.zeros(2, 1, 3, 2)), "views a batch of shape"),
        (lambda: convert(model, masks).load_dense_state({}), "state must have the names"),
        (
            lambda: convert(model, masks).load_dense_state(model.state_dict() | {"fc1.bias": torch.zeros(2)}),
            "'fc1.bias' must be of shape",
        ),
    ]
    for call, message in cases:
        with pytest.raises(SpecError, match=message):
            call()


def test_frozen_parameters_stay_frozen() -> None:
    model, masks = pruned(Noisy())
    model.conv.weight.requires_grad_(False)
    model.fc1.bias.requires_grad_(False)
    network = convert(model, masks)
    network(torch.randn(4, 3, 4, 4)).sum().backward()
    found = {network.names[name] for name, parameter in network.named_parameters() if parameter.grad is None}
    assert found == {"conv.weight", "fc1.bias"}


def test_modes_of_parts_are_kept() -> None:
    model, masks = pruned(Noisy())
    model.norm.eval()
    network = convert(model, masks)
    assert network.training
    before = network.dense_state()
    network(torch.randn(4, 3, 4, 4))
    after = network.dense_state()
    assert torch.equal(before["norm.running_mean"], after["norm.running_mean"])
    assert not torch.equal(before["norm1.running_mean"], after["norm1.running_mean"])


def test_an_empty_batch_and_no_gradient() -> None:
    model, masks = pruned(built("conv-2", (3, 4, 4), {"width": 0.1}))
    network = convert(model, masks)
    with torch.inference_mode():
        assert network(torch.zeros(0, 3, 4, 4)).shape == (0, 4)


def test_orders_of_flattened_images() -> None:
    image = torch.randn(6, 4, 3, 2)
    tiles = to_tiles(image)
    assert torch.equal(to_first(tiles), image)
    flat = Tiles(tiles.data.flatten(1, 3), 4)
    assert torch.equal(to_first(flat), image.flatten(1))
    assert torch.equal(to_first(natural(flat)), image.flatten(1))
    order = torch.from_numpy(flattened_order(4, 24))
    assert torch.equal(flat.data[:, order], natural(flat).data)
    assert torch.equal(to_first(to_tiles(image > 0)), image > 0)
