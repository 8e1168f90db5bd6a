"""Every architecture: shapes in and out, gradients everywhere, clear words for images that are too small."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from overparam.errors import SpecError
from overparam.networks import NETWORKS, Architecture, Network, tensor_roles
from small import IMAGE_NETWORKS

NARROW = {name: {"width": 0.1} if name != "mlp" else {"hidden": [5, 3]} for name in IMAGE_NETWORKS}
SMALLEST = {
    "lenet-5": 16,
    "conv-2": 2,
    "conv-4": 4,
    "conv-6": 8,
    "vgg-11": 16,
    "vgg-16": 16,
    "vgg-19": 16,
    "densenet": 4,
}


def narrow(name: str, shape: tuple[int, ...], classes: int) -> nn.Module:
    return Network(name, NARROW[name]).build(shape, classes, seed=0)


def check(module: nn.Module, shape: tuple[int, ...], classes: int, batch: int) -> None:
    """Outputs have their shape, and every parameter gets a finite gradient."""
    output = module(torch.randn(batch, *shape))
    assert output.shape == (batch, classes)
    output.square().sum().backward()
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


@pytest.mark.parametrize("name", IMAGE_NETWORKS)
@pytest.mark.parametrize(
    ("shape", "classes", "batch"), [((1, 28, 28), 10, 3), ((3, 17, 23), 7, 5), ((5, 16, 16), 1, 2)]
)
def test_forward_and_backward_on_odd_shapes(name: str, shape: tuple[int, ...], classes: int, batch: int) -> None:
    check(narrow(name, shape, classes), shape, classes, batch)


@pytest.mark.parametrize(("name", "side"), SMALLEST.items())
def test_the_smallest_image_works_and_a_smaller_one_is_refused(name: str, side: int) -> None:
    check(narrow(name, (1, side, side), 10), (1, side, side), 10, batch=2)
    for shape in [(1, side - 1, side), (3, side, side - 1)]:
        with pytest.raises(SpecError, match=f"'{name}' needs images of at least {side}x{side} pixels"):
            narrow(name, shape, 10)


@pytest.mark.parametrize("name", ["mlp", "lenet-300-100", "resnet-20", "resnet-18", "resnet-50"])
def test_a_single_pixel_is_enough_for_networks_without_a_smallest_image(name: str) -> None:
    check(narrow(name, (1, 1, 1), 3), (1, 1, 1), 3, batch=4)


@pytest.mark.parametrize("name", [name for name in IMAGE_NETWORKS if name not in ("mlp", "lenet-300-100")])
def test_flat_inputs_are_refused_by_image_networks(name: str) -> None:
    with pytest.raises(SpecError, match=r"needs images of shape \(channels, height, width\), got .*\(64,\)"):
        narrow(name, (64,), 10)


@pytest.mark.parametrize("shape", [(7,), (2, 3), (1, 8, 8), (2, 3, 4, 5)])
def test_fully_connected_networks_take_any_shape(shape: tuple[int, ...]) -> None:
    check(narrow("mlp", shape, 4), shape, 4, batch=3)
    check(narrow("lenet-300-100", shape, 4), shape, 4, batch=3)


def test_mlp_without_hidden_layers_is_a_linear_model() -> None:
    module = Network("mlp", {"hidden": []}).build((3,), 2, seed=0)
    x, y = torch.randn(5, 3), torch.randn(5, 3)
    torch.testing.assert_close(module(x) - module(y), (x - y) @ module.get_parameter("output.weight").T)


def test_mlp_is_the_formula() -> None:
    module = Network("mlp", {"hidden": [4]}).build((3,), 2, seed=0)
    w = dict(module.named_parameters())
    x = torch.randn(6, 3)
    hidden = torch.relu(x @ w["fc1.weight"].T + w["fc1.bias"])
    torch.testing.assert_close(module(x), hidden @ w["output.weight"].T + w["output.bias"])


def test_lenet_5_has_its_only_relu_after_the_hidden_layer() -> None:
    module = Network("lenet-5").build((1, 28, 28), 10, seed=0)
    assert [name for name, part in module.named_modules() if isinstance(part, nn.ReLU)] == ["relu1"]


def test_resnet_block_without_branches_is_a_relu() -> None:
    module = Network("resnet-20").build((3, 8, 8), 10, seed=0).eval()
    block = module.get_submodule("stage1.0")
    for name in ("norm2.weight", "norm2.bias"):
        nn.init.zeros_(block.get_parameter(name))
    x = torch.randn(2, 16, 8, 8)
    torch.testing.assert_close(block(x), torch.relu(x))


@pytest.mark.parametrize(("name", "sides"), [("resnet-18", [32, 16, 8, 4]), ("resnet-50", [32, 16, 8, 4])])
def test_resnet_stages_halve_the_pixels(name: str, sides: list[int]) -> None:
    module = narrow(name, (3, 32, 32), 10).eval()
    x = torch.zeros(1, 3, 32, 32)
    seen = []
    for layer, part in module.named_children():
        x = part(x)
        if layer.startswith("stage"):
            seen.append(x.shape[-1])
    assert seen == sides


def test_vgg_on_cifar_equals_the_two_by_two_pooling_of_the_papers() -> None:
    module = narrow("vgg-11", (3, 32, 32), 10).eval()
    parts = list(module.children())
    features = nn.Sequential(*parts[:-3])(torch.randn(2, 3, 32, 32))
    assert features.shape[-2:] == (2, 2)
    torch.testing.assert_close(parts[-3](features), nn.AvgPool2d(2)(features))


@pytest.mark.parametrize("name", IMAGE_NETWORKS)
def test_each_has_a_summary_an_output_layer_and_a_usual_initialisation(name: str) -> None:
    factory = NETWORKS.get(name)
    assert isinstance(factory, Architecture)
    assert len(NETWORKS.summary(name)) > 20
    usual = "glorot-normal" if name in ("lenet-5", "conv-2", "conv-4", "conv-6") else "kaiming-normal"
    assert factory.init == usual
    shape = (3, 32, 32)
    module = narrow(name, shape, 10)
    roles = tensor_roles(module)
    assert [tensor for tensor, role in roles.items() if role == "output"] == ["output.weight"]
    assert tensor_roles(module, torch.zeros(2, *shape)) == roles
    assert set(roles.values()) <= {"output", "conv", "linear", "bias", "norm"}
