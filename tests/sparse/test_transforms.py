"""Sparse layers under what looks into operations: second derivatives, torch.func, export, compile, autocast."""

from __future__ import annotations

import pytest
import torch
from sparse_cases import CASES, close, in_a_row, normal, pair
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.func import functional_call, grad, hessian, jvp, stack_module_state, vmap
from torch.fx.experimental.proxy_tensor import make_fx

from overparam.errors import SpecError
from overparam.prune import apply_masks, prune
from overparam.sparse import SparseConv2d, SparseLinear, convert
from overparam.sparse.layers.autograd import FIRST, LAST, fused_layers
from overparam.sparse.layers.layout import transposed

F64 = torch.float64
TORCH_S_OWN = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore:The .grad attribute of a Tensor", "ignore::torch.jit.TracerWarning"
)


@pytest.fixture(autouse=True)
def _same_numbers() -> None:
    torch.manual_seed(0)


class Mixed(nn.Module):
    """Convolutions and linear layers, some of them dense, with all that stands between them."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), nn.Tanh(), nn.AvgPool2d(2))
        self.head = nn.Sequential(nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 6), nn.Tanh(), nn.Linear(6, 1))

    def forward(self, inputs: Tensor) -> Tensor:
        return self.head(self.features(inputs).flatten(1))


def twins(dtype: torch.dtype = F64) -> tuple[nn.Module, nn.Module]:
    """A dense network with zeros and what it is converted to, with a layer that stays dense within."""
    model = Mixed().to(dtype).eval()
    masks = prune(model, density=0.5)
    apply_masks(model, masks)
    return model, convert(model, masks, dense=["head.2.weight"])


# second derivatives


@CASES
@pytest.mark.filterwarnings("ignore:Using padding='same'")
def test_second_derivatives(make, shape):
    _, sparse, _ = pair(make, dtype=F64)
    inputs = normal(*shape, dtype=F64).requires_grad_()
    names = list(dict(sparse.named_parameters()))

    def outputs(inputs, *parameters):
        found = functional_call(sparse, dict(zip(names, parameters, strict=True)), (inputs,))
        return found * found  # so that the gradients of values depend on the outputs' gradient, too

    assert torch.autograd.gradgradcheck(outputs, (inputs, *sparse.parameters()), fast_mode=True)


@pytest.mark.parametrize("borders", [FIRST, LAST])
@pytest.mark.parametrize("frozen", [(), (0,), (1, 2), (3, 4), (1, 2, 3, 4)], ids=str)
def test_second_derivatives_of_chains(frozen, borders):
    layers = [SparseLinear(4, 6, density=0.6, dtype=F64), SparseLinear(6, 3, density=0.6, dtype=F64)]
    given = [normal(5, 4, dtype=F64), *(each for layer in layers for each in (layer.values.data, layer.bias.data))]
    given = [each.clone().requires_grad_(place not in frozen) for place, each in enumerate(given)]

    def outputs(inputs, *numbers):
        links = [
            layer.link((layer.in_features,), relu=layer is layers[0])._replace(values=values, bias=bias)
            for layer, values, bias in zip(layers, numbers[::2], numbers[1::2], strict=True)
        ]
        tiles = inputs if borders.inputs else transposed(inputs, 5)
        found = fused_layers(tiles, links, borders)
        return (found if borders.outputs else transposed(found)).square()

    assert torch.autograd.gradgradcheck(outputs, tuple(given))


def test_second_derivatives_of_a_layer_that_comes_twice():
    layer = SparseLinear(4, 4, density=0.6, dtype=F64)
    inputs = normal(5, 4, dtype=F64).requires_grad_()

    def outputs(inputs, values, bias):
        links = [layer.link((4,), relu=True)._replace(values=values, bias=bias)] * 2
        return fused_layers(inputs, links, FIRST).square()

    assert torch.autograd.gradgradcheck(outputs, (inputs, *layer.parameters()))


def penalty(critic: nn.Module, data: Tensor) -> Tensor:
    """The loss of a WGAN's critic with a gradient penalty."""
    inputs = data.clone().requires_grad_()
    outputs = critic(inputs)
    (slope,) = torch.autograd.grad(outputs.sum(), inputs, create_graph=True)
    return 10 * ((slope.flatten(1).norm(dim=1) - 1) ** 2).mean() - outputs.mean()


