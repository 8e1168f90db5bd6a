"""Roles of parameters, with and without a sample."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from overparam.errors import SpecError
from overparam.networks import PRUNABLE, ROLES, Network, prunable, tensor_roles


class HeadFirst(nn.Module):
    """Registers its output layer before the others."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(4, 3)
        self.body = nn.Linear(5, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.relu(self.body(x)))


class Auxiliary(HeadFirst):
    """Runs one more layer after the one whose output it returns."""

    def __init__(self) -> None:
        super().__init__()
        self.spare = nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        scores = super().forward(x)
        self.spare(scores)
        return scores


def outputs(roles: dict[str, str]) -> list[str]:
    return [name for name, role in roles.items() if role == "output"]


def test_the_output_layer_is_the_one_that_runs_last_not_the_one_registered_last() -> None:
    module = HeadFirst()
    assert outputs(tensor_roles(module, torch.zeros(2, 5))) == ["head.weight"]
    assert outputs(tensor_roles(module)) == ["body.weight"]


def test_a_layer_whose_result_is_returned_goes_before_one_that_runs_later() -> None:
    assert outputs(tensor_roles(Auxiliary(), torch.zeros(2, 5))) == ["head.weight"]


def test_an_activation_may_follow_the_output_layer() -> None:
    module = nn.Sequential(nn.Linear(5, 4), nn.Linear(4, 3), nn.LogSoftmax(-1))
    assert outputs(tensor_roles(module, torch.zeros(2, 5))) == ["1.weight"]


def test_every_kind_of_layer() -> None:
    module = nn.ModuleDict(
        {
            "embedding": nn.Embedding(7, 4),
            "conv": nn.Conv1d(4, 4, 3),
            "up": nn.ConvTranspose2d(4, 4, 3),
            "batch": nn.BatchNorm2d(4),
            "layer": nn.LayerNorm(4),
            "group": nn.GroupNorm(2, 4),
            "instance": nn.InstanceNorm1d(4, affine=True),
            "rms": nn.RMSNorm(4),
            "attention": nn.MultiheadAttention(4, 2, add_bias_kv=True),
            "cross": nn.MultiheadAttention(4, 2, kdim=3, vdim=5),
            "memory": nn.GRU(4, 4),
            "projected": nn.LSTM(4, 4, proj_size=2),
            "cell": nn.RNNCell(4, 4),
            "pairs": nn.Bilinear(4, 4, 4),
            "slope": nn.PReLU(),
            "hidden": nn.Linear(4, 4),
            "last": nn.Linear(4, 3),
        }
    )
    assert tensor_roles(module) == {
        "embedding.weight": "embedding",
        "conv.weight": "conv",
        "conv.bias": "bias",
        "up.weight": "conv",
        "up.bias": "bias",
        **{f"{name}.{leaf}": "norm" for name in ("batch", "layer", "group", "instance") for leaf in ("weight", "bias")},
        "rms.weight": "norm",
        "attention.in_proj_weight": "linear",
        "attention.in_proj_bias": "bias",
        "attention.bias_k": "bias",
        "attention.bias_v": "bias",
        "attention.out_proj.weight": "linear",
        "attention.out_proj.bias": "bias",
        "cross.q_proj_weight": "linear",
        "cross.k_proj_weight": "linear",
        "cross.v_proj_weight": "linear",
        "cross.in_proj_bias": "bias",
        "cross.out_proj.weight": "linear",
        "cross.out_proj.bias": "bias",
        **{f"memory.{leaf}": "recurrent" for leaf in ("weight_ih_l0", "weight_hh_l0")},
        **{f"memory.{leaf}": "bias" for leaf in ("bias_ih_l0", "bias_hh_l0")},
        **{f"projected.{leaf}": "recurrent" for leaf in ("weight_ih_l0", "weight_hh_l0")},
        **{f"projected.{leaf}": "bias" for leaf in ("bias_ih_l0", "bias_hh_l0")},
        "projected.weight_hr_l0": "recurrent",
        **{f"cell.{leaf}": "recurrent" for leaf in ("weight_ih", "weight_hh")},
        **{f"cell.{leaf}": "bias" for leaf in ("bias_ih", "bias_hh")},
        "pairs.weight": "linear",
        "pairs.bias": "bias",
        "slope.weight": "other",
        "hidden.weight": "linear",
        "hidden.bias": "bias",
        "last.weight": "output",
        "last.bias": "bias",
    }


def test_parameters_outside_of_layers() -> None:
    module = nn.Sequential(nn.Linear(2, 2))
    module.register_parameter("scale", nn.Parameter(torch.ones(2)))
    module.register_parameter("bias", nn.Parameter(torch.ones(2)))
    assert tensor_roles(module) == {"scale": "other", "bias": "bias", "0.weight": "output", "0.bias": "bias"}


def test_tied_parameters_appear_once_with_their_foremost_role() -> None:
    module = nn.Sequential(nn.Embedding(5, 4), nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 5))
    module[2].weight = module[1].weight
    module[3].weight = module[0].weight
    roles = tensor_roles(module, torch.zeros(2, dtype=torch.int64))
    assert roles == {
        "0.weight": "output",
        "1.weight": "linear",
        "1.bias": "bias",
        "2.bias": "bias",
        "3.bias": "bias",
    }
    assert list(roles) == [name for name, _ in module.named_parameters()]


def test_a_layer_used_twice_is_one_layer() -> None:
    layer = nn.Linear(3, 3)
    module = nn.Sequential(layer, nn.ReLU(), layer)
    assert tensor_roles(module, torch.zeros(1, 3)) == {"0.weight": "output", "0.bias": "bias"}


def test_modules_without_layers() -> None:
    assert tensor_roles(nn.ReLU(), torch.zeros(2, 3)) == {}
    assert tensor_roles(nn.PReLU()) == {"weight": "other"}


def test_prunable_are_the_weights_of_layers_and_of_the_output() -> None:
    module = Network("resnet-20", {"width": 0.25}).build((3, 8, 8), 10, seed=0)
    names = prunable(tensor_roles(module))
    matrices = [name for name, parameter in module.named_parameters() if parameter.ndim > 1]
    assert list(names) == matrices
    assert set(PRUNABLE) <= set(ROLES)


def test_looking_leaves_no_trace() -> None:
    module = Network("resnet-20", {"width": 0.25}).build((3, 8, 8), 10, seed=0)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    generator = torch.get_rng_state()
    tensor_roles(module, torch.randn(4, 3, 8, 8, generator=torch.Generator()))
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert module.training
    assert torch.equal(torch.get_rng_state(), generator)
    assert not any(part._forward_hooks for part in module.modules())


def test_a_sample_that_does_not_fit_leaves_no_trace_either() -> None:
    module = HeadFirst().train()
    with pytest.raises(SpecError, match=r"the module fails on a batch of shape \(2, 6\)"):
        tensor_roles(module, torch.zeros(2, 6))
    assert module.training
    assert not any(part._forward_hooks for part in module.modules())
