"""Pruning by units: exact counts, the weights that go with a unit, layers that are bound together."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from overparam.errors import SpecError
from overparam.networks import Network, tensor_roles
from overparam.networks.units import groups
from overparam.prune import dense_masks, unit_masks


def magnitudes(module: nn.Module) -> dict[str, torch.Tensor]:
    return {name: parameter.detach().abs() for name, parameter in module.named_parameters()}


def test_the_filter_with_the_smallest_l1_norm_goes_with_what_reads_it() -> None:
    module = nn.Sequential(nn.Conv2d(1, 3, 1), nn.ReLU(), nn.Flatten(), nn.Linear(3 * 4, 2))
    module[0].weight.data = torch.tensor([2.0, -1.0, 3.0]).view(3, 1, 1, 1)
    sample = torch.randn(2, 1, 2, 2)
    masks = unit_masks(
        magnitudes(module), dense_masks(module), groups(module, sample), tensor_roles(module, sample), fraction=0.34
    )
    assert masks["0.weight"].flatten().tolist() == [True, False, True]
    assert masks["3.weight"].tolist() == 2 * [4 * [True] + 4 * [False] + 4 * [True]]


def test_residual_layers_count_as_one() -> None:
    module, sample = Network("resnet-20").build((3, 8, 8), 10, 0), torch.randn(1, 3, 8, 8)
    found = groups(module, sample)
    masks = unit_masks(magnitudes(module), dense_masks(module), found, tensor_roles(module, sample), fraction=0.25)
    stream = {unit.path for group in found if len(group.outputs) > 2 for unit in group.outputs}
    dead = {
        path: (~masks[f"{path}.weight"].flatten(1).any(1)).nonzero().flatten().tolist()
        for path in stream
        if len(masks[f"{path}.weight"]) == 16
    }
    assert len({tuple(each) for each in dead.values()}) == 1
    assert all(len(each) == 4 for each in dead.values())


@given(fraction=st.floats(0, 0.9), scope=st.sampled_from(["global", "per-layer", "uniform"]), seed=st.integers(0, 99))
@settings(max_examples=20)
def test_counts_are_exact_and_no_layer_is_emptied(fraction: float, scope: str, seed: int) -> None:
    torch.manual_seed(seed)
    module = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 3))
    sample = torch.ones(1, 5)
    if 12 * (1 - fraction) < 2.5:
        return
    masks = unit_masks(
        magnitudes(module),
        dense_masks(module),
        groups(module, sample),
        tensor_roles(module, sample),
        fraction=fraction,
        scope=scope,
    )
    gone = [int((~masks[name].any(1)).sum()) for name in ("0.weight", "2.weight")]
    assert masks["4.weight"].any(1).all()
    if scope == "global":
        assert sum(gone) == int(12 * fraction + 0.5)
    assert gone[0] < 8
    assert gone[1] < 4
    assert (~masks["2.weight"].any(0)).sum() == gone[0]


def test_what_cannot_go_is_said() -> None:
    module, sample = nn.Sequential(nn.Linear(3, 2)), torch.ones(1, 3)
    with pytest.raises(SpecError, match="it is an output of the network"):
        unit_masks(
            magnitudes(module), dense_masks(module), groups(module, sample), {"0.weight": "output"}, fraction=0.5
        )
