from __future__ import annotations

import copy
import math
import pickle
import warnings
from collections.abc import Iterator
from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sparse_cases import CASES, close, first, generator, last, normal, pair, random_mask, same_bits, size, threads
from torch import nn

from overparam.errors import SpecError
from overparam.prune import ERK, Counted, erdos_renyi_kernel
from overparam.sparse.layers.autograd import fused_layers
from overparam.sparse.layers.kinds import SparseConv1d, SparseConv2d, SparseLayer, SparseLinear
from overparam.sparse.layers.nonzeros import random_indices


@pytest.fixture(autouse=True)
def _same_numbers() -> Iterator[None]:
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Using padding='same'")  # torch's own remark on the dense layer
        yield


@pytest.fixture(params=[1, 2], ids=["one thread", "two threads"])
def number_of_threads(request: pytest.FixtureRequest) -> Iterator[None]:
    with threads(request.param):
        yield


def at_nonzeros(sparse, tensor):
    return sparse.gather(tensor)


@CASES
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.usefixtures("number_of_threads")
def test_outputs_and_gradients_are_those_of_the_dense_layer(make, shape, dtype):
    dense, sparse, mask = pair(make, dtype=dtype)
    inputs = [normal(*shape, dtype=dtype).requires_grad_() for _ in range(2)]
    expected, found = dense(inputs[0]), sparse(inputs[1])
    assert close(found, expected)
    errors = normal(*expected.shape, dtype=dtype, seed=1)
    expected.backward(errors)
    found.backward(errors)
    assert close(inputs[1].grad, inputs[0].grad)
    assert close(sparse.values.grad, at_nonzeros(sparse, dense.weight.grad))
    if dense.bias is not None:
        assert close(sparse.bias.grad, dense.bias.grad)
    assert torch.equal(sparse.mask(), mask)


@CASES
@pytest.mark.parametrize("density", [0.0, 1.0])
def test_no_weights_and_all_weights(make, shape, density):
    dense, sparse, _ = pair(make, density)
    assert sparse.density == density
    inputs = normal(*shape)
    assert close(sparse(inputs), dense(inputs))


@CASES
def test_gradcheck(make, shape):
    _, sparse, _ = pair(make, dtype=torch.float64)
    inputs = normal(*shape, dtype=torch.float64).requires_grad_()
    parameters = tuple(sparse.parameters())

    def outputs(inputs, *parameters):
        names = dict(zip(dict(sparse.named_parameters()), parameters, strict=True))
        return torch.func.functional_call(sparse, names, (inputs,))

    assert torch.autograd.gradcheck(outputs, (inputs, *parameters))


@pytest.mark.parametrize("sizes", [(0, 5), (5, 0), (0, 0), (1, 1), (63, 1)])
@pytest.mark.parametrize("batch", [0, 1, 3, 64, 127])
def test_sizes_of_nothing_and_one(sizes, batch):
    layer = SparseLinear(*sizes, density=1.0)
    inputs = normal(batch, sizes[0]).requires_grad_()
    outputs = layer(inputs)
    assert close(outputs, inputs @ layer.weight().T + layer.bias)
    outputs.sum().backward()
    assert close(layer.bias.grad, torch.full((sizes[1],), float(batch)))
    assert layer.values.grad.shape == layer.values.shape
    assert inputs.grad.shape == inputs.shape
    dense = layer.to_dense()
    assert dense.weight.shape == (sizes[1], sizes[0])


@pytest.mark.parametrize(
    "make", [lambda: SparseConv1d(2, 3, 3, density=0.5), lambda: SparseConv2d(2, 3, 3, density=0.5)]
)
def test_convolution_of_no_examples(make):
    layer = make()
    inputs = torch.zeros(0, 2, *[5] * layer.AXES, requires_grad=True)
    outputs = layer(inputs)
    assert outputs.shape == (0, 3, *[3] * layer.AXES)
    outputs.sum().backward()
    assert not layer.values.grad.any()
    assert layer.values.grad.shape == layer.values.shape


@settings(max_examples=25)
@given(st.integers(0, 200), st.sampled_from([1, 17, 64]), st.sampled_from([1, 2]))
def test_every_batch_size(batch, features, count):
    layer = SparseLinear(features, 33, density=0.3, generator=generator(1))
    inputs = normal(batch, features)
    with threads(count):
        assert close(layer(inputs), inputs @ layer.weight().T + layer.bias)


def test_inputs_that_are_not_contiguous():
    _, sparse, _ = pair(lambda: nn.Conv2d(4, 6, 3))
    inputs = normal(5, 7, 6, 4).permute(0, 3, 1, 2)
    assert torch.equal(sparse(inputs), sparse(inputs.contiguous()))


