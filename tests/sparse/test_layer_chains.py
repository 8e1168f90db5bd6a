"""Chains of sparse layers as one operation, against the same layers one by one."""

from __future__ import annotations

import weakref
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sparse_cases import close, in_a_row, normal, poisoned_memory, same_bits, threads
from torch import Tensor, nn

from overparam.networks.resnet import Basic
from overparam.sparse import SparseConv2d, SparseLinear, convert, rewire
from overparam.sparse.layers import autograd
from overparam.sparse.layers.autograd import KEPT_PROGRAMS, fused_layers
from overparam.sparse.layers.fused import Borders, FusedPrograms
from overparam.sparse.layers.kinds import SparseLayer
from overparam.sparse.layers.layout import tile_width, transposed
from overparam.sparse.networks.tiles import Elementwise, FusedLayers, OnTiles, Tiles, to_first

BATCHES = st.sampled_from([0, 1, 3, 16, 30, 32, 63, 64, 96, 128, 130, 192])
LAST, FIRST = Borders(), Borders(True, True)


@pytest.fixture(params=[1, 2, 3], ids=["one thread", "two threads", "three threads"], autouse=True)
def number_of_threads(request, monkeypatch):
    monkeypatch.setattr(autograd, "WORK", 1)  # else so little work would be done by one thread
    with threads(request.param), poisoned_memory():
        yield


def perceptron(sizes: list[int], density: float, dtype: torch.dtype) -> list[SparseLayer]:
    generator = torch.Generator().manual_seed(0)
    return [
        SparseLinear(one, two, bias=number != 1, density=density, generator=generator, dtype=dtype)
        for number, (one, two) in enumerate(pairwise(sizes))
    ]


def convolutions(density: float, dtype: torch.dtype) -> list[SparseLayer]:
    generator = torch.Generator().manual_seed(0)
    options = {"density": density, "generator": generator, "dtype": dtype}
    return [
        SparseConv2d(2, 4, 3, padding=1, **options),
        SparseConv2d(4, 6, 3, stride=2, groups=2, bias=False, **options),
        SparseConv2d(6, 3, 2, **options),
    ]


def one_by_one(layers: list[SparseLayer], relus: list[bool], inputs: Tensor) -> Tensor:
    for layer, relu in zip(layers, relus, strict=True):
        inputs = layer(inputs)
        inputs = inputs.relu() if relu else inputs
    return inputs


def gradients(outputs: Tensor, inputs: Tensor, layers: list[SparseLayer], errors: Tensor) -> list[Tensor]:
    wanted = [inputs, *(parameter for layer in layers for parameter in layer.parameters())]
    return list(torch.autograd.grad(outputs, [each for each in wanted if each.requires_grad], errors))


def check(layers: list[SparseLayer], relus: list[bool], inputs: Tensor, borders: Borders) -> None:
    """Compare outputs and all gradients; with ReLUs that see exact zeros, as an output of a row without nonzeros is."""
    expected = one_by_one(layers, relus, inputs)
    errors = normal(*expected.shape, dtype=inputs.dtype, seed=5)
    width = tile_width(len(inputs), inputs.element_size(), torch.get_num_threads())
    given_inputs = inputs if borders.inputs else transposed(inputs, width)
    shape = (*inputs.shape[2:], inputs.shape[1])
    links = []
    for layer, relu in zip(layers, relus, strict=True):
        links.append(layer.link(shape, relu=relu))
        shape = links[-1].structure.output
    outputs = fused_layers(given_inputs, links, borders)
    found = outputs if borders.outputs else transposed(outputs)
    assert close(found, expected)
    wanted = gradients(expected, inputs, layers, errors)
    for one, two in zip(gradients(found, inputs, layers, errors), wanted, strict=True):
        assert close(one, two)


CHAIN = {
    "borders": st.builds(Borders, st.booleans(), st.booleans()),
    "relus": st.lists(st.booleans(), min_size=3, max_size=3),
    "dtype": st.sampled_from([torch.float32, torch.float64]),
    "density": st.sampled_from([0.0, 0.2, 1.0]),
    "batch": BATCHES,
}


