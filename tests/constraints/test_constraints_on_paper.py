"""Constraints where the answer is known, and what holds whatever the numbers."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from overparam import SpecError
from overparam.constraints import (
    EVALUATION,
    SAMPLED,
    TRAINING,
    Frozen,
    Masked,
    Quantised,
    Supermask,
    Uniform,
    effective,
    straight_through,
)
from small import bits

FINITE = st.floats(-100, 100, width=32)
ODD = st.one_of(FINITE, st.sampled_from([0.0, -0.0, 1e-45, -1e-38, 3e38]))
T, F = True, False


def vectors(elements: st.SearchStrategy[float]) -> st.SearchStrategy[Tensor]:
    return st.lists(elements, min_size=1, max_size=40).map(torch.tensor)


def test_bits_on_paper() -> None:
    weight, mask, ones = torch.arange(12.0).reshape(3, 4), torch.arange(12).reshape(3, 4) % 4 == 0, torch.ones(3, 4) > 0
    assert Masked(ones).bits(weight) == (0, 12 * 32, 0)
    assert Masked(mask).bits(weight) == (12, 3 * 32, 0)
    assert Masked(mask).bits(weight.half()) == (12, 3 * 16, 0)
    assert Frozen(mask, weight).bits(weight) == (0, 12 * 32, 0), "what is frozen is no zero"
    assert Quantised(weight, ones, Uniform(4)).bits(weight) == (0, 12 * 4, 32)
    assert Quantised(weight, mask, Uniform(4)).bits(weight) == (12, 3 * 4, 32)
    assert Quantised(weight, mask, Uniform(4)).bits(weight).total == 12 + 12 + 32
    assert Supermask(weight, weight, 0.25).bits(weight) == (12, 3 * 32, 0)


def test_equal_steps_on_paper() -> None:
    weight = torch.tensor([-0.9, 0.5, 0.44, -0.44, 0.1, 0.0])
    assert Uniform(2)(weight).tolist() == pytest.approx([-0.9, 0.9, 0.0, 0.0, 0.0, 0.0])
    assert Uniform(3)(weight).tolist() == pytest.approx([-0.9, 0.6, 0.3, -0.3, 0.0, 0.0])
    assert Uniform(4)(torch.zeros(3)).tolist() == [0, 0, 0]
    assert Uniform(4)(torch.zeros(0)).tolist() == []
    with pytest.raises(SpecError, match=r"Uniform\.bits: input should be greater than or equal to 2, got 1"):
        Uniform(1)


@given(weight=vectors(ODD), width=st.integers(2, 8))
def test_quantised_weights_are_few_and_near(weight: Tensor, width: int) -> None:
    found = Uniform(width)(weight)
    assert found.unique().numel() <= 2**width - 1
    assert bool(found.isfinite().all())
    step = weight.abs().max() / (2 ** (width - 1) - 1)
    assert bool(((found - weight).abs() <= 0.5001 * step + 1e-37).all())
    assert bits(Uniform(width)(-weight).abs()) == bits(found.abs()), "symmetric"


@given(scores=vectors(st.sampled_from([0.0, 1.0, 2.0]) | FINITE), density=st.floats(0.01, 1))
def test_a_supermask_keeps_exactly_the_highest_scores(scores: Tensor, density: float) -> None:
    kept = Supermask(scores, torch.ones_like(scores), density).kept()
    count = max(1, round(density * scores.numel()))
    assert int(kept.sum()) == count
    assert count == scores.numel() or scores[kept].min() >= scores[~kept].max()
    ranked = sorted(range(scores.numel()), key=lambda place: (-float(scores[place]), place))
    assert kept.nonzero()[:, 0].tolist() == sorted(ranked[:count]), "of equal scores the first"


def test_supermasks_on_paper() -> None:
    scores, weights = torch.tensor([3.0, -1.0, 2.0, 0.5]), torch.tensor([1.0, 2.0, -4.0, -8.0])
    assert effective(Supermask(scores, weights, 0.5), weights).tolist() == [1, 0, -4, 0]
    assert effective(Supermask(scores, weights, 0.5, rescale="count"), weights).tolist() == [2, 0, -8, 0]
    assert effective(Supermask(scores, weights, 0.25, rescale="variance"), weights).tolist() == [2, 0, 0, 0]
    drawn = Supermask(scores, weights)
    assert effective(drawn, weights).tolist() == [1, 0, -4, -8], "the most probable mask"
    assert bits(effective(Supermask(scores, weights, 0.25), weights)[1:]) == bytes(12), "never -0.0"
    free = {"scores": scores.clone().requires_grad_()}
    (Supermask(scores, weights, 0.5).weight(free, TRAINING) * torch.tensor([1.0, 10.0, 1.0, 10.0])).sum().backward()
    assert free["scores"].grad.tolist() == [1, 20, -4, -80], "gradient of the weight times the weight, kept or not"


def test_a_drawn_mask_has_the_chances_of_its_scores() -> None:
    weights = torch.ones(4)
    drawn = Supermask(torch.tensor([-2.0, 0.0, 1.0, 50.0]), weights)
    torch.manual_seed(0)
    share = torch.stack([drawn.weight(drawn.free(weights), TRAINING) for _ in range(2000)]).mean(0)
    assert share.tolist() == pytest.approx([0.119, 0.5, 0.731, 1.0], abs=0.04)


def gradient_of(mask: Supermask) -> list[float]:
    free = {"scores": mask.scores.clone().requires_grad_()}
    mask.weight(free, TRAINING).sum().backward()
    return free["scores"].grad.tolist()


def test_gates_on_paper() -> None:
    scores, weights = torch.tensor([0.0, math.log(3), -math.log(3)]), torch.tensor([2.0, 4.0, -4.0])
    drawn = Supermask(scores, weights)
    assert (drawn.gate, Supermask(scores, weights, 0.5).gate) == ("bernoulli", "top-k")
    assert gradient_of(drawn) == pytest.approx([2 / 4, 4 * 3 / 16, -4 * 3 / 16]), "w p (1 - p), whatever is drawn"
    assert effective(drawn, weights).tolist() == [2, 4, 0], "a chance of a half is kept"
    smooth = Supermask(scores, weights, gate="sigmoid", temperature=0.5)
    assert smooth.weight({"scores": scores}, TRAINING).tolist() == pytest.approx([1, 4 * 9 / 10, -4 / 10])
    assert gradient_of(smooth) == pytest.approx([2 / 2, 2 * 4 * 9 / 100, -2 * 4 * 9 / 100])
    assert effective(smooth, weights).tolist() == [2, 4, 0]
    assert effective(Supermask(scores, weights, 1 / 3, gate="sigmoid"), weights).tolist() == [0, 4, 0]
    assert Supermask(scores, weights, l0=2.0).penalty({"scores": scores}).item() == pytest.approx(2 * 1.5)
    assert drawn.penalty({"scores": scores}) is None


def test_concrete_gates_are_open_with_the_chances_of_their_scores_and_near_0_and_1_when_cold() -> None:
    scores = torch.tensor([-2.0, 0.0, 1.0]).repeat(4000, 1)
    torch.manual_seed(0)
    for temperature in (2 / 3, 0.01):
        gates = Supermask(scores, torch.ones_like(scores), gate="concrete", temperature=temperature)
        made = gates.weight(gates.free(scores), TRAINING)
        assert (made > 0.5).float().mean(0).tolist() == pytest.approx([0.119, 0.5, 0.731], abs=0.03)
        assert bool(((made >= 0) & (made <= 1)).all())
    assert ((made < 0.01) | (made > 0.99)).float().mean() > 0.95


@pytest.mark.parametrize("gate", ["bernoulli", "concrete"])
def test_samples_are_drawn_with_the_chances_of_the_scores(gate: Any) -> None:
    scores = torch.tensor([-2.0, 0.0, 1.0]).repeat(4000, 1)
    constraint = Supermask(scores, torch.ones_like(scores), gate=gate)
    torch.manual_seed(0)
    made = constraint.weight(constraint.free(scores), SAMPLED)
    assert set(made.unique().tolist()) == {0, 1}
    assert made.mean(0).tolist() == pytest.approx([0.119, 0.5, 0.731], abs=0.03)
    assert constraint.random
    for fixed in (Supermask(scores, scores, 0.3), Supermask(scores, scores, gate="sigmoid"), Masked(scores > 0)):
        assert not fixed.random
        assert bits(fixed.weight(fixed.free(scores), SAMPLED)) == bits(effective(fixed, scores))


OPTIMISERS: dict[str, Callable[[list[nn.Parameter]], torch.optim.Optimizer]] = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.1),
    "adamw": lambda p: torch.optim.AdamW(p, lr=0.1, weight_decay=0.5, amsgrad=True),
    "adam": lambda p: torch.optim.Adam(p, lr=0.1, weight_decay=0.5),
    "rmsprop": lambda p: torch.optim.RMSprop(p, lr=0.1, momentum=0.9, weight_decay=0.1, centered=True),
    "adagrad": lambda p: torch.optim.Adagrad(p, lr=0.1, weight_decay=0.1),
    "averaged sgd": lambda p: torch.optim.ASGD(p, lr=0.1, weight_decay=0.1),
    "nadam": lambda p: torch.optim.NAdam(p, lr=0.1, weight_decay=0.1, decoupled_weight_decay=True),
    "rprop": lambda p: torch.optim.Rprop(p, lr=0.1),
    "lbfgs": lambda p: torch.optim.LBFGS(p, lr=0.1),
}


@pytest.mark.parametrize("name", OPTIMISERS)
@given(data=st.data(), mask=st.lists(st.booleans(), min_size=2, max_size=30))
@settings(max_examples=10, deadline=None)
def test_what_is_frozen_is_unmoved_whatever_the_optimiser(name: str, data: Any, mask: list[bool]) -> None:
    same = {"min_size": len(mask), "max_size": len(mask)}
    values = torch.tensor(data.draw(st.lists(ODD, **same)))
    start = torch.tensor(data.draw(st.lists(FINITE, **same)))
    kept = torch.tensor(mask)
    constraint = Frozen(kept, values)
    free = {key: nn.Parameter(tensor) for key, tensor in constraint.free(start).items()}
    optimiser = OPTIMISERS[name](list(free.values()))
    average = {key: tensor.detach().clone() for key, tensor in free.items()}

    def closure() -> Tensor:
        optimiser.zero_grad()
        loss = (constraint.weight(free, TRAINING).clamp(-1e3, 1e3) - 7).square().sum()
        loss.backward()
        return loss

    for _ in range(4):
        optimiser.step(closure)
        average = {key: tensor.lerp(free[key].detach(), 0.3) for key, tensor in average.items()}
    assert torch.equal(constraint.weight(free, TRAINING)[~kept], values[~kept]), "in training as in evaluation"
    for moved in (constraint.moved(free), constraint.moved(average)):
        for each in (free, average):
            with torch.no_grad():
                assert bits(moved.weight(each, EVALUATION)[~kept]) == bits(values[~kept])
    assert not kept.any() or bits(free["weight"][kept]) != bits(start[kept])


def test_a_masked_gradient_would_not_do() -> None:
    """Why there is a constraint: the same with a gradient that is zero where it is frozen, which moves."""
    values = torch.tensor([0.5, -0.5])
    weight = nn.Parameter(values.clone())
    optimiser = torch.optim.SGD([weight], lr=0.1, momentum=0.9, weight_decay=0.1)
    weight.grad = torch.zeros(2)
    optimiser.step()
    assert not torch.equal(weight.detach(), values)


def test_a_tensor_that_is_frozen_whole_frees_nothing() -> None:
    values = torch.tensor([1.0, -2.0])
    constraint = Frozen(None, values)
    assert constraint.free(torch.zeros(2)) == {}
    assert constraint.kept() is None
    assert constraint.weight({}, TRAINING) is values
    assert constraint.onto(values + 1).values.tolist() == [2, -1]
    with pytest.raises(SpecError, match="has no weights that could be pruned"):
        constraint.under(torch.ones(2) > 0)


@given(made=vectors(ODD), smooth=st.randoms())
def test_straight_through_changes_no_number(made: Tensor, smooth: Any) -> None:
    other = torch.tensor([smooth.uniform(-9, 9) for _ in range(made.numel())], requires_grad=True)
    found = straight_through(made, other)
    assert bits(found.detach() + 0.0) == bits(made + 0.0)
    found.sum().backward()
    assert other.grad.tolist() == [1] * made.numel()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Masked(torch.ones(2)), r"mask must be a bool tensor, got torch\.float32; use mask\.bool\(\)"),
        (lambda: Masked([T, F]), r"Masked\.mask: input should be an instance of Tensor"),
        (lambda: Frozen(torch.tensor([T, F]), torch.ones(3)), r"must have one shape, got \(2,\), \(3,\)"),
        (
            lambda: Quantised(torch.ones(3), torch.tensor([T, F]), Uniform(4)),
            r"must have one shape, got \(2,\), \(3,\)",
        ),
        (lambda: Supermask(torch.ones(3), torch.ones(2), 0.5), r"must have one shape, got \(3,\), \(2,\)"),
        (lambda: Supermask(torch.ones(3), torch.ones(3), 0.0), r"density: input should be greater than 0, got 0\.0"),
        (lambda: Supermask(torch.ones(3), torch.ones(3), 0.5, rescale="mean"), r"rescale: input should be 'count' or"),
        (
            lambda: Supermask(torch.ones(3), torch.ones(3), gate="top-k"),
            r"gate 'top-k' keeps a density .* give density",
        ),
        (lambda: Supermask(torch.ones(3), torch.ones(3), 0.5, l0=1), r"l0 must be 0 with gate 'top-k'.*got 1"),
    ],
)
def test_wrong_parts_are_refused_in_words(make: Callable[[], object], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        make()
