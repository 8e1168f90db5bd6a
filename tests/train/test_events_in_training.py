"""Events inside trainings: against a loop by hand, under every engine, killed and taken up."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from test_events import ALL
from test_resume import Killed, MemoryJournal
from torch.nn.functional import cross_entropy

from overparam import Checkpoint, Network, Train
from overparam.errors import SpecError, StepError
from overparam.length import Length
from overparam.prune import Evidence, Magnitude, count_kept, density, keep_top
from overparam.prune.masks import Masks
from overparam.spec import spec
from overparam.streams import torch_stream
from overparam.train import Fit, TrainSettings, fit
from overparam.train.checks import check_settings
from overparam.train.events import Event, Gradual, Moment, RigL
from overparam.worlds import WorldData
from small import CONV, MLP, begin, built, context_of, half_pruned, images, same_bits, vectors

LENET = Network("lenet-300-100")
RIGL = {"rigl": {"every": "5it", "fraction": 0.4}}
GRADUAL = {"gradual": {"density": 0.2, "every": "3it", "until": "13it", "exclude": ["output"]}}


@spec
class DropsSmallest(Event):
    """Drops the smallest weight of each tensor."""

    def masks(self, seen: Evidence, masks: Masks, moment: Moment) -> dict[str, torch.Tensor]:
        scores = Magnitude()(seen)
        return {n: keep_top(scores, {n: mask}, count_kept({n: mask}) - 1)[n] for n, mask in masks.items()}


def run(
    network: Network, data: WorldData, start: Checkpoint, engine: str = "dense", journal: Any = None, **changes: Any
) -> Fit:
    settings = TrainSettings(**{"length": "18it", "batch_size": 16, "lr": 0.05, **changes})
    module = start.load_into(network.build(data.input_shape, data.classes, 99))
    return fit(module, data, settings, masks=start.masks, seed=3, journal=journal, engine=engine)


def masks_of(found: Fit) -> dict[str, torch.Tensor]:
    kept = {name: each.kept() for name, each in found.constraints.items()}
    return {name: mask for name, mask in kept.items() if mask is not None}


def test_it_is_the_loop_by_hand() -> None:
    data = built(vectors())
    start = begin(MLP, data)
    optimiser, event = {"sgd": {"momentum": 0.9, "weight_decay": 0.01}}, DropsSmallest(every="3it", until="10it")
    found = run(MLP, data, start, optimizer=optimiser, events=[event])
    module = start.load_into(MLP.build(data.input_shape, data.classes, 99))
    parameters = dict(module.named_parameters())
    momenta = {name: torch.zeros_like(p) for name, p in parameters.items()}
    masks = {name: torch.ones_like(p, dtype=torch.bool) for name, p in parameters.items()}
    iteration = 0
    for epoch in range(5):
        order = torch.randperm(len(data.train), generator=torch_stream(3, "order", epoch))
        for indices in order.split(16):
            if iteration == 18:
                break
            if iteration in (3, 6, 9):
                for name in start.masks:
                    weight = parameters[name].detach()
                    alive = weight.abs().masked_fill(~masks[name], torch.inf)
                    masks[name].view(-1)[alive.argmin()] = False
                    weight[~masks[name]], momenta[name][~masks[name]] = 0.0, 0.0
            module.zero_grad()
            cross_entropy(module(data.train.inputs[indices]), data.train.targets[indices]).backward()
            for name, p in parameters.items():
                assert p.grad is not None
                gradient = p.grad * masks[name] + 0.01 * p.detach()
                momenta[name] = 0.9 * momenta[name] + gradient
                p.data -= 0.05 * momenta[name]
            iteration += 1
    for name, p in parameters.items():
        assert torch.allclose(found.state[name], p.detach(), atol=1e-6), name
    assert all(masks_of(found)[name].equal(masks[name]) for name in start.masks)
    assert [count_kept({name: mask}) for name, mask in masks_of(found).items()] == [32 - 3, 24 - 3]


@pytest.mark.parametrize("engine", ["dense", "sparse", "auto"])
@pytest.mark.parametrize("event", [RIGL, GRADUAL], ids=["rigl", "gradual"])
@pytest.mark.parametrize("network", [LENET, CONV], ids=["lenet", "conv"])
@pytest.mark.parametrize("optimiser", ["sgd", "adam"])
def test_a_killed_training_ends_with_the_same_bits(network: Network, event: Any, engine: str, optimiser: str) -> None:
    data = built(images())
    start = half_pruned(begin(network, data), 0.5)
    changes = {
        "events": [event],
        "optimizer": {"sgd": {"momentum": 0.9}} if optimiser == "sgd" else "adam",
        "lr": 0.05 if optimiser == "sgd" else 0.003,
        "save": ["9it"],
    }
    whole = run(network, data, start, engine, **changes)
    journal = MemoryJournal(die_after=2)
    with pytest.raises(Killed):
        run(network, data, start, engine, journal, **changes)
    resumed = run(network, data, start, engine, journal, **changes)
    assert same_bits(resumed.state, whole.state)
    assert resumed.curve == whole.curve
    assert same_bits(resumed.points["9it"], whole.points["9it"])
    masks, before = masks_of(whole), start.masks
    assert all(masks[name].equal(mask) for name, mask in masks_of(resumed).items())
    assert all(not bool(whole.state[name][~mask].any()) for name, mask in masks.items())
    if event is RIGL:
        assert {n: count_kept({n: m}) for n, m in masks.items()} == {n: count_kept({n: m}) for n, m in before.items()}
        assert any(not masks[name].equal(before[name]) for name in masks)
    else:
        output = next(name for name, role in start.roles.items() if role == "output")
        others = {name: mask for name, mask in masks.items() if name != output}
        assert masks[output].equal(before[output])
        assert density(others) == pytest.approx(0.2, abs=1e-3)


@pytest.mark.parametrize("event", ALL)
def test_what_is_pruned_is_zero_and_what_is_excluded_keeps_its_mask(event: Event) -> None:
    data = built(vectors())
    start = half_pruned(begin(MLP, data), 0.6)
    often = replace(event, every=Length(3, "it"), until=Length(16, "it"), exclude=("output",))
    found = run(MLP, data, start, events=[often], optimizer={"sgd": {"momentum": 0.9, "weight_decay": 0.01}})
    masks, output = masks_of(found), next(name for name, role in start.roles.items() if role == "output")
    assert all(not bool(found.state[name][~mask].any()) for name, mask in masks.items())
    assert masks[output].equal(start.masks[output])
    assert any(not masks[name].equal(start.masks[name]) for name in masks)


def test_a_step_hands_the_masks_on() -> None:
    data = built(images())
    start, context = half_pruned(begin(LENET, data), 0.5), context_of(LENET, data)
    step = Train(length="18it", batch_size=16, events=[GRADUAL], save=("2it", "18it"))
    outcome = step.run(start, context)
    assert outcome.checkpoint.density < 0.25 < outcome.points["2it"].density
    assert outcome.points["18it"].density == outcome.checkpoint.density


@spec
class Wrong(Event):
    """Gives a mask of another shape."""

    def masks(self, seen: Evidence, masks: Masks, moment: Moment) -> dict[str, torch.Tensor]:
        return {name: torch.ones(2, dtype=torch.bool) for name in masks}


def test_what_is_wrong_is_said() -> None:
    data = built(vectors())
    start = begin(MLP, data)
    with pytest.raises(StepError, match="event Wrong must give a bool mask"):
        run(MLP, data, start, events=[Wrong(every="3it")])
    with pytest.raises(SpecError, match="event RigL never happens"):
        run(MLP, data, start, events=["rigl"])
    with pytest.raises(SpecError, match="unknown event 'rigel'; did you mean 'rigl'"):
        TrainSettings(epochs=1, events=["rigel"])
    with pytest.raises(SpecError, match=r"exclude: 'fc9\.\*' is no role"):
        run(MLP, data, start, events=[RigL(every="3it", exclude=("fc9.*",))])


def test_modules_with_state_of_their_own_go_on() -> None:
    data = built(images())
    found = run(CONV, data, begin(CONV, data), events=[Gradual(density=0.3, every="4it")], engine="sparse")
    assert int(found.state["1.num_batches_tracked"]) == 18


def test_layers_that_become_sparse_on_the_way_are_no_change_of_the_network() -> None:
    data = built(images())
    module = CONV.build(data.input_shape, data.classes, 0)
    fresh = lambda: CONV.build(data.input_shape, data.classes, 0)  # noqa: E731
    settings = TrainSettings(
        length="18it", batch_size=16, lr=0.01, events=[{"gradual": {"every": "2it", "density": 0.05}}]
    )
    found = fit(module, data, settings, constraints=begin(CONV, data).constraints, engine="auto", fresh=fresh)
    assert set(found.engines.values()) >= {"sparse"}
    assert found.notes == []


def test_what_never_happens_is_told_before_anything_runs() -> None:
    with pytest.raises(SpecError, match="event RigL never happens"):
        check_settings(Train(epochs=1, batch_size=16, events=({"rigl": {"every": "300it"}},)), built(images()))