@settings(max_examples=25)
@given(sizes=st.lists(st.sampled_from([0, 1, 5, 33]), min_size=4, max_size=4), **CHAIN)
def test_linear_layers(sizes, borders, relus, dtype, density, batch):
    inputs = normal(batch, sizes[0], dtype=dtype).requires_grad_()
    check(perceptron(sizes, density, dtype), relus, inputs, borders)


@settings(max_examples=25)
@given(**CHAIN)
def test_convolutions(borders, relus, dtype, density, batch):
    inputs = normal(batch, 2, 7, 6, dtype=dtype).requires_grad_()
    check(convolutions(density, dtype), relus, inputs, borders)


@settings(max_examples=25)
@given(frozen=st.lists(st.booleans(), min_size=6, max_size=6), relus=CHAIN["relus"], borders=CHAIN["borders"])
def test_what_is_frozen_gets_no_gradient(frozen, relus, borders):
    layers = perceptron([5, 7, 6, 4], 0.5, torch.float32)
    parameters = [parameter for layer in layers for parameter in layer.parameters()]
    for parameter, freeze in zip(parameters, frozen, strict=False):
        parameter.requires_grad_(not freeze)
    inputs = normal(32, 5).requires_grad_(frozen[-1] or all(not each.requires_grad for each in parameters))
    check(layers, relus, inputs, borders)


def test_without_gradients_nothing_is_kept_and_no_bit_changes():
    layers, inputs = perceptron([9, 133, 20, 233, 4], 0.3, torch.float32), normal(192, 9)
    relus = [True, False, True, False]
    with_gradients = in_a_row(layers, relus, True, inputs.clone().requires_grad_())
    assert with_gradients.requires_grad
    for _ in range(20):  # threads may overtake each other
        with torch.no_grad():
            without = in_a_row(layers, relus, True, inputs)
        assert not without.requires_grad
        assert same_bits(with_gradients, without)


def test_frozen_layers_pass_errors_on():
    layers, inputs = perceptron([9, 133, 20, 233, 4], 0.3, torch.float32), normal(192, 9).requires_grad_()
    for layer in layers:
        layer.requires_grad_(False)
    for _ in range(20):  # threads may overtake each other
        check(layers, [True, True, False, True], inputs, FIRST)


def test_gradcheck():
    layers = perceptron([4, 6, 5, 3], 0.6, torch.float64)
    inputs = normal(10, 4, dtype=torch.float64).requires_grad_()
    numbers = [each for layer in layers for each in (layer.values, layer.bias) if each is not None]

    def function(inputs: Tensor, *numbers: Tensor) -> Tensor:
        return in_a_row(layers, [True, True, False], True, inputs)

    assert torch.autograd.gradcheck(function, (inputs, *numbers))


def test_a_layer_twice_in_a_chain():
    layer = SparseLinear(8, 8, density=0.5)
    inputs = normal(32, 8).requires_grad_()
    check([layer, layer], [True, True], inputs, FIRST)


def test_gradients_can_be_changed_one_by_one():
    layers = perceptron([6, 5, 4], 0.5, torch.float32)
    in_a_row(layers, [True, False], True, normal(16, 6)).sum().backward()
    before = [parameter.grad.clone() for layer in layers for parameter in layer.parameters()]
    layers[0].values.grad.zero_()
    after = [parameter.grad for layer in layers for parameter in layer.parameters()]
    assert not after[0].any()
    assert all(same_bits(one, two) for one, two in zip(before[1:], after[1:], strict=True))


@pytest.fixture
def made(monkeypatch) -> list[int]:
    """The batch sizes that programs are made for."""
    sizes = []

    def counted(*args):
        found = FusedPrograms(*args)
        sizes.append(found.tiles * found.width)
        return found

    monkeypatch.setattr(autograd, "FusedPrograms", counted)
    return sizes