# batch-last


def on_tiles(layer, tiles):
    return fused_layers(tiles, [layer.link(tiles.shape[1:-1])])


@CASES
def test_tiles(make, shape):
    _, sparse, _ = pair(make)
    axes = getattr(sparse, "AXES", 0)
    inputs = normal(6, *shape[len(shape) - axes - 1 :])
    assert torch.equal(first(on_tiles(sparse, last(inputs, 3))), sparse(inputs))


def test_lists_are_made_once_for_each_size_of_inputs():
    layer = SparseConv2d(2, 3, 3, density=0.5)
    for side in (5, 6, 5, 6):
        layer(torch.zeros(1, 2, side, side))
    assert len(layer._structures) == 2
    kept = layer._structures[5, 5]
    layer(torch.zeros(4, 2, 5, 5))
    assert layer._structures[5, 5] is kept
    for side in range(5, 40):
        layer(torch.zeros(1, 2, side, side))
    assert len(layer._structures) < 20


def test_indices_that_change_are_noticed():
    layer = SparseLinear(4, 2, bias=False, indices=torch.tensor([0, 5]))
    inputs = torch.tensor([[1.0, 10, 100, 1000]])
    layer.values.data.fill_(1)
    assert layer(inputs).tolist() == [[1, 10]]
    layer.replace_nonzeros(torch.tensor([2, 3, 4]), torch.ones(3))
    assert layer(inputs).tolist() == [[1100, 1]]
    layer.indices[0] = 1
    with pytest.raises(SpecError, match="or indices changed in place; change nonzeros with rewire"):
        layer(inputs)


# dense and back


@CASES
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
def test_dense_and_back_bit_for_bit(make, shape, dtype):
    dense = make().to(dtype)
    flat = dense.weight.data.view(-1)
    flat[::3] = 0.0
    flat[1::3] = -0.0
    mask = random_mask(tuple(dense.weight.shape), 0.6)
    sparse = SparseLayer.from_dense(dense, mask)
    expected = torch.where(mask, dense.weight.data, torch.zeros((), dtype=dtype))
    back = sparse.to_dense()
    assert type(back) is type(dense)
    assert repr(back) == repr(dense)
    assert same_bits(back.weight, expected)
    assert same_bits(sparse.weight(), expected)
    assert (back.bias is None) == (dense.bias is None)
    if dense.bias is not None:
        assert same_bits(back.bias, dense.bias)
        assert back.bias.data_ptr() != sparse.bias.data_ptr() != dense.bias.data_ptr()
    again = SparseLayer.from_dense(back, mask)
    assert torch.equal(again.indices, sparse.indices)
    assert same_bits(again.values, sparse.values)


def test_without_a_mask_the_nonzeros_stay():
    dense = nn.Linear(3, 2)
    dense.weight.data = torch.tensor([[1.0, 0.0, -0.0], [math.nan, 0.0, -2.0]])
    sparse = SparseLayer.from_dense(dense)
    assert sparse.indices.tolist() == [0, 3, 5]
    assert type(sparse) is SparseLinear


def test_conversion_keeps_the_random_state_and_what_is_frozen():
    dense = nn.Conv1d(2, 3, 3).eval()
    dense.weight.requires_grad_(False)
    before = torch.get_rng_state()
    sparse = SparseConv1d.from_dense(dense)
    back = sparse.to_dense()
    assert torch.equal(torch.get_rng_state(), before)
    assert not sparse.values.requires_grad
    assert sparse.bias.requires_grad
    assert not sparse.training
    assert not back.weight.requires_grad
    assert back.bias.requires_grad
    assert not back.training


def test_wrong_layers_and_masks():
    with pytest.raises(SpecError, match=r"layer must be an nn.Linear or nn.Conv1d or nn.Conv2d, got ConvTranspose1d"):
        SparseLayer.from_dense(nn.ConvTranspose1d(1, 1, 1))
    with pytest.raises(SpecError, match=r"layer must be an nn.Linear, got Conv1d"):
        SparseLinear.from_dense(nn.Conv1d(1, 1, 1))
    with pytest.raises(SpecError, match="padding_mode must be 'zeros'"):
        SparseLayer.from_dense(nn.Conv2d(1, 1, 3, padding=1, padding_mode="reflect"))
    with pytest.raises(SpecError, match=r"mask must be a bool tensor of shape \(2, 3\)"):
        SparseLayer.from_dense(nn.Linear(3, 2), torch.ones(3, 2, dtype=torch.bool))
    with pytest.raises(SpecError, match="mask must be a bool"):
        SparseLayer.from_dense(nn.Linear(3, 2), torch.ones(2, 3))
    with pytest.raises(SpecError, match="dtype must be"):
        SparseLayer.from_dense(nn.Linear(3, 2).half())
    with pytest.raises(SpecError, match="must be on the CPU"):
        SparseLayer.from_dense(nn.Linear(3, 2, device="meta"))