def test_a_gradient_penalty_is_that_of_the_dense_network():
    model, network = twins()
    data, masks = normal(6, 2, 4, 4, dtype=F64), network.masks()
    expected, found = penalty(model, data), penalty(network, data)
    assert close(found, expected)
    expected.backward()
    found.backward()
    wanted = dict(model.named_parameters())
    for name, parameter in network.named_parameters():
        gradient = wanted[network.names[name]].grad
        mask = masks.get(network.names[name])
        if name.endswith("values"):
            gradient = gradient[mask].view(1, 1, -1)
        elif mask is not None:
            gradient = gradient * mask
        assert close(parameter.grad, gradient)
        assert parameter.grad.any()


def test_without_create_graph_the_kernels_compute(monkeypatch):
    layer = SparseLinear(4, 3, density=0.5)
    monkeypatch.setattr("overparam.sparse.layers.autograd.layer_product", None)
    layer(normal(5, 4).requires_grad_()).sum().backward()


def test_what_changes_before_a_second_derivative_is_noticed():
    layer = SparseLinear(4, 3, density=0.5)
    outputs = layer(normal(5, 4).requires_grad_())
    with torch.no_grad():
        layer.bias.add_(1)
    with pytest.raises(RuntimeError, match="changed in place between its forward and a backward with create_graph"):
        torch.autograd.grad(outputs.sum(), [layer.values], create_graph=True)


def test_inputs_that_are_not_contiguous_have_second_derivatives():
    layer = SparseConv2d(2, 3, 3, density=0.5, dtype=F64)
    inputs = normal(2, 4, 4, 2, dtype=F64).requires_grad_()
    assert torch.autograd.gradgradcheck(lambda given: layer(given.permute(0, 3, 1, 2)).square(), (inputs,))


# torch.func


@TORCH_S_OWN
def test_torch_func_is_that_of_the_dense_network():
    model, network = twins()
    data, direction = normal(3, 2, 4, 4, dtype=F64), normal(3, 2, 4, 4, dtype=F64, seed=1)

    def scalar(net):
        return lambda given: net(given).square().sum()

    for one, two in (
        (grad(scalar(network))(data), grad(scalar(model))(data)),
        (jvp(network, (data,), (direction,))[1], jvp(model, (data,), (direction,))[1]),
        (vmap(network)(data[:, None]), vmap(model)(data[:, None])),
        (hessian(scalar(network))(data[:1]), hessian(scalar(model))(data[:1])),
    ):
        assert close(one, two)


@CASES
def test_gradients_of_each_example(make, shape):
    _, sparse, _ = pair(make, dtype=F64)
    inputs = normal(3, *shape, dtype=F64)
    parameters = {name: each.detach() for name, each in sparse.named_parameters()}

    def loss(parameters, given):
        return functional_call(sparse, parameters, (given,)).square().sum()

    found = vmap(grad(loss), in_dims=(None, 0))(parameters, inputs)
    for place, one in enumerate(inputs):
        sparse.zero_grad()
        sparse(one).square().sum().backward()
        for name, parameter in sparse.named_parameters():
            assert close(found[name][place], parameter.grad)


def test_ensembles_are_of_layers_with_the_same_nonzeros():
    one = SparseLinear(4, 3, density=0.5)
    two = SparseLinear(4, 3, indices=one.indices)
    other = SparseLinear(4, 3, density=0.5)
    inputs = normal(5, 4)

    def call(parameters, buffers):
        return functional_call(one, (parameters, buffers), (inputs,))

    found = vmap(call)(*stack_module_state([one, two]))
    assert close(found, torch.stack([one(inputs), two(inputs)]))
    with pytest.raises(SpecError, match="layer of other nonzeros"):
        vmap(call)(*stack_module_state([one, other]))


@TORCH_S_OWN
def test_other_ways_to_differentiate():
    layer = SparseLinear(4, 3, density=0.5, dtype=F64)
    inputs, direction = normal(5, 4, dtype=F64).requires_grad_(), normal(5, 4, dtype=F64, seed=1)
    expected = direction @ layer.weight().T
    with forward_ad.dual_level():
        outputs = layer(forward_ad.make_dual(inputs, direction))
        assert close(forward_ad.unpack_dual(outputs).tangent, expected)
    outputs = layer(inputs)
    errors = normal(7, *outputs.shape, dtype=F64)
    (found,) = torch.autograd.grad(outputs, inputs, errors, is_grads_batched=True)
    assert close(found, errors @ layer.weight())


