"""Other numbers and other devices: what a training computes in, and that everything comes back as it was."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from test_resume import Killed, MemoryJournal
from torch import nn

from overparam import Checkpoint, Network, Study, World
from overparam.constraints import Frozen, Supermask
from overparam.errors import SpecError
from overparam.train import Fit, TrainSettings, fit
from overparam.train.place import Place, check_device, device_named
from overparam.worlds import WorldData
from small import CONV, MLP, begin, built, half_pruned, images, same_bits, vectors

CASES: dict[str, tuple[Network, Any]] = {"mlp": (MLP, vectors), "batch norm and dropout": (CONV, images)}


def run(
    network: Network, data: WorldData, start: Checkpoint, precision: str, journal: Any = None, **changes: Any
) -> Fit:
    settings = TrainSettings(**{"epochs": 4, "batch_size": 16, "lr": 0.05, "precision": precision, **changes})
    module = start.load_into(network.build(data.input_shape, data.classes, 99))
    found = fit(module, data, settings, constraints=start.constraints, seed=3, journal=journal, device="cpu")
    assert all(parameter.dtype == torch.float32 for parameter in module.parameters())
    return found


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("precision", ["float64", "bfloat16"])
@pytest.mark.parametrize("optimiser", [{"sgd": {"momentum": 0.9}}, "adam"], ids=["sgd", "adam"])
def test_it_is_near_float32_and_a_killed_training_ends_with_the_same_bits(
    case: str, precision: str, optimiser: Any
) -> None:
    network, dataset = CASES[case]
    data = built(dataset())
    start = half_pruned(begin(network, data), 0.6)
    lr = 0.003 if optimiser == "adam" else 0.05
    changes = {"optimizer": optimiser, "lr": lr, "evaluate_every": 1, "save": ["5it"]}
    usual, whole = (run(network, data, start, each, **changes) for each in ("float32", precision))
    journal = MemoryJournal(die_after=2)
    with pytest.raises(Killed):
        run(network, data, start, precision, journal, **changes)
    resumed = run(network, data, start, precision, journal, **changes)
    assert same_bits(resumed.state, whole.state)
    assert same_bits(resumed.points["5it"], whole.points["5it"])
    assert resumed.curve == whole.curve
    assert {name: t.dtype for name, t in whole.state.items()} == {name: t.dtype for name, t in start.state.items()}
    assert all(not bool(whole.state[name][~mask].any()) for name, mask in start.masks.items())
    far = max(float((whole.state[n].double() - t.double()).abs().max()) for n, t in usual.state.items())
    assert 0 < far < (1e-4 if precision == "float64" else 0.2)


def test_float64_is_the_loop_of_torch_in_float64() -> None:
    data = built(vectors())
    start = begin(MLP, data)
    found = run(MLP, data, start, "float64", batch_size=50, epochs=3)
    module = start.load_into(MLP.build(data.input_shape, data.classes, 99)).double()
    optimiser = torch.optim.SGD(module.parameters(), 0.05)
    for _ in range(3):
        optimiser.zero_grad()
        nn.functional.cross_entropy(module(data.train.inputs.double()), data.train.targets).backward()
        optimiser.step()
    # rounded once, at the end, so but for sums in another order it is the same float32
    for name, parameter in module.named_parameters():
        assert torch.allclose(found.state[name], parameter.detach().float(), rtol=0, atol=1e-7)


@pytest.mark.parametrize("precision", ["float64", "bfloat16"])
def test_what_is_frozen_stays_in_any_precision(precision: str) -> None:
    data = built(vectors())
    start = begin(MLP, data)
    name = next(iter(start.masks))
    mask = torch.rand(start.state[name].shape) < 0.5
    frozen = start.constrained({name: Frozen(mask, start.state[name])})
    found = run(MLP, data, frozen, precision, optimizer={"adamw": {"weight_decay": 0.1}}, lr=0.01)
    assert found.state[name][~mask].equal(start.state[name][~mask])
    assert not found.state[name][mask].equal(start.state[name][mask])


def test_engines_other_than_dense_are_refused_or_told() -> None:
    data = built(vectors())
    start = half_pruned(begin(MLP, data), 0.05)
    module = start.load_into(MLP.build(data.input_shape, data.classes, 99))
    settings = TrainSettings(epochs=1, precision="bfloat16")
    with pytest.raises(SpecError, match="sparse layers compute in float32 on the CPU, and this is bfloat16"):
        fit(module, data, settings, masks=start.masks, engine="sparse")
    assert "this is bfloat16" in fit(module, data, settings, masks=start.masks, engine="auto").engine_note


def test_a_module_comes_back_as_it_was_after_an_error() -> None:
    data = built(vectors())
    module = MLP.build(data.input_shape, data.classes, 0)
    settings = TrainSettings(epochs=1, precision="float64", loss=lambda outputs, targets: outputs)
    with pytest.raises(SpecError, match=r"train\.loss must return one number"):
        fit(module, data, settings)
    assert {parameter.dtype for parameter in module.parameters()} == {torch.float32}


def test_mixed_types_of_a_module_come_back() -> None:
    module = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2).half(), nn.BatchNorm1d(2))
    before = {name: tensor.dtype for name, tensor in module.state_dict().items()}
    place = Place(module, torch.device("cpu"), "float64")
    assert {t.dtype for t in module.state_dict().values()} == {torch.float64, torch.int64}
    place.give_back()
    assert {name: tensor.dtype for name, tensor in module.state_dict().items()} == before


def test_wrong_names() -> None:
    with pytest.raises(SpecError, match="device must be one of cpu, auto, cuda, cuda:N, mps, got 'gpu'"):
        check_device("gpu")
    with pytest.raises(SpecError, match="device must be one of"):
        Study("s", World("digits"), "mlp", ["train"], device=3)
    with pytest.raises(SpecError, match="precision"):
        TrainSettings(epochs=1, precision="float16")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a card here, so nothing is refused; tests/gpu are run")
def test_a_card_that_is_not_there_is_said() -> None:
    assert device_named("auto") == torch.device("cpu")
    with pytest.raises(SpecError, match="finds 0 CUDA devices here"):
        device_named("cuda")


def test_scores_of_a_supermask_go_on_in_double_precision() -> None:
    data = built(vectors())
    start = begin(MLP, data)
    under = {n: Supermask(torch.rand(start.state[n].shape), start.state[n], density=0.5) for n in start.masks}
    whole = run(MLP, data, start.constrained(under), "float64")
    journal = MemoryJournal(die_after=2)
    with pytest.raises(Killed):
        run(MLP, data, start.constrained(under), "float64", journal)
    resumed = run(MLP, data, start.constrained(under), "float64", journal)
    assert all(resumed.constraints[name].scores.equal(each.scores) for name, each in whole.constraints.items())
    assert all(each.scores.dtype == torch.float32 for each in whole.constraints.values())
