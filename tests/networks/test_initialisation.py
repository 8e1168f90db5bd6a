"""Initial values: their distributions against the formulas, and the streams they come from."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from overparam.networks import NETWORKS, Network, initialise
from small import IMAGE_NETWORKS

SPREAD = 0.03  # relative; the smallest tensor below has 9,216 elements, whose std scatters by 0.7 %


def fans(weight: Tensor) -> tuple[int, int]:
    positions = weight[0, 0].numel()
    return weight.shape[1] * positions, weight.shape[0] * positions


def is_normal(weight: Tensor, std: float) -> None:
    assert weight.std().item() == pytest.approx(std, rel=SPREAD)
    assert abs(weight.mean().item()) < 4 * std / math.sqrt(weight.numel())
    beyond = (weight.abs() > 2 * std).float().mean().item()
    assert beyond == pytest.approx(0.0455, abs=0.012)  # of a normal distribution, not truncated, not uniform


@pytest.mark.parametrize(("name", "layer"), [("conv-4", "conv2"), ("conv-4", "fc1"), ("lenet-300-100", "fc1")])
def test_kaiming_normal_weights_and_default_biases(name: str, layer: str) -> None:
    module = Network(name, init="kaiming-normal").build((1, 28, 28), 10, seed=3)
    weight, bias = module.get_parameter(f"{layer}.weight"), module.get_parameter(f"{layer}.bias")
    fan_in, _ = fans(weight)
    is_normal(weight, math.sqrt(2 / fan_in))
    assert 0.5 / math.sqrt(fan_in) < bias.abs().max().item() <= 1 / math.sqrt(fan_in)


@pytest.mark.parametrize(("name", "layer"), [("conv-4", "conv2"), ("conv-4", "fc1"), ("lenet-300-100", "fc1")])
def test_glorot_normal_weights_and_zero_biases(name: str, layer: str) -> None:
    module = Network(name, init="glorot-normal").build((1, 28, 28), 10, seed=3)
    weight = module.get_parameter(f"{layer}.weight")
    is_normal(weight, math.sqrt(2 / sum(fans(weight))))
    assert all((value == 0).all() for tensor, value in module.named_parameters() if tensor.endswith("bias"))


@pytest.mark.parametrize("name", ["vgg-11", "resnet-20"])
def test_batch_norm_scales_are_uniform_with_kaiming_normal(name: str) -> None:
    module = Network(name).build((3, 32, 32), 10, seed=0)
    norms = [part for part in module.modules() if isinstance(part, nn.BatchNorm2d)]
    scales = torch.cat([norm.weight.detach() for norm in norms])
    assert 0 <= scales.min() < 0.02
    assert 0.98 < scales.max() <= 1
    assert scales.mean().item() == pytest.approx(0.5, abs=0.05)
    assert scales.std().item() == pytest.approx(math.sqrt(1 / 12), abs=0.03)
    assert all((norm.bias == 0).all() for norm in norms)


def test_batch_norm_is_neutral_with_glorot_normal() -> None:
    module = Network("resnet-20", init="glorot-normal").build((3, 32, 32), 10, seed=0)
    norms = [part for part in module.modules() if isinstance(part, nn.BatchNorm2d)]
    assert all((norm.weight == 1).all() and (norm.bias == 0).all() for norm in norms)


def test_pytorch_leaves_everything_as_constructed() -> None:
    torch.manual_seed(1)
    module = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Flatten(), nn.Linear(8, 2))
    before = {name: value.clone() for name, value in module.state_dict().items()}
    initialise(module, "pytorch")
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


@pytest.mark.parametrize("init", ["kaiming-normal", "glorot-normal"])
def test_layers_without_bias_or_scale_and_of_other_kinds_are_no_trouble(init: str) -> None:
    module = nn.Sequential(
        nn.Conv1d(2, 4, 3, bias=False), nn.BatchNorm1d(4, affine=False), nn.LayerNorm(5), nn.ConvTranspose1d(4, 2, 3)
    )
    initialise(module, init)  # type: ignore[arg-type]
    assert (module[2].weight == 1).all()


@pytest.mark.parametrize("name", IMAGE_NETWORKS)
def test_the_usual_initialisation_is_the_architectures(name: str) -> None:
    small = {"hidden": [4]} if name == "mlp" else {"width": 0.05}
    factory = NETWORKS.get(name)
    default = Network(name, small).build((1, 28, 28), 10, seed=0).state_dict()
    explicit = Network(name, small, init=factory.init).build((1, 28, 28), 10, seed=0).state_dict()
    other = Network(name, small, init="pytorch").build((1, 28, 28), 10, seed=0).state_dict()
    assert all(torch.equal(default[key], explicit[key]) for key in default)
    assert any(not torch.equal(default[key], other[key]) for key in default)


def flat(module: nn.Module) -> Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in module.parameters()])


def test_seed_and_draw_name_the_initialisation() -> None:
    network = Network("mlp", {"hidden": [200]})
    first = flat(network.build((50,), 10, seed=0))
    assert torch.equal(first, flat(network.build((50,), 10, seed=0)))
    for other in (network.build((50,), 10, seed=1), network.build((50,), 10, seed=0, draw="reinit")):
        correlation = torch.corrcoef(torch.stack([first, flat(other)]))[0, 1].item()
        assert abs(correlation) < 4 / math.sqrt(len(first))


def test_building_leaves_all_global_generators_alone() -> None:
    states = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].copy()  # noqa: NPY002

    def drawing() -> nn.Module:
        random.random()
        np.random.rand()  # noqa: NPY002
        return nn.Linear(3, 2)

    Network(drawing).build((3,), 2, seed=0)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert random.getstate() == states[1]
    assert (np.random.get_state()[1] == states[2]).all()  # noqa: NPY002


def test_factories_that_draw_from_numpy_and_random_repeat_themselves() -> None:
    def scaled() -> nn.Module:
        layer = nn.Linear(3, 2)
        with torch.no_grad():
            layer.weight.mul_(float(np.random.rand()) + random.random())  # noqa: NPY002
        return layer

    network = Network(scaled)
    a, b, c = (network.build((3,), 2, seed=seed) for seed in (5, 5, 6))
    assert torch.equal(flat(a), flat(b))
    assert not torch.equal(flat(a), flat(c))


def test_parameters_start_without_gradients_and_buffers_untouched() -> None:
    """The trial forward pass of `build` leaves no trace."""
    module = Network("resnet-20", {"width": 0.25}).build((3, 8, 8), 10, seed=0)
    assert module.training
    assert all(parameter.grad is None for parameter in module.parameters())
    buffers = dict(module.named_buffers())
    assert all((value == 0).all() for name, value in buffers.items() if "running_mean" in name)
    assert all(value == 0 for name, value in buffers.items() if "num_batches" in name)
