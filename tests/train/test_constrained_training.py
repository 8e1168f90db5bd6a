"""Trainings under constraints, beside those that have none."""

from __future__ import annotations

from typing import Any, Self

import pytest
import torch
from torch import Tensor, nn

from overparam import Network, SpecError
from overparam.constraints import Constraint, Frozen, Masked, Quantised, Uniform, WeightContext, effective
from overparam.spec import spec
from overparam.train import Fit, TrainSettings, fit
from small import CONV, begin, bits, built, half_pruned, images, same_bits, vectors

MOVING: dict[str, Any] = {"optimizer": {"sgd": {"momentum": 0.9, "weight_decay": 0.1}}}
DATA, PICTURES = built(vectors()), built(images())


def all_of(weight: Tensor) -> Tensor:
    return torch.ones_like(weight, dtype=torch.bool)


def train(module: nn.Module, constraints: dict[str, Constraint], **changes: Any) -> Fit:
    data = changes.pop("data", DATA)
    settings = TrainSettings(**{"epochs": 3, "batch_size": 16, "lr": 0.1, **changes})
    return fit(module, data, settings, constraints=constraints, seed=1)


@pytest.mark.parametrize(
    "changes",
    [
        {"optimizer": {"sgd": {"momentum": 0.9, "weight_decay": 0.01}}, "l1": 0.01},
        {"optimizer": "adamw", "lr": 0.01, "l1": 0.01},
    ],
)
def test_with_nothing_frozen_and_frozen_at_zero_it_is_plain_training(changes: dict[str, Any]) -> None:
    start = half_pruned(begin(CONV, PICTURES), 0.6)
    fits = []
    for make in (Masked, lambda mask: Frozen(mask, torch.zeros(mask.shape))):
        module = start.load_into(CONV.build(PICTURES.input_shape, PICTURES.classes, 0))
        fits.append(train(module, {n: make(mask) for n, mask in start.masks.items()}, data=PICTURES, **changes))
    for name, tensor in fits[0].state.items():
        torch.testing.assert_close(fits[1].state[name], tensor, rtol=1e-4, atol=1e-5)
    assert [row["loss"] for row in fits[0].curve] == pytest.approx([row["loss"] for row in fits[1].curve], rel=1e-4)


def test_constraints_and_plain_masks_stand_side_by_side() -> None:
    start = half_pruned(begin(CONV, PICTURES), 0.6)
    names = list(start.masks)
    mixed = start.constrained({names[0]: Quantised(start.state[names[0]], start.masks[names[0]], Uniform(3))})
    module = mixed.load_into(CONV.build(PICTURES.input_shape, PICTURES.classes, 0))
    found = train(module, dict(mixed.constraints), data=PICTURES, **MOVING)
    assert found.state[names[0]].unique().numel() <= 7
    for name, mask in start.masks.items():
        assert bits(found.state[name][~mask]) == bytes(4 * int((~mask).sum()))
        assert bits(found.state[name][mask]) != bits(start.state[name][mask])
    assert same_bits(dict(module.state_dict()), found.state), "the module has what came out"


def test_the_module_s_own_gradients_of_before_are_no_matter() -> None:
    module = nn.Linear(4, 3)
    fit(module, DATA, TrainSettings(epochs=1))
    assert module.weight.grad is not None
    train(module, {"weight": Frozen(None, module.weight.detach().clone())})


def test_weights_that_a_network_keeps_elsewhere_cannot_be_made() -> None:
    class Aside(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 3)
            self.aside = [self.layer.weight]

        def forward(self, inputs: Tensor) -> Tensor:
            return nn.functional.linear(inputs, self.aside[0], self.layer.bias)

    module = Aside()
    weight = module.layer.weight.detach().clone()
    with pytest.raises(SpecError, match=r"^the network uses 'layer\.weight' other than as the parameter of its layer"):
        train(module, {"layer.weight": Quantised(weight, all_of(weight), Uniform(4))})


def test_a_loss_may_look_at_the_weights_that_are_made() -> None:
    module = nn.Linear(4, 3)
    seen = []

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        seen.append(module.weight.detach().unique().numel())
        return nn.functional.cross_entropy(outputs, targets) + 0.01 * module.weight.square().sum()

    weight = module.weight.detach().clone()
    train(module, {"weight": Quantised(weight, all_of(weight), Uniform(2))}, loss=loss)
    assert max(seen) <= 3


