"""What constraints are for, on real data: from a study file and from Python, stopped in the middle and taken up."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from own_constraint import Binarise, Signs

from overparam import (
    Chain,
    Checkpoint,
    Hold,
    Prune,
    Quantise,
    Repeat,
    Results,
    Rewind,
    Store,
    Study,
    Train,
    World,
)
from overparam import Supermask as LearnMask
from overparam.constraints import Frozen, Quantised, Supermask
from overparam.lab import parse_yaml
from overparam.lab.weights import checkpoint_from_bytes
from small import bits
from stopped import stopped_and_taken_up as twice

PAGE = """
name: {name}
world: {{dataset: digits, train_size: 600}}
network: lenet-300-100
train: {{{train}, batch_size: 50, epochs: {epochs}}}
chain: {chain}
probes: [accuracy, density]
"""


def written(name: str, train: str, epochs: int, chain: str) -> Study:
    page = PAGE.format(name=name, train=train, epochs=epochs, chain=chain)
    return Study.from_mapping(parse_yaml(page, "page"))


def coded(name: str, *steps: Any) -> Study:
    world = World("digits", train_size=600)
    return Study(name, world, "lenet-300-100", Chain(*steps), probes=["accuracy", "density"])


def checkpoints(study: Study, store: Path) -> dict[str, Checkpoint]:
    return {node: checkpoint_from_bytes(Store(store).weights(node)) for node in study.plan.steps}


@pytest.fixture
def stopped_and_taken_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run a study in two stores, stopped in the middle of its trainings in one of them; give both."""

    def run(study: Study, stops: int) -> tuple[Results, dict[str, Checkpoint]]:
        results, _ = twice(study, tmp_path, monkeypatch, stops)
        return results, checkpoints(study, tmp_path / "whole")

    return run


MOMENTUM: dict[str, Any] = {"optimizer": {"sgd": {"momentum": 0.9}}}
WAYS = {
    "momentum and decay": (
        "optimizer: {sgd: {momentum: 0.9, weight_decay: 0.01}}, lr: 0.1",
        {"optimizer": {"sgd": {"momentum": 0.9, "weight_decay": 0.01}}},
    ),
    "adamw": (
        "optimizer: {adamw: {weight_decay: 0.1}}, lr: 0.002",
        {"optimizer": {"adamw": {"weight_decay": 0.1}}, "lr": 0.002},
    ),
}


@pytest.mark.parametrize("way", WAYS)
def test_tickets_whose_pruned_weights_stay_at_their_initial_values(way: str, stopped_and_taken_up: Any) -> None:
    text, settings = WAYS[way]
    study = written(
        "held", text, 4, "[{hold: initial}, train, {repeat: 2, steps: [{prune: 0.6}, {rewind: init}, train]}]"
    )
    train = Train(epochs=4, batch_size=50, **settings)
    code = coded("held", Hold("initial"), train, Repeat(2, Prune(fraction=0.6), Rewind("init"), train))
    assert list(code.plan.steps) == list(study.plan.steps)
    results, found = stopped_and_taken_up(study, 2)
    init = next(iter(found.values()))
    trained = [each for node, each in found.items() if study.plan.steps[node].title.startswith("train")]
    assert [round(each.density, 2) for each in trained] == [1.0, 0.4, 0.16]
    for checkpoint in found.values():
        for name, mask in checkpoint.masks.items():
            assert bits(checkpoint.state[name][~mask]) == bits(init.state[name][~mask])
    for checkpoint in trained:
        assert all(isinstance(checkpoint.constraints[name], Frozen) for name in checkpoint.masks)
        assert all(
            (checkpoint.state[n] != init.state[n])[mask].float().mean() > 0.8 for n, mask in checkpoint.masks.items()
        )
    assert results.frame["density"].to_list() == pytest.approx([1, 0.4, 0.16], abs=1e-3)
    assert results.frame["test_accuracy"].min() > 0.6


def test_a_mask_is_learned_over_weights_that_are_not(stopped_and_taken_up: Any) -> None:
    study = written("supermask", "optimizer: {sgd: {momentum: 0.9}}, lr: 0.5", 8, "[{supermask: 0.5}, train]")
    code = coded("supermask", LearnMask(0.5), Train(**MOMENTUM, lr=0.5, epochs=8, batch_size=50))
    assert list(code.plan.steps) == list(study.plan.steps)
    results, found = stopped_and_taken_up(study, 1)
    init, put, trained = found.values()
    assert results.frame["test_accuracy"].item() > 0.85, "ten classes"
    assert results.frame["density"].item() == pytest.approx(0.5, abs=1e-4)
    for name, tensor in trained.state.items():
        mask = trained.masks.get(name)
        assert bits(tensor) == bits(init.state[name] if mask is None else init.state[name].where(mask, 0.0)), name
    for name in trained.masks:
        constraint = trained.constraints[name]
        assert isinstance(constraint, Supermask)
        assert bits(constraint.weights) == bits(init.state[name])
        assert bits(constraint.scores) != bits(put.constraints[name].scores)


def test_four_bits_are_nearly_as_good_as_all(stopped_and_taken_up: Any) -> None:
    tuned = "optimizer: {sgd: {momentum: 0.9}}, lr: 0.05"
    chain = "[train, {quantise: {bits: 4}}, {train: {epochs: 3}}]"
    study = written("four-bits", tuned, 8, chain)
    train = {**MOMENTUM, "lr": 0.05, "batch_size": 50}
    code = coded("four-bits", Train(epochs=8, **train), Quantise(4), Train(epochs=3, **train))
    assert list(code.plan.steps) == list(study.plan.steps)
    results, found = stopped_and_taken_up(study, 1)
    full, few = results.frame["test_accuracy"].to_list()
    assert few > full - 0.02
    assert full > 0.9
    last = list(found.values())[-1]
    assert all(isinstance(each, Quantised) for each in last.constraints.values())
    for name in last.masks:
        assert 8 < last.state[name].unique().numel() <= 16


def test_a_constraint_of_one_s_own_by_its_import_path(stopped_and_taken_up: Any) -> None:
    study = coded(
        "own",
        Binarise(exclude=("output",)),
        Train(**MOMENTUM, lr=0.05, epochs=6, batch_size=50),
    )
    chain = '[{"own_constraint:Binarise": {exclude: [output]}}, train]'
    text = written("own", "optimizer: {sgd: {momentum: 0.9}}, lr: 0.05", 6, chain)
    assert list(text.plan.steps) == list(study.plan.steps)
    results, found = stopped_and_taken_up(study, 1)
    assert results.frame["test_accuracy"].item() > 0.7
    last = list(found.values())[-1]
    kinds = {name: type(each) for name, each in last.constraints.items()}
    assert [name for name, kind in kinds.items() if kind is Signs] == ["fc1.weight", "fc2.weight"]
    assert last.state["fc1.weight"].abs().unique().numel() == 1
