"""What every optimiser promises, those of the user's included: pruned weights stay zero, a stopped training goes on."""

from __future__ import annotations

from typing import Any

import own_optimisers
import pytest
import torch
from test_resume import Killed, MemoryJournal, run
from torch import nn

from overparam import SpecError
from overparam.train import OPTIMISERS, Optimiser, RMSprop, TrainSettings, fit
from overparam.train.optimisers import Behaviour, OfTorch, behaviour
from overparam.train.optimisers.behaviour import tried
from overparam.train.optimisers.state import KeptState
from small import CONV, MLP, begin, built, half_pruned, images, same_bits, vectors

SAMPLES: dict[str, dict[str, Any]] = {
    "sgd": {"momentum": 0.9, "nesterov": True, "weight_decay": 0.01},
    "adam": {"betas": (0.8, 0.95), "weight_decay": 0.01},
    "adamw": {"weight_decay": 0.1},
    "rmsprop": {"alpha": 0.9, "momentum": 0.5, "weight_decay": 0.01},
}
"""A row for each registered optimiser: fields to make one with."""

OWN = {
    "own": {"own_optimisers:Lion": {"weight_decay": 0.1, "betas": [0.8, 0.9]}},
    "own group": "own_optimisers:Warming",
    "torch's": {"torch.optim:Adagrad": {"weight_decay": 0.01}},
}
GIVEN = {**{name: {name: fields} for name, fields in SAMPLES.items()}, **OWN}


def test_there_is_a_row_for_every_optimiser() -> None:
    assert set(SAMPLES) == set(OPTIMISERS)


@pytest.mark.parametrize("name", OPTIMISERS)
def test_it_says_what_it_is(name: str) -> None:
    made = OPTIMISERS.resolve({name: SAMPLES[name]})
    assert isinstance(made, Optimiser)
    assert made == OPTIMISERS.resolve(OPTIMISERS.checked(made))
    assert 20 < len(OPTIMISERS.summary(name)) < 120
    assert tried(made) == behaviour(made) == Behaviour(keeps_zeros=True, elementwise=True), "as the engines take it"


@pytest.mark.parametrize("name", OPTIMISERS)
def test_its_compiled_form_has_the_state_that_it_names(name: str) -> None:
    made = OPTIMISERS.resolve({name: SAMPLES[name]})
    compiled = made.compiled()
    weight = nn.Parameter(torch.ones(3))
    stepping = made.over([weight], 0.1)
    weight.grad = torch.ones(3)
    stepping.step()
    if compiled is not None:
        named = {slot for slot in (compiled.first, compiled.second, compiled.steps) if slot}
        assert named == set(stepping.state[weight])