def test_programs_are_made_once_for_each_shape_of_batch(made):
    """Batches of all sizes in any order, as with texts of different lengths: an epoch makes what all others use."""
    layer = SparseLinear(6, 5, density=0.5)
    every = [*range(1, 129, 8), 130, 192]
    for _ in range(3):
        for batch in every:
            layer(normal(batch, 6)).sum().backward()
        kept = autograd._thread.memory
    assert made == every
    layer(normal(every[0], 6))
    assert autograd._thread.memory is kept  # nor is scratch memory made anew


def test_a_batch_that_cannot_be_cut_evenly_is_whole_tiles_and_a_rest(made):
    layers = perceptron([6, 5, 4], 0.5, torch.float32)
    for batch in (131, 257, 258, 259, 131, 387 + 4):
        inputs = normal(batch, 6).requires_grad_()
        outputs = in_a_row(layers, [True, False], True, inputs)
        given = inputs.detach().requires_grad_()
        expected = one_by_one(layers, [True, False], given)
        assert close(outputs, expected)
        errors = normal(batch, 4)
        for found, wanted in zip(
            gradients(outputs, inputs, layers, errors), gradients(expected, given, layers, errors), strict=True
        ):
            assert close(found, wanted)
    chains = layers[0].link((6,)).structure.programs.values()
    assert sorted({chain.tiles * chain.width for chain in chains if len(chain.structures) == 2}) == [
        1,
        3,
        7,
        128,
        256,
        258,
        384,
    ]


def test_programs_are_not_kept_without_end(monkeypatch):
    monkeypatch.setattr(autograd, "KEPT_PROGRAMS", 8)
    layer = SparseLinear(6, 5, density=0.5)
    for batch in range(1, 30):
        layer(normal(batch, 6))
    assert len(layer.link((6,)).structure.programs) == 8


def dense_network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        *(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()),
        *(nn.Linear(36, 20), nn.ReLU(inplace=True), nn.Linear(20, 10), nn.Tanh(), nn.Linear(10, 5)),
    )


def rows(network):
    """Paths of the layers that are one operation, and whether a ReLU follows each."""
    paths = {part: path for path, part in network.model.named_modules()}
    found = [row for row in network._fused.modules() if isinstance(row, FusedLayers)]
    return [([paths[layer] for layer in row.layers], row.relus) for row in found]


def test_conversion_joins_layers():
    model = dense_network()
    masks = {name: torch.rand(each.shape) < 0.5 for name, each in model.named_parameters() if each.dim() > 1}
    network = convert(model, masks)
    assert rows(network) == [(["0", "2"], [True, True]), (["6", "8"], [True, False]), (["10"], [False])]
    assert [row.first for row in network._fused.modules() if isinstance(row, FusedLayers)] == [False, False, True]
    inputs = normal(32, 1, 8, 8)
    with torch.no_grad():
        for name, mask in masks.items():
            model.get_parameter(name).mul_(mask)
        assert close(network(inputs), model(inputs))


def test_what_is_used_elsewhere_is_not_joined():
    """A block's input goes to its shortcut as well, and its last convolution's output is added to that."""
    model = nn.Sequential(nn.Conv2d(2, 3, 1), nn.ReLU(), Basic(3, 3, 1)).eval()
    network = convert(model)
    assert rows(network) == [
        (["0"], [True]),
        (["2.conv1"], [False]),
        (["2.conv2"], [False]),
    ]
    inputs = normal(10, 2, 4, 4)
    assert close(network(inputs), model(inputs))


def test_tiles_of_branches_have_one_width(monkeypatch):
    """The chains of a block's branch and of its shortcut do different amounts of work."""
    monkeypatch.undo()
    model = nn.Sequential(Basic(8, 16, 2)).eval()
    network = convert(model)
    inputs = normal(128, 8, 8, 8)
    assert close(network(inputs), model(inputs))


def test_features_stay_in_order_where_widths_differ():
    one = OnTiles(nn.Flatten())(Tiles(transposed(normal(64, 3, 2, 2), 32)))
    other = OnTiles(nn.Flatten())(Tiles(transposed(normal(64, 3, 2, 2, seed=1), 64)))
    found = to_first(Elementwise(torch.add)(one, other))
    assert close(found, (normal(64, 3, 2, 2) + normal(64, 3, 2, 2, seed=1)).flatten(1))