# graphs


@TORCH_S_OWN
@pytest.mark.parametrize("kind", ["linear", "convolution", "network"])
def test_graphs_compute_the_same(kind):
    made = {
        "linear": lambda: SparseLinear(8, 3, density=0.5),
        "convolution": lambda: SparseConv2d(2, 3, 3, density=0.5),
        "network": lambda: twins(torch.float32)[1],
    }
    layer = made[kind]()
    example = normal(3, *((8,) if kind == "linear" else (2, 4, 4)))
    other = example + 1
    expected = layer(other)
    assert close(torch.export.export(layer, (example,)).module()(other), expected)
    assert close(make_fx(layer)(example)(other), expected)
    assert close(torch.jit.trace(layer, (example,))(other), expected)
    with pytest.raises(SpecError, match=r"cannot be scripted; take torch.export, torch.jit.trace"):
        torch.jit.script(layer)


@pytest.mark.parametrize("make", [lambda: SparseLinear(8, 3, density=0.5), lambda: SparseConv2d(2, 3, 3, density=0.5)])
def test_exported_layers_take_any_batch(make):
    layer = make()
    shape = (8,) if isinstance(layer, SparseLinear) else (2, 4, 4)
    batch = torch.export.Dim("batch", min=1, max=1000)
    exported = torch.export.export(layer, (normal(3, *shape),), dynamic_shapes=({0: batch},)).module()
    for count in (1, 5, 300):
        assert close(exported(normal(count, *shape)), layer(normal(count, *shape)))


@TORCH_S_OWN
def test_compiled_networks(monkeypatch):
    monkeypatch.setattr("overparam.sparse.layers.autograd.layer_product", None)  # the kernels compute
    layers = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), SparseLinear(8, 4, density=0.5), nn.Tanh(), nn.Linear(4, 2))
    for model, inputs in ((layers, normal(5, 8)), (twins(torch.float32)[1], normal(3, 2, 4, 4))):
        compiled = torch.compile(model, backend="eager")
        results = []
        for each in (model, compiled, compiled):
            model.zero_grad()
            outputs = each(inputs)
            outputs.square().sum().backward()
            results.append([outputs, *(parameter.grad for parameter in model.parameters())])
        for expected, *found in zip(*results, strict=True):
            assert all(close(each, expected) for each in found)
    torch.compiler.reset()


# autocast


@pytest.mark.parametrize("low", [torch.bfloat16, torch.float16])
def test_autocast_is_that_of_the_dense_network(low):
    model, network = twins(torch.float32)
    inputs = normal(6, 2, 4, 4)
    exact, results = model(inputs), []
    for each in (model, network):
        with torch.autocast("cpu", dtype=low):
            outputs = each(inputs)
        outputs.float().square().sum().backward()
        results.append(outputs)
    assert results[0].dtype == results[1].dtype == low
    error = (results[0].float() - exact).abs().max()
    assert (results[1].float() - exact).abs().max() <= 2 * error + 1e-3
    for parameter in network.parameters():
        assert parameter.grad.dtype == torch.float32


@CASES
@pytest.mark.filterwarnings("ignore:Using padding='same'")
def test_a_layer_under_autocast(make, shape):
    dense, sparse, _ = pair(make)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        for dtype in (torch.bfloat16, torch.float32):
            inputs = normal(*shape).to(dtype).requires_grad_()
            found, expected = sparse(inputs), dense(inputs)
            assert found.dtype == expected.dtype == torch.bfloat16
            assert torch.allclose(found.float(), expected.float(), rtol=0.05, atol=0.05)
            found.sum().backward()
            assert inputs.grad.dtype == dtype
        with pytest.raises(
            SpecError, match=r"inputs must be torch.float32 on the CPU, as the layer is, got torch.float64"
        ):
            sparse(normal(*shape, dtype=F64))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert pair(make, dtype=F64)[1](normal(*shape, dtype=F64)).dtype == F64


def test_chains_under_autocast():
    layers = [SparseLinear(4, 6, density=0.6), SparseLinear(6, 3, density=0.6)]
    inputs = normal(5, 4)
    with torch.autocast("cpu"):
        found = in_a_row(layers, [True, False], True, inputs.bfloat16())
    assert torch.equal(found, in_a_row(layers, [True, False], True, inputs.bfloat16().float()).bfloat16())