# state


@CASES
def test_state_goes_into_a_layer_with_other_nonzeros(make, shape):
    _, sparse, mask = pair(make)
    other = SparseLayer.from_dense(make(), torch.zeros_like(mask))
    inputs = normal(*shape)
    other(inputs)  # makes its lists
    parameter = other.values
    other.load_state_dict(sparse.state_dict())
    assert other.values is parameter
    assert torch.equal(other.indices, sparse.indices)
    assert same_bits(other.values, sparse.values)
    assert torch.equal(other(inputs), sparse(inputs))
    assert set(sparse.state_dict()) == {"values", "indices", "checksum"} | (
        {"bias"} if sparse.bias is not None else set()
    )
    other.values.data.zero_()
    other.state_dict()["indices"].zero_()
    assert sparse.values.any()  # nothing is shared
    assert torch.equal(other.indices, sparse.indices)


def test_state_in_a_network_and_assigned():
    def make(density):
        return nn.Sequential(SparseLinear(9, 8, density=density), nn.ReLU(), SparseLinear(8, 3, density=0.5))

    one, two, three = make(0.5), make(0.2), make(0.1)
    two.load_state_dict(one.state_dict())
    three.load_state_dict(one.state_dict(), assign=True)
    inputs = normal(4, 9)
    assert torch.equal(one(inputs), two(inputs))
    assert torch.equal(one(inputs), three(inputs))


def test_wrong_state():
    layer = SparseLinear(4, 2, density=0.5)
    state = layer.state_dict()
    del state["checksum"]
    for indices in ([0, 1, 2, 8], [0, 1, 1, 2], [3, 2, 1, 0], [-1, 0, 1, 2]):
        with pytest.raises(RuntimeError, match="indices must be ascending"):
            layer.load_state_dict(state | {"indices": torch.tensor(indices)})
    with pytest.raises(RuntimeError, match="int64"):
        layer.load_state_dict(state | {"indices": torch.arange(4.0)})
    with pytest.raises(RuntimeError, match=r"values must be of shape \(1, 1, 3\)"):
        layer.load_state_dict(state | {"indices": torch.arange(3)})
    with pytest.raises(RuntimeError, match="Missing key"):
        layer.load_state_dict({"values": state["values"], "bias": state["bias"]})


@CASES
@pytest.mark.parametrize("copied", [copy.deepcopy, lambda layer: pickle.loads(pickle.dumps(layer))])
def test_copies(make, shape, copied):
    _, sparse, _ = pair(make)
    inputs = normal(*shape)
    expected = sparse(inputs)
    other = copied(sparse)
    assert torch.equal(other(inputs), expected)
    other.values.data.zero_()
    assert torch.equal(sparse(inputs), expected)
    assert b"Structure" not in pickle.dumps(sparse)


def test_other_dtypes():
    layer = SparseLinear(4, 3, density=0.5)
    layer(torch.zeros(2, 4))
    assert layer.double()(torch.zeros(2, 4, dtype=torch.float64)).dtype == torch.float64
    assert layer.indices.dtype == torch.int64
    with pytest.raises(SpecError, match=r"inputs must be torch.float64 on the CPU, as the layer is, got torch.float32"):
        layer(torch.zeros(2, 4))
    with pytest.raises(
        SpecError, match=r"computes in float32 or float64 on the CPU, but this one is in torch.bfloat16"
    ):
        layer.bfloat16()(torch.zeros(2, 4, dtype=torch.bfloat16))
    with pytest.raises(SpecError, match="dtype must be"):
        SparseLinear(4, 3, density=0.5, dtype=torch.float16)
    with pytest.raises(SpecError, match="on meta"):
        SparseLinear(4, 3, density=0.5).to("meta")(torch.zeros(2, 4))


# training


OPTIMIZERS = {
    "sgd": lambda parameters: torch.optim.SGD(parameters, lr=0.05),
    "momentum": lambda parameters: torch.optim.SGD(parameters, lr=0.02, momentum=0.9, weight_decay=1e-3),
    "nesterov": lambda parameters: torch.optim.SGD(parameters, lr=0.02, momentum=0.9, nesterov=True),
    "adam": lambda parameters: torch.optim.Adam(parameters, lr=1e-2),
    "adamw": lambda parameters: torch.optim.AdamW(parameters, lr=1e-2, weight_decay=0.1),
}


