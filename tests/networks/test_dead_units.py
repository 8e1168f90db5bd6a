"""Which units are dead, which go together, and what is left: cases known on paper, and random masks."""

from __future__ import annotations

import copy
import itertools
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from overparam.errors import SpecError
from overparam.networks import Network
from overparam.networks.forward import run
from overparam.networks.removal import TOLERANCES, removal
from overparam.networks.surgery import Replace, operate
from overparam.networks.units import Group, Place, groups


def smaller(module: nn.Module, sample: Any) -> tuple[nn.Module, Any]:
    found = removal(module, sample)
    made = operate(copy.deepcopy(module), found.surgery)
    made.load_state_dict(found.state(module.state_dict()))
    old, new = run(module, sample), run(made, sample)
    assert float((old - new).abs().max()) <= TOLERANCES[old.dtype] * max(1.0, float(old.abs().max()))
    return made, found


def silence(module: nn.Module, found: list[Group]) -> None:
    """Set to zero what reads the units of groups, and what they read."""
    for group in found:
        for unit in group.outputs:
            module.get_submodule(unit.path).weight.data[unit.position] = 0
        for place in group.inputs:
            module.get_submodule(place.path).weight.data[:, place.position] = 0


def mlp(*sizes: int, bias: bool = True) -> nn.Sequential:
    layers = [part for n, m in itertools.pairwise(sizes) for part in (nn.Linear(n, m, bias), nn.ReLU())]
    return nn.Sequential(*layers[:-1])


def test_a_unit_that_nothing_reads_goes() -> None:
    module = mlp(3, 4, 2)
    module[2].weight.data[:, 1] = 0
    made, found = smaller(module, torch.randn(8, 3))
    assert found.removed == {"0": 1}
    assert made[0].weight.equal(module[0].weight[[0, 2, 3]])
    assert made[2].weight.equal(module[2].weight[:, [0, 2, 3]])


def test_a_unit_that_reads_nothing_leaves_its_constant_in_the_next_biases() -> None:
    module = mlp(3, 4, 2)
    module[0].weight.data[1], module[0].bias.data[1] = 0, 2.0
    made, found = smaller(module, torch.randn(8, 3))
    assert found.removed == {"0": 1}
    assert torch.allclose(made[2].bias, module[2].bias + 2.0 * module[2].weight[:, 1])


def test_a_constant_stays_where_no_bias_can_hold_it() -> None:
    module = mlp(3, 4, 2)
    module[2] = nn.Linear(4, 2, bias=False)
    module[0].weight.data[1], module[0].bias.data[1] = 0, 2.0
    assert removal(module, torch.randn(8, 3)).surgery == ()
    module[0].bias.data[1] = -2.0  # the ReLU gives zero
    assert removal(module, torch.randn(8, 3)).removed == {"0": 1}


@pytest.mark.parametrize(("padding", "goes"), [(0, True), (1, False)])
def test_a_constant_before_a_padded_convolution_stays(padding: int, goes: bool) -> None:
    module = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 3, padding=padding))
    module[0].weight.data[1], module[0].bias.data[1] = 0, 1.0
    _, found = smaller(module, torch.randn(4, 1, 9, 9))
    assert bool(found.surgery) is goes


def test_what_only_dead_units_read_is_dead() -> None:
    module = mlp(3, 4, 4, 2)
    module[4].weight.data[:, 2] = 0
    module[2].weight.data[[0, 1, 3], 1] = 0  # unit 1 of the first layer is read by unit 2 of the second alone
    _, found = smaller(module, torch.randn(8, 3))
    assert found.removed == {"0": 1, "2": 1}


def test_a_layer_keeps_one_unit() -> None:
    module = mlp(3, 4, 2)
    module[2].weight.data.zero_()
    _, found = smaller(module, torch.randn(8, 3))
    assert found.removed == {"0": 3}


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm = nn.Conv2d(1, 6, 3, padding=1), nn.BatchNorm2d(6)
        self.second, self.last = nn.Conv2d(6, 6, 3, padding=1), nn.Linear(6 * 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.first(x)).relu()
        x = x + self.second(x)
        return self.last(nn.functional.adaptive_avg_pool2d(x, 2).flatten(1))


def test_added_channels_go_together() -> None:
    module = Residual().eval()
    (group,) = [g for g in groups(module, torch.randn(2, 1, 8, 8)) if Place("first", 2) in g.outputs]
    assert group.outputs == {Place("first", 2), Place("second", 2)}
    assert group.channels == {Place("norm", 2)}
    assert group.inputs == {Place("second", 2), *(Place("last", 2 * 4 + position) for position in range(4))}
    silence(module, [group])
    made, found = smaller(module, torch.randn(2, 1, 8, 8))
    assert found.removed == {"first": 1, "second": 1}
    assert made.norm.num_features == 5


