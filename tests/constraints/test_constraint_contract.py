"""What every constraint promises, those that are added later included: one without a case fails the first test."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields, replace
from functools import cache
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest
import torch
from constraint_cases import CASES, DATA, start
from own_constraint import Signs
from torch import Tensor

from overparam import Checkpoint, SpecError, StoreError
from overparam.constraints import CONSTRAINTS, EVALUATION, SRSTE, TRAINING, Constraint, Masked, effective
from overparam.constraints.storage import from_parts, to_parts
from overparam.lab.journal import FileJournal
from overparam.lab.weights import checkpoint_from_bytes, checkpoint_to_bytes, tensors_from_bytes, tensors_to_bytes
from overparam.train import Fit, TrainSettings, fit
from small import CONV, bits, frozen, same_bits, zeros_are_clean

WAYS: dict[str, dict[str, Any]] = {
    "momentum, decay, l1": {"lr": 0.05, "optimizer": {"sgd": {"momentum": 0.9, "weight_decay": 0.01}}, "l1": 0.001},
    "adamw": {"optimizer": {"adamw": {"weight_decay": 0.1}}, "lr": 0.01},
}


def train(begin: Checkpoint, journal: Any = None, **changes: Any) -> Fit:
    module = begin.load_into(CONV.build(DATA.input_shape, DATA.classes, 9))
    settings = TrainSettings(**{"epochs": 3, "batch_size": 16, "lr": 0.1, **changes})
    return fit(module, DATA, settings, constraints=begin.constraints, seed=3, journal=journal)


@cache
def trained(case: str, way: str) -> Fit:
    return train(start(case), **WAYS[way])


def tensors(constraint: Constraint) -> dict[str, Tensor]:
    found = {field.name: getattr(constraint, field.name) for field in fields(constraint)}
    return {name: value for name, value in found.items() if isinstance(value, Tensor)}


def test_there_is_a_case_for_every_constraint() -> None:
    kinds = {type(constraint) for case in CASES for constraint in start(case).constraints.values()}
    assert {CONSTRAINTS.get(name) for name in CONSTRAINTS} <= kinds


@pytest.mark.parametrize("case", CASES)
def test_it_says_what_it_is(case: str) -> None:
    for constraint in start(case).constraints.values():
        line = (type(constraint).__doc__ or "").strip().split("\n")[0]
        assert 20 < len(line) < 120


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("case", CASES)
def test_in_evaluation_it_makes_the_weight_of_the_state_bit_for_bit(case: str, way: str) -> None:
    begin, found = start(case), trained(case, way)
    for state, constraints in ((begin.state, begin.constraints), (found.state, found.constraints)):
        for name, constraint in constraints.items():
            assert bits(effective(constraint, state[name])) == bits(state[name])
            assert state[name].shape == begin.state[name].shape
    made = replace(begin, state=found.state, constraints=found.constraints)
    assert zeros_are_clean(made)
    assert made.kept > 0


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("case", CASES)
def test_what_is_free_moves_and_nothing_else(case: str, way: str) -> None:
    begin, found = start(case), trained(case, way)
    for name, before in begin.constraints.items():
        after, free = found.constraints[name], before.free(begin.state[name])
        moved = after.free(found.state[name])
        assert moved.keys() == free.keys()
        assert all(bits(moved[key]) != bits(free[key]) for key in free)
        fixed = {key: tensor for key, tensor in tensors(before).items() if key not in free}
        assert all(bits(tensors(after)[key]) == bits(tensor) for key, tensor in fixed.items())
    for name in begin.state.keys() - begin.constraints.keys():
        assert bits(found.state[name]) != bits(begin.state[name]), "what has no constraint is trained as ever"


@pytest.mark.parametrize("case", CASES)
def test_what_was_moved_is_free_again_bit_for_bit(case: str) -> None:
    for name, constraint in start(case).constraints.items():
        weight = start(case).state[name]
        free = {key: tensor.clone() for key, tensor in constraint.free(weight).items()}
        again = constraint.moved(free).free(weight)
        assert free.keys() == again.keys()
        assert all(bits(free[key]) == bits(again[key]) for key in free)


@pytest.mark.parametrize("case", CASES)
def test_gradients_reach_all_that_is_free(case: str) -> None:
    begin = start(case)
    for name, constraint in begin.constraints.items():
        free = {key: t.clone().requires_grad_() for key, t in constraint.free(begin.state[name]).items()}
        weight = constraint.weight(free, TRAINING)
        (weight * torch.arange(1.0, 1 + weight.numel()).reshape(weight.shape)).sum().backward()
        assert all(tensor.grad is not None and bool(tensor.grad.any()) for tensor in free.values())
        with torch.no_grad():
            assert bits(constraint.weight(free, EVALUATION)) == bits(begin.state[name])


@pytest.mark.parametrize("case", CASES)
def test_another_weight_comes_under_the_same_constraint(case: str) -> None:
    begin = start(case)
    other = {
        name: tensor.roll(1, 0) + 0.25 if tensor.is_floating_point() else tensor for name, tensor in begin.state.items()
    }
    moved = begin.with_state(other)
    for name, constraint in moved.constraints.items():
        assert type(constraint) is type(begin.constraints[name])
        follows = isinstance(constraint, SRSTE)  # its mask is a function of the weight
        assert follows or bits(moved.masks[name]) == bits(begin.masks[name])
        assert bits(moved.state[name]) != bits(begin.state[name])
    assert bits(moved.state["1.bias"]) == bits(other["1.bias"])
    assert same_bits(moved.with_state(begin.beneath()).state, begin.state), "and what lies beneath brings it back"


@pytest.mark.parametrize("case", CASES)
def test_it_is_stored_and_read_exactly(case: str) -> None:
    found = trained(case, "adamw")
    made = replace(start(case), state=found.state, constraints=found.constraints)
    content = checkpoint_to_bytes(made)
    again = checkpoint_from_bytes(content)
    assert frozen(again) == frozen(made)
    assert list(again.state) == list(made.state)
    assert all(type(again.constraints[name]) is type(each) for name, each in made.constraints.items())
    assert checkpoint_to_bytes(again) == content


@pytest.mark.parametrize("case", CASES)
def test_its_parts_are_tensors_and_json(case: str) -> None:
    parts, facts = to_parts(start(case).constraints)
    assert all(isinstance(tensor, Tensor) for tensor in parts.values())
    again = from_parts(parts, json.loads(json.dumps(facts, allow_nan=False)))
    assert to_parts(again)[1] == facts


@pytest.mark.parametrize(("case", "way"), list(zip(CASES, cycle(WAYS), strict=False)))
def test_a_kill_in_the_middle_and_a_resume_give_the_same_bits(case: str, way: str, tmp_path: Path) -> None:
    class Killed(Exception):
        pass

    class Dying(FileJournal):
        def save(self, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
            super().save(tensors, facts)
            if facts["iteration"] == 8:
                raise Killed

    begin, changes = start(case), {**WAYS[way], "save": ("3it", "3ep"), "evaluate_every": "3it"}
    whole = train(begin, **changes)
    with pytest.raises(Killed):
        train(begin, Dying(tmp_path / "journal", seconds=0), **changes)
    journal = FileJournal(tmp_path / "journal", seconds=1e9)
    resumed = train(begin, journal, **changes)
    assert journal.notes == []
    assert same_bits(resumed.state, whole.state)
    assert resumed.curve == whole.curve
    assert list(resumed.points) == list(whole.points) == ["3it", "3ep"]
    assert all(same_bits(resumed.points[point], state) for point, state in whole.points.items())
    for one, other in (
        (resumed.constraints, whole.constraints),
        *((resumed.points_under[point], under) for point, under in whole.points_under.items()),
    ):
        assert same_bits(to_parts(one)[0], to_parts(other)[0])


@pytest.mark.parametrize("case", CASES)
def test_what_does_not_fit_is_refused_in_words(case: str) -> None:
    begin = start(case)
    name, constraint = next(iter(begin.constraints.items()))
    module = CONV.build(DATA.input_shape, DATA.classes, 0)
    with pytest.raises(SpecError, match=r"constraints: there is no tensor '0\.wieght' in the state; did you mean"):
        replace(begin, constraints={"0.wieght": constraint})
    with pytest.raises(SpecError, match=r"constraints: '1\.bias' of shape \(4,\), .*\(4, 1, 3, 3\)"):
        replace(begin, constraints={"1.bias": constraint})
    with pytest.raises(SpecError, match=r"'weight', which the module lacks|the module has no parameter 'weight'"):
        fit(module, DATA, TrainSettings(epochs=1), constraints={"weight": constraint})
    with pytest.raises(SpecError, match=r"'1\.bias' of shape \(4,\)"):
        fit(module, DATA, TrainSettings(epochs=1), constraints={"1.bias": constraint})
    with pytest.raises(SpecError, match=rf"'{name}' must have a Constraint, got a Tensor; put a mask into Masked"):
        replace(begin, constraints={name: begin.masks[name]})
    if not isinstance(constraint, Masked) and case != "frozen, all kept":  # these make what they are given
        with pytest.raises(SpecError, match=r"is not what its \w+ makes; change weights by Checkpoint.with_state"):
            replace(begin, state={**begin.state, name: begin.state[name] + 1})


@pytest.mark.parametrize("case", CASES)
def test_the_sparse_engine_takes_plain_masks_alone(case: str) -> None:
    begin = start(case)
    if case == "masked":
        return
    name, kind = next((n, type(each).__name__) for n, each in begin.constraints.items() if type(each) is not Masked)
    module = begin.load_into(CONV.build(DATA.input_shape, DATA.classes, 9))
    settings = TrainSettings(epochs=1, batch_size=16)
    with pytest.raises(SpecError, match=rf"^engine: '{name}' is under {kind}, .* plain masks alone; take dense or"):
        fit(module, DATA, settings, constraints=begin.constraints, engine="sparse")
    found = fit(module, DATA, settings, constraints=begin.constraints, engine="auto")
    assert found.engine_note == f"{name!r} is under {kind}, and sparse layers know plain masks alone"
    assert set(found.engines) == set(begin.masks)
    assert set(found.engines.values()) == {"dense"}


@pytest.mark.parametrize("change", [{"__module__": "__main__"}, {"__qualname__": "made.<locals>.Signs"}], ids=str)
def test_a_class_that_nobody_could_import_is_not_stored(change: dict[str, str]) -> None:
    kind = type("Signs", (Signs,), change)
    with pytest.raises(SpecError, match=r"^constraint 'Signs' could not be found again .* module of its own"):
        to_parts({"w": kind(torch.ones(2))})


@pytest.mark.parametrize("case", CASES)
def test_a_file_that_lacks_a_part_or_has_another_is_told(case: str) -> None:
    parts, about = tensors_from_bytes(checkpoint_to_bytes(start(case)))
    wrong = [({key: t for key, t in parts.items() if key != gone}, about) for gone in parts]
    wrong += [({**parts, f"constraint/{name}": torch.ones(3)}, about) for name in ("0.weight/more", "nothing/latent")]
    kind = about["constraints"]["0.weight"]
    for other in ({}, 3, {**kind, "kind": "maskt"}, {**kind, "fields": {**kind["fields"], "more": 1}}):
        wrong.append((parts, {**about, "constraints": {**about["constraints"], "0.weight": other}}))
    for tensors_, facts in wrong:
        with pytest.raises(StoreError, match="not a checkpoint that overparam wrote"):
            checkpoint_from_bytes(tensors_to_bytes(tensors_, facts))