class Masked(nn.Module):
    """A dense layer whose weight is multiplied with its mask: what a sparse layer has to equal."""

    def __init__(self, layer, mask):
        super().__init__()
        self.layer, self.mask = layer, mask

    def forward(self, inputs):
        return torch.func.functional_call(self.layer, {"weight": self.layer.weight * self.mask}, (inputs,))


@pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
@pytest.mark.usefixtures("number_of_threads")
def test_ten_steps_are_those_of_a_masked_network(optimizer):
    layers = [nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, stride=2, groups=2), nn.Linear(8 * 3 * 3, 5)]
    pairs = [pair(lambda layer=layer: layer) for layer in layers]
    networks = [
        nn.Sequential(one, nn.ReLU(), two, nn.ReLU(), nn.Flatten(), three)
        for one, two, three in (
            [Masked(copy.deepcopy(dense), mask) for dense, _, mask in pairs],
            [sparse for _, sparse, _ in pairs],
        )
    ]
    for network in networks:
        optimise = optimizer(network.parameters())
        for step in range(10):
            inputs, labels = normal(20, 3, 8, 8, seed=step), torch.arange(20) % 5
            optimise.zero_grad()
            nn.functional.cross_entropy(network(inputs), labels).backward()
            optimise.step()
    for masked, sparse in zip(networks[0], networks[1], strict=True):
        if isinstance(sparse, SparseLayer):
            expected = at_nonzeros(sparse, masked.layer.weight)
            assert (sparse.values - expected).norm() <= 1e-4 * expected.norm()
            assert (sparse.bias - masked.layer.bias).norm() <= 1e-4 * masked.layer.bias.norm()


# random structures


@settings(max_examples=40)
@given(st.integers(0, 300), st.fractions(0, 1), st.integers(0, 5))
def test_random_indices(size, density, seed):
    count = int(size * density)
    found = random_indices(count, size, generator(seed))
    assert found.dtype == torch.int64
    assert len(found) == count
    assert found.tolist() == sorted(set(found.tolist()))
    assert not count or (found[0] >= 0 and found[-1] < size)
    assert torch.equal(found, random_indices(count, size, generator(seed)))


@pytest.mark.parametrize("count", [1, 4, 6, 9])
def test_random_indices_are_equally_likely(count):
    draws, size = 4000, 10
    drawn = generator(0)
    counts = torch.zeros(size)
    for _ in range(draws):
        counts[random_indices(count, size, drawn)] += 1
    share = count / size
    assert ((counts / draws - share).abs() < 5 * math.sqrt(share * (1 - share) / draws)).all()


@given(st.integers(0, 50), st.integers(0, 50), st.decimals(0, 1, places=3).map(float))
def test_exactly_as_many_as_asked_for(inputs, outputs, density):
    layer = SparseLinear(inputs, outputs, density=density)
    assert layer.nonzeros == int(Fraction(str(density)) * inputs * outputs + Fraction(1, 2))


def test_values_of_random_structures():
    layer = SparseLinear(1000, 400, density=0.04)
    bound = 1 / math.sqrt(40)
    assert 0.99 * bound < layer.values.abs().max() <= bound
    assert 0.9 / math.sqrt(1000) < layer.bias.abs().max() <= 1 / math.sqrt(1000)
    outputs = layer(normal(500, 1000))
    dense = nn.Linear(1000, 400)(normal(500, 1000))
    assert (outputs.std() / dense.std()).item() == pytest.approx(1, abs=0.05)
    again = [SparseLinear(30, 20, density=0.3, generator=generator(5)) for _ in range(2)]
    assert torch.equal(again[0].weight(), again[1].weight())
    assert not torch.equal(again[0].weight(), SparseLinear(30, 20, density=0.3).weight())
    conv = SparseConv2d(64, 32, 3, density=0.1, bias=False)
    assert conv.values.abs().max().item() == pytest.approx(1 / math.sqrt(57.6), rel=0.01)
    few = SparseLinear(10, 1000, density=0.001)  # less than one nonzero a row
    assert few.values.abs().max() <= 1


@pytest.mark.parametrize("density", [0.02, 0.2, 0.7, 1])
def test_erdos_renyi_kernel_is_the_scope_of_pruning(density):
    shapes = {"b": (16, 3, 3, 3), "a": (32, 16, 3, 3), "fc": (10, 32), "none": (0, 5)}
    found = erdos_renyi_kernel(shapes, density)
    counts = {name: found[name] * size(shape) for name, shape in shapes.items()}
    total = sum(map(size, shapes.values()))
    assert sum(counts.values()) == int(Fraction(str(density)) * total + Fraction(1, 2))
    tensors = [Counted(name, "linear", shape, size(shape), 0) for name, shape in shapes.items()]
    assert counts == ERK().quotas(tensors, int(sum(counts.values())))
    layer = SparseConv2d(16, 32, 3, density=found["a"])
    assert layer.nonzeros == counts["a"]