class Concatenated(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Conv1d(2, 3, 1), nn.Conv1d(2, 4, 1)
        self.depthwise, self.last = nn.Conv1d(7, 7, 3, groups=7), nn.Conv1d(7, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.depthwise(torch.cat([self.one(x), self.two(x)], 1)).relu())


def test_concatenated_channels_and_depthwise_convolutions_are_followed() -> None:
    module = Concatenated()
    found = groups(module, torch.randn(2, 2, 8))
    (group,) = [g for g in found if Place("two", 1) in g.outputs]
    assert (group.inputs, group.channels) == ({Place("last", 4)}, {Place("depthwise", 4)})
    silence(module, [group])
    made, _ = smaller(module, torch.randn(2, 2, 8))
    assert made.depthwise.weight.equal(module.depthwise.weight[[0, 1, 2, 3, 5, 6]])
    assert made.depthwise.groups == 6


class Block(nn.Module):
    """A transformer block on (batch, tokens, features)."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.norm = nn.Embedding(11, 8), nn.LayerNorm(8)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.up, self.down, self.head = nn.Linear(8, 16), nn.Linear(16, 8), nn.Linear(8, 11)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embed(tokens)
        x = x + self.attention(x, x, x, need_weights=False)[0]
        return self.head(x + self.down(nn.functional.gelu(self.up(self.norm(x)))))


def test_hidden_units_of_a_transformer_block_go_and_the_rest_stays_with_a_reason() -> None:
    module, tokens = Block(), torch.randint(0, 11, (2, 5))
    found = {unit: group for group in groups(module, tokens) for unit in group.outputs}
    assert found[Place("up", 3)].kept == ""
    assert "are added to it" in found[Place("down", 0)].kept
    assert found[Place("head", 0)].kept == "it is an output of the network"
    silence(module, [found[Place("up", 3)]])
    assert smaller(module, tokens)[1].removed == {"up": 1}


class Hardcoded(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.last = nn.Linear(3, 4), nn.Linear(4, 4), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.second(self.first(x).relu().view(-1, 4)).relu())


def test_layers_that_cannot_be_smaller_stay_with_a_reason_and_others_go() -> None:
    module = Hardcoded()
    silence(
        module, [g for g in groups(module, torch.randn(8, 3)) if g.outputs & {Place("first", 0), Place("second", 0)}]
    )
    _, found = smaller(module, torch.randn(8, 3))
    assert found.removed == {"second": 1}
    assert "fails on a batch" in found.kept["first"]


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.last = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 2)
        self.second.weight = self.first.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.second(self.first(x).relu()).relu())


def test_shared_weights_stay() -> None:
    module = Tied()
    module.last.weight.data[:, 0] = 0
    assert removal(module, torch.randn(8, 4)).surgery == ()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", ["mlp", "vgg-11", "resnet-20"])
def test_built_in_families_give_the_same_outputs_without_a_third_of_their_units(name: str, dtype: torch.dtype) -> None:
    options = {"mlp": {"hidden": [20, 10]}, "vgg-11": {"width": 0.0625}, "resnet-20": {}}[name]
    size = (8, 8) if name == "resnet-20" else (32, 32)
    module, sample = Network(name, options).build((3, *size), 10, 0).to(dtype), torch.randn(3, 3, *size, dtype=dtype)
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.running_mean.uniform_(-0.5, 0.5), part.running_var.uniform_(0.1, 0.5)
    found = [group for group in groups(module, sample) if not group.kept]
    silence(module, found[::3])
    made, removed = smaller(module, sample)
    assert sum(removed.removed.values()) == sum(len(group.outputs) for group in found[::3])
    outputs = run(module, sample)
    assert float(outputs.std()) > 1e-3  # the comparison is of something
    assert sum(p.numel() for p in made.parameters()) < sum(p.numel() for p in module.parameters())


@given(st.data())
@settings(max_examples=20)
def test_any_masks_of_a_network_leave_a_smaller_one_with_the_same_outputs(data: st.DataObject) -> None:
    torch.manual_seed(data.draw(st.integers(0, 1000)))
    module = Residual() if data.draw(st.booleans()) else Concatenated()
    for parameter in module.parameters():
        if parameter.dim() > 1:
            parameter.data *= torch.rand(parameter.shape[0], *[1] * (parameter.dim() - 1)) > 0.4
            parameter.data *= torch.rand(1, parameter.shape[1], *[1] * (parameter.dim() - 2)) > 0.4
        else:
            parameter.data *= torch.rand(parameter.shape) > 0.5
    smaller(module, torch.randn(4, 1, 8, 8) if isinstance(module, Residual) else torch.randn(4, 2, 8))


def test_a_record_makes_listed_layers_alone() -> None:
    with pytest.raises(SpecError, match="no layer that can be put in"):
        Replace("0", "Bilinear", {})
    with pytest.raises(SpecError, match="takes no 'device'"):
        Replace("0", "Linear", {"in_features": 1, "out_features": 1, "device": "meta"})
    with pytest.raises(SpecError, match="cannot be made"):
        Replace("0", "Linear", {"in_features": "x", "out_features": 1}).layer()
    with pytest.raises(SpecError, match="has no part 'x'"):
        operate(nn.Linear(1, 1), [Replace("x", "Identity", {})])
    replace = Replace.like("0", nn.Conv2d(2, 4, 3, padding="same", bias=False), out_channels=3)
    assert Replace(**replace.plain()).layer().weight.shape == (3, 2, 3, 3)