@pytest.mark.parametrize("frozen", [True, False], ids=["frozen", "only values"])
@pytest.mark.parametrize("grown", [0, 10])
def test_nonzeros_that_change_before_the_way_back_are_noticed(frozen, grown):
    layer = SparseLinear(20, 20, density=0.5, bias=False)
    layer.values.requires_grad_(not frozen)
    outputs = layer(normal(32, 20).requires_grad_(frozen))
    free = (~layer.mask()).reshape(-1).nonzero().reshape(-1)
    rewire(layer, drop=torch.arange(10), grow=free[:grown])
    with pytest.raises(RuntimeError, match="were replaced between its forward and its backward"):
        outputs.sum().backward()


@pytest.mark.parametrize("changed", ["bias", "values", "inputs"])
def test_what_the_way_back_does_not_read_may_change(changed):
    layer = SparseLinear(6, 5, density=0.5)
    layer.values.requires_grad_(changed == "values")
    layer.bias.requires_grad_(changed != "inputs")
    inputs = normal(32, 6).requires_grad_(changed == "inputs")
    given = inputs * 1
    outputs = layer(given)
    with torch.no_grad():
        {"bias": layer.bias, "values": layer.values, "inputs": given}[changed].add_(1)
    outputs.sum().backward()


def test_programs_go_with_the_nonzeros():
    layers = perceptron([6, 5, 4], 0.5, torch.float32)
    structures = []
    for _ in range(3):
        in_a_row(layers, [True, False], True, normal(16, 6))
        structures.append(weakref.ref(layers[1].link((5,)).structure))
        rewire(layers[1], drop=torch.arange(1), grow=torch.zeros(0, dtype=torch.int64))
        in_a_row(layers, [True, False], True, normal(16, 6))
    assert [reference() is None for reference in structures] == [True] * 3
    assert len(layers[0].link((6,)).structure.programs) == 1


def test_programs_stay_few_with_many_callers():
    layer = SparseLinear(6, 5, density=0.5)

    def call(start: int) -> None:
        for batch in range(start, start + 40):
            layer(normal(batch, 6))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(call, [1, 50, 100, 150]))
    assert len(layer.link((6,)).structure.programs) <= KEPT_PROGRAMS


def test_another_default_device():
    layer, inputs = SparseLinear(600, 500, density=0.5), normal(128, 600)
    expected = layer(inputs)
    autograd._thread.__dict__.clear()
    with torch.device("meta"):
        found = layer(inputs)
    assert same_bits(found, expected)


@pytest.mark.parametrize("batch", [3, 32])
@pytest.mark.parametrize("borders", [LAST, FIRST])
def test_not_a_number_goes_back_as_in_torch(batch, borders):
    layers = perceptron([4, 4, 3], 1.0, torch.float32)
    inputs = normal(batch, 4)
    inputs[0] = torch.nan
    inputs.requires_grad_()
    width = tile_width(batch, 4, torch.get_num_threads())
    links = [layer.link((layer.in_features,), relu=True) for layer in layers]
    outputs = fused_layers(inputs if borders.inputs else transposed(inputs, width), links, borders)
    found = outputs if borders.outputs else transposed(outputs)
    expected = one_by_one(layers, [True, True], inputs)
    for one, two in zip(
        *(gradients(each, inputs, layers, torch.ones(batch, 3)) for each in (found, expected)), strict=True
    ):
        assert torch.equal(one.isnan(), two.isnan())
        assert close(one.nan_to_num(), two.nan_to_num())


def test_layers_with_hooks_stay_as_they_are():
    model = dense_network()
    seen = []
    model[1].register_full_backward_hook(lambda *_: seen.append("relu"))
    model[8].register_full_backward_hook(lambda *_: seen.append("linear"))
    network = convert(model)
    network(normal(8, 1, 8, 8).requires_grad_()).sum().backward()
    assert seen == ["linear", "relu"]
    assert not network.whole