def test_nothing_of_dense_size():
    """The weight of this layer would take 4 TB."""
    features = 1_000_000
    layer = SparseLinear(features, features, density=1e-9, bias=False)
    assert layer.nonzeros == 1000
    inputs = torch.ones(1, features, requires_grad=True)
    layer(inputs).sum().backward()
    assert torch.equal(layer.values.grad, torch.ones(1, 1, 1000))
    optimizer = torch.optim.Adam(layer.parameters())
    optimizer.step()
    state = copy.deepcopy(layer.state_dict())
    other = SparseLinear(features, features, bias=False, indices=torch.tensor([7]))
    other.load_state_dict(state)
    assert same_bits(other.values, layer.values)


# arguments


def test_wrong_arguments():
    for options in ({}, {"density": 0.5, "indices": torch.tensor([0])}):
        with pytest.raises(SpecError, match="give either density"):
            SparseLinear(4, 3, **options)
    for density in (-0.1, 1.1, math.nan, "a", True):
        with pytest.raises(SpecError, match="density must be"):
            SparseLinear(4, 3, density=density)
    for indices in ([12], [-1], [1, 0], [2, 2]):
        with pytest.raises(SpecError, match="indices must be ascending"):
            SparseLinear(4, 3, indices=torch.tensor(indices))
    with pytest.raises(SpecError, match=r"one-dimensional int64 tensor on the CPU, got torch.int32"):
        SparseLinear(4, 3, indices=torch.tensor([1], dtype=torch.int32))
    with pytest.raises(SpecError, match=r"can have 2,147,483,647 nonzeros, got 4,000,000,000"):
        SparseLinear(10**6, 10**6, density=0.004)
    with pytest.raises(SpecError, match=r"SparseLinear: RuntimeError: .* negative dimension -1"):
        SparseLinear(-1, 3, density=1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"padding_mode": "circular"}, "padding_mode must be 'zeros' for a sparse convolution, got 'circular'"),
        ({"padding": "half"}, "Invalid padding string 'half'"),
        ({"padding": "same", "stride": 2}, "padding='same' is not supported for strided"),
        ({"padding": -1}, "padding must be 0 or more"),
        ({"stride": 0}, "stride must be 1 or more"),
        ({"dilation": (1, 1, 1)}, "dilation must be 1 or more, one number or 2"),
        ({"groups": 3}, "in_channels must be divisible by groups"),
        ({"groups": 0}, "groups must be a positive integer"),
    ],
)
def test_wrong_arguments_of_a_convolution(options, message):
    with pytest.raises(SpecError, match=message):
        SparseConv2d(4, 6, 3, density=0.5, **options)


@pytest.mark.parametrize(
    ("layer", "shape", "message"),
    [
        (SparseLinear(4, 3, density=1), (2, 5), r"\(\*, 4\), got \(2, 5\)"),
        (SparseLinear(4, 3, density=1), (), r"got \(\)"),
        (SparseConv1d(4, 3, 3, density=1), (2, 5, 7), r"\(batch, 4, length\), got \(2, 5, 7\)"),
        (SparseConv2d(4, 3, 3, density=1), (7, 7), r"\(batch, 4, height, width\), got \(7, 7\)"),
        (SparseConv2d(4, 3, 3, density=1), (1, 4, 7, 2), r"at least as large as the kernel, got sizes \(7, 2\)"),
    ],
)
def test_wrong_shapes(layer, shape, message):
    with pytest.raises(SpecError, match=message):
        layer(torch.zeros(shape))


def test_wrong_tiles():
    with pytest.raises(SpecError, match=r"inputs must have 4 features, got \(5,\)"):
        on_tiles(SparseLinear(4, 3, density=1), torch.zeros(1, 5, 2))
    with pytest.raises(SpecError, match=r"inputs must be length with 4 channels, got \(4, 5\)"):
        on_tiles(SparseConv1d(4, 3, 1, density=1), torch.zeros(1, 4, 5, 2))


def test_repr():
    assert repr(SparseLinear(4, 3, density=0.5)) == "SparseLinear(in_features=4, out_features=3, bias=True, nonzeros=6)"
    assert "nonzeros=27" in repr(SparseConv2d(2, 3, 3, density=0.5))
