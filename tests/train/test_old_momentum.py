"""A state taken up under other masks: what was pruned since is zero, and no old momentum moves it."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from overparam import Network
from overparam.constraints import Frozen, Quantised, Uniform
from overparam.streams import torch_stream
from overparam.train import TrainSettings
from overparam.train.constrained import ConstrainedTrainee
from overparam.train.engines import trainee_for
from overparam.train.trainees import Trainee, masked_slots
from small import CONV, begin, built, half_pruned, images, zeros_are_clean

DATA = built(images())
NETWORKS = {"perceptron": Network("mlp", {"hidden": [8]}), "convolutions": CONV}


def epoch(trainee: Trainee, number: int) -> None:
    trainee.begin(number, torch_stream(0, "order", number), 0)
    trainee.advance([0.05] * 4)


@pytest.mark.parametrize(
    "optimizer",
    [{"sgd": {"momentum": 0.9, "weight_decay": 0.01}}, {"adam": {"weight_decay": 0.01}}],
    ids=["momentum", "adam"],
)
@pytest.mark.parametrize("engine", ["dense", "sparse"])
@pytest.mark.parametrize("network", NETWORKS)
def test_what_was_pruned_since_is_zero_in_the_module_too(network: str, engine: str, optimizer: dict[str, Any]) -> None:
    settings = TrainSettings(epochs=3, batch_size=16, lr=0.05, optimizer=optimizer)
    before = half_pruned(begin(NETWORKS[network], DATA), 0.8)
    after = before.masked({name: mask & (torch.rand(mask.shape) < 0.5) for name, mask in before.masks.items()})
    module = before.load_into(NETWORKS[network].build(DATA.input_shape, DATA.classes, 0))
    trainee = trainee_for(module, DATA, settings, before.constraints, engine)
    epoch(trainee, 0)
    state, slots = trainee.state(), trainee.slots()
    trainee.close()
    other = trainee_for(module, DATA, settings, after.constraints, engine)
    other.restore(state, slots)
    assert zeros_are_clean(after.with_state(other.state()))
    epoch(other, 1)
    assert zeros_are_clean(after.with_state(other.state()))
    found = other.slots()
    numbers = {name: number for number, (name, _) in enumerate(module.named_parameters())}
    if running := other.running():
        held = dict(running.named_parameters())
        assert not any(held[name][~mask].any() for name, mask in after.masks.items() if name in held)
    other.close()
    if engine == "dense" or network == "perceptron":
        for name, mask in after.masks.items():
            assert all(not slot[~mask].any() for slot in found[numbers[name]].values() if slot.shape == mask.shape)
            assert any(slot[mask].any() for slot in found[numbers[name]].values() if slot.shape == mask.shape)


@pytest.mark.parametrize("kind", ["frozen", "quantised"])
def test_nor_does_it_move_what_a_constraint_leaves_free(kind: str) -> None:
    settings = TrainSettings(epochs=3, batch_size=16, lr=0.05, optimizer={"sgd": {"momentum": 0.9}})
    start = half_pruned(begin(CONV, DATA), 0.8)
    make = {
        "frozen": lambda name, mask: Frozen(mask, start.state[name] + 0.5),
        "quantised": lambda name, mask: Quantised(start.state[name], mask, Uniform(4)),
    }[kind]
    before = start.constrained({name: make(name, mask) for name, mask in start.masks.items()})
    after = before.masked({name: mask & (torch.rand(mask.shape) < 0.5) for name, mask in before.masks.items()})
    module = before.load_into(CONV.build(DATA.input_shape, DATA.classes, 0))
    trainee = trainee_for(module, DATA, settings, before.constraints, "dense")
    epoch(trainee, 0)
    state, slots = trainee.state(), trainee.slots()
    other = trainee_for(module, DATA, settings, after.constraints, "dense")
    assert isinstance(other, ConstrainedTrainee)
    other.restore(state, slots)
    epoch(other, 1)
    for name, mask in after.masks.items():
        (free,) = other.free[name].values()
        assert not free[~mask].any()
        assert free[mask].any()


def test_what_an_optimiser_keeps_on_paper() -> None:
    slots = {
        0: {"step": torch.tensor(3.0), "exp_avg": torch.tensor([1.0, 2.0])},
        1: {"exp_avg": torch.tensor([4.0, 5.0])},
    }
    found = masked_slots(slots, ["w", "b"], {"w": torch.tensor([True, False])})
    assert found[0]["step"] == 3
    assert found[0]["exp_avg"].tolist() == [1.0, 0.0]
    assert found[1]["exp_avg"].tolist() == [4.0, 5.0]
    scalar = masked_slots({0: {"step": torch.tensor(3.0)}}, ["w"], {"w": torch.tensor(False)})
    assert scalar[0]["step"] == 3, "not taken for the momentum of a weight without axes"