@pytest.mark.parametrize("given", GIVEN)
@pytest.mark.parametrize("engine", ["dense", "sparse"])
def test_pruned_weights_stay_zero_and_the_engines_agree(given: str, engine: str) -> None:
    data = built(vectors())
    start = half_pruned(begin(MLP, data), 0.4)
    settings = TrainSettings(epochs=3, batch_size=16, lr=0.02, optimizer=GIVEN[given])

    def trained(engine: str) -> Any:
        module = start.load_into(MLP.build(data.input_shape, data.classes, 0))
        return fit(module, data, settings, masks=start.masks, engine=engine)

    fitted, dense = trained(engine), trained("dense")
    assert set(fitted.engines.values()) == {engine}
    for name, mask in start.masks.items():
        assert not fitted.state[name][~mask].any()
        assert not torch.equal(fitted.state[name], start.state[name])
    for name, tensor in dense.state.items():
        torch.testing.assert_close(fitted.state[name], tensor, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("given", GIVEN)
def test_a_stopped_training_goes_on_with_the_same_bits(given: str) -> None:
    data = built(images())
    start = half_pruned(begin(CONV, data), 0.5)
    settings = TrainSettings(epochs=6, batch_size=16, lr=0.02, optimizer=GIVEN[given])
    whole = run(CONV, data, settings, start, None)
    journal = MemoryJournal(die_after=3)
    with pytest.raises(Killed):
        run(CONV, data, settings, start, journal)
    journal.die_after = None
    assert same_bits(run(CONV, data, settings, start, journal).state, whole.state)


def test_state_comes_back_in_its_own_dtypes() -> None:
    """Torch's own loading would make float32 of a float64 momentum."""
    made = OPTIMISERS.resolve("own_optimisers:Lion")
    weights = [nn.Parameter(torch.ones(2)) for _ in range(2)]
    kept = [KeptState(made.over([weight], 0.1)) for weight in weights]
    weights[0].grad = torch.tensor([0.1, -0.3])
    kept[0].optimiser.step()
    kept[1].restore(kept[0].slots())
    state = kept[1].optimiser.state[weights[1]]
    assert (state["momentum"].dtype, state["steps"]) == (torch.float64, 1)
    assert torch.equal(state["momentum"], kept[0].optimiser.state[weights[0]]["momentum"])


def test_one_that_moves_zeros_is_held() -> None:
    assert not behaviour(OPTIMISERS.resolve("own_optimisers:Noisy")).keeps_zeros
    data = built(vectors())
    start = half_pruned(begin(MLP, data), 0.4)
    seen: list[bool] = []

    def loss(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        seen.append(all(not module.get_parameter(name)[~mask].any() for name, mask in start.masks.items()))
        return nn.functional.cross_entropy(outputs, targets)

    module = start.load_into(MLP.build(data.input_shape, data.classes, 0))
    settings = TrainSettings(epochs=2, batch_size=16, optimizer="own_optimisers:Noisy", loss=loss)
    fit(module, data, settings, masks=start.masks)
    assert len(seen) > 4
    assert all(seen)


@pytest.mark.parametrize("name", ["Noisy", "Normalised"])
def test_one_that_sparse_layers_would_change_is_refused_there(name: str) -> None:
    data = built(vectors())
    start = half_pruned(begin(MLP, data), 0.2)
    settings = TrainSettings(epochs=1, optimizer=f"own_optimisers:{name}")
    module = start.load_into(MLP.build(data.input_shape, data.classes, 0))
    with pytest.raises(SpecError, match=rf"optimizer own_optimisers:{name} does not move each weight by itself.*dense"):
        fit(module, data, settings, masks=start.masks, engine="sparse")
    fitted = fit(module, data, settings, masks=start.masks, engine="auto")
    assert set(fitted.engines.values()) == {"dense"}
    assert "does not move each weight by itself" in fitted.engine_note


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("Listing", "optimiser Listing keeps 'history' of type list in its state"),
        ("Counting", "optimiser Counting changes its attribute 'counted' as it steps"),
    ],
)
def test_state_that_could_not_be_kept_is_refused(given: str, message: str) -> None:
    data = built(vectors())
    module = MLP.build(data.input_shape, data.classes, 0)
    with pytest.raises(SpecError, match=message):
        fit(module, data, TrainSettings(epochs=1, optimizer=f"own_optimisers:{given}"))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("own_optimisers:Needy", "optimiser Needy cannot be made with lr and these settings: TypeError"),
        ({"own_optimisers:Lion": {"beta": 1}}, "optimiser Lion cannot be made .* unexpected keyword argument 'beta'"),
        ({"torch.optim:Adagrad": {"weight_decay": -1}}, "optimiser Adagrad cannot be made .* Invalid weight_decay"),
        ("torch.optim:LBFGS", "optimiser LBFGS computes the loss several times a step"),
        ("torch.nn:Linear", "optimiser 'torch.nn:Linear' needs the field"),
    ],
)
def test_what_is_no_optimiser(given: Any, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        OPTIMISERS.resolve(given)


def test_classes_of_torch_s_kind_are_objects_too() -> None:
    assert OPTIMISERS.resolve(own_optimisers.Lion) == OfTorch(own_optimisers.Lion)
    assert TrainSettings(epochs=1, optimizer=RMSprop(alpha=0.5)).optimizer == {"rmsprop": {"alpha": 0.5}}
    given = {"own_optimisers:Lion": {"weight_decay": 0.1}}
    assert OPTIMISERS.identity(given) == OPTIMISERS.identity(OfTorch(own_optimisers.Lion, {"weight_decay": 0.1}))
    assert OPTIMISERS.identity(given) != OPTIMISERS.identity("own_optimisers:Lion")
