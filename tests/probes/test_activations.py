"""Activations that are zero, and the multiply-adds that they save: counted by hand."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from overparam import Checkpoint, Dataset
from overparam.checkpoint import state_of
from overparam.constraints import masked
from overparam.networks import prunable, tensor_roles
from overparam.probes import Activations, View
from small import built


def measured(module: nn.Module, inputs: Tensor, masks: dict[str, Tensor] | None = None) -> object:
    data = built(
        Dataset("own", inputs, torch.zeros(len(inputs), dtype=torch.long), inputs, torch.arange(len(inputs)) % 2)
    )
    roles = tensor_roles(module, inputs[:1])
    state = state_of(module)
    ones = {name: torch.ones(state[name].shape, dtype=torch.bool) for name in prunable(roles)}
    start = Checkpoint(state, masked(ones), roles).masked({**ones, **(masks or {})})
    return Activations().measure(start, View(data, lambda: module))


def test_products_of_what_is_not_zero_are_counted() -> None:
    module = nn.Sequential(nn.Linear(3, 2), nn.ReLU(), nn.Linear(2, 2))
    module[0].weight.data = torch.tensor([[1.0, 0.5, 0.0], [-1.0, -1.0, -1.0]])
    module[0].bias.data.zero_()
    inputs = torch.tensor([[1.0, 0.0, 2.0], [3.0, 4.0, 0.0]])  # 2 of 3 are not zero in both
    mask = torch.tensor([[True, True, False], [True, True, True]])
    found = measured(module, inputs, {"0.weight": mask})
    assert found.layers["0.weight"]["activations"] == pytest.approx(4 / 6)
    # first example: columns 0 and 2 have 2 and 1 kept weights; second: columns 0 and 1 have 2 and 2
    assert found.layers["0.weight"]["multiply_adds_nonzero"] == (3 + 4) / 2
    # the second unit is below zero in both, so it gives 0; the first feeds both outputs
    assert found.layers["2.weight"] == {"activations": 0.5, "multiply_adds_nonzero": 2.0}
    assert found.values == {"activations": pytest.approx(6 / 10), "multiply_adds_nonzero": 5.5}


def test_convolutions_count_each_position_without_padding() -> None:
    module = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1, bias=False), nn.Flatten(), nn.Linear(2 * 16, 2))
    inputs = torch.zeros(1, 1, 4, 4)
    inputs[0, 0, 0, 0] = 1.0  # a corner: four positions of the window see it
    found = measured(module, inputs.repeat(2, 1, 1, 1))
    assert found.layers["0.weight"] == {"activations": 1 / 16, "multiply_adds_nonzero": 2 * 4.0}


def test_dense_inputs_cost_what_the_network_costs() -> None:
    module = nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 2))
    found = measured(module, torch.randn(7, 5))
    assert found.values == {"activations": 1.0, "multiply_adds_nonzero": 28.0}