def test_layers_that_share_a_weight_share_what_is_made() -> None:
    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two, self.out = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 3)
            self.two.weight = self.one.weight

        def forward(self, inputs: Tensor) -> Tensor:
            return self.out(self.two(torch.relu(self.one(inputs))))

    module = Shared()
    weight = module.one.weight.detach().clone()
    constraint = Quantised(weight, all_of(weight), Uniform(3))
    found = train(module, {"two.weight": constraint}, optimizer={"sgd": {"momentum": 0.9}})
    assert list(found.constraints) == ["one.weight"], "by its first name"
    assert module.two.weight is module.one.weight
    assert found.state["one.weight"].unique().numel() <= 7
    with pytest.raises(SpecError, match=r"'two\.weight' and 'one\.weight' are one parameter; give one of them"):
        train(module, {"one.weight": constraint, "two.weight": constraint})


def test_recurrent_layers_are_given_what_is_made() -> None:
    class Recurrent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cell, self.out = nn.LSTM(4, 5, batch_first=True), nn.Linear(5, 3)

        def forward(self, inputs: Tensor) -> Tensor:
            return self.out(self.cell(inputs[:, None])[0][:, -1])

    module = Recurrent()
    weight = module.cell.weight_ih_l0.detach().clone()
    half = torch.rand(weight.shape) < 0.5
    found = train(module, {"cell.weight_ih_l0": Frozen(half, weight)}, **MOVING)
    assert bits(found.state["cell.weight_ih_l0"][~half]) == bits(weight[~half])
    assert bits(found.state["cell.weight_ih_l0"][half]) != bits(weight[half])
    again = Recurrent()
    again.load_state_dict(found.state)
    inputs = DATA.test.inputs
    assert torch.equal(again.eval()(inputs), module.eval()(inputs))


@spec
class Pressed(Constraint):
    """A weight whose squares are added to what is lowered, as often as ``strength`` says."""

    latent: Tensor
    strength: float

    def free(self, weight: Tensor) -> dict[str, Tensor]:
        return {"latent": self.latent}

    def weight(self, free: dict[str, Tensor], context: WeightContext) -> Tensor:
        return free["latent"]

    def penalty(self, free: dict[str, Tensor]) -> Tensor:
        return self.strength * free["latent"].square().sum()

    def onto(self, weight: Tensor) -> Self:
        return type(self)(weight, self.strength)


def test_a_penalty_is_lowered_and_is_no_part_of_the_loss_that_is_told() -> None:
    torch.manual_seed(0)
    weight = nn.Linear(4, 3).weight.detach().clone()
    fits = []
    for strength in (0.0, 1.0):
        module = nn.Linear(4, 3, bias=False)
        with torch.no_grad():
            module.weight.copy_(weight)
        fits.append(train(module, {"weight": Pressed(weight, strength)}, lr=0.05))
    assert fits[1].state["weight"].norm() < 0.5 * fits[0].state["weight"].norm()
    plain = nn.Linear(4, 3, bias=False)
    with torch.no_grad():
        plain.weight.copy_(weight)
    decayed = train(plain, {}, lr=0.05, optimizer={"sgd": {"weight_decay": 2.0}})
    torch.testing.assert_close(decayed.state["weight"], fits[1].state["weight"], rtol=1e-5, atol=1e-6)
    assert fits[1].curve[0]["loss"] == pytest.approx(decayed.curve[0]["loss"], rel=1e-5)


def test_what_is_not_to_be_trained_stays() -> None:
    module = Network("mlp", {"hidden": [8]}).build(DATA.input_shape, DATA.classes, 0)
    module.fc1.weight.requires_grad_(False)
    weight = module.fc1.weight.detach().clone()
    constraint = Quantised(weight, all_of(weight), Uniform(4))
    found = train(module, {"fc1.weight": constraint}, optimizer={"sgd": {"momentum": 0.9}})
    assert bits(found.constraints["fc1.weight"].latent) == bits(weight)
    assert bits(found.state["fc1.weight"]) == bits(effective(constraint, weight)), "and is what its constraint makes"


def test_whole_numbers_are_not_trained() -> None:
    @spec
    class Counted(Pressed):
        def free(self, weight: Tensor) -> dict[str, Tensor]:
            return {"codes": torch.zeros(3, dtype=torch.int64)}

        def weight(self, free: dict[str, Tensor], context: WeightContext) -> Tensor:
            return self.latent

    weight = torch.ones(3, 4)
    with pytest.raises(SpecError, match=r"what is free of 'weight' must be floating-point, got torch\.int64 for 'co"):
        train(nn.Linear(4, 3), {"weight": Counted(weight, 1.0)})
