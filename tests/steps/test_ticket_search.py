"""Concrete Ticket Search on cases whose answer is known on paper."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.nn.functional import log_softmax

from overparam import Network, Prune, SpecError, TicketSearch
from overparam.steps import Context
from overparam.streams import torch_stream
from overparam.train import Distill
from overparam.train.optimisers.grad_balance import GradBalance
from overparam.worlds import Dataset
from overparam.worlds.task import Regression
from small import MLP, begin, bits, built, context_of, given, same_bits, vectors

LIVE, DEAD = 3, 9


def half_blind() -> Dataset:
    """Points of which all but the first three coordinates are zero."""
    seen = vectors(train=200, width=LIVE)
    parts = (seen.train_inputs, seen.train_targets, seen.test_inputs, seen.test_targets)
    return Dataset("half blind", *(torch.nn.functional.pad(p, (0, DEAD)) if p.dim() == 2 else p for p in parts))


def test_no_gate_stays_open_on_inputs_that_are_always_zero() -> None:
    """Nothing pulls at a weight that reads zeros, so the push alone closes it: all that is kept reads live inputs."""
    data, network = built(half_blind()), Network("mlp", {"hidden": [20]})
    start, context = begin(network, data), context_of(network, data)
    step = TicketSearch(density=0.1, length="300it", batch_size=50, exclude=("output",))
    found = step.run(start, context).checkpoint
    (name,) = (name for name, role in start.roles.items() if role == "linear" and name in start.masks)
    assert found.masks[name][:, LIVE:].sum() == 0
    assert int(found.masks[name].sum()) == round(0.1 * 20 * (LIVE + DEAD))


def test_weights_stay_and_the_count_is_exact() -> None:
    data = built(vectors())
    start, context = begin(MLP, data), context_of(MLP, data)
    found = TicketSearch(density=0.3, length="20it", batch_size=16).run(start, context).checkpoint
    assert found.kept == round(0.3 * start.kept)
    assert found.level == 1
    for name, tensor in found.state.items():
        mask = found.masks.get(name, torch.ones_like(tensor, dtype=torch.bool))
        assert bits(tensor[mask]) == bits(start.state[name][mask])
    again = TicketSearch(density=0.3, length="20it", batch_size=16).run(start, context).checkpoint
    assert same_bits(found.masks, again.masks)


def test_a_searched_mask_does_what_the_dense_network_does_and_a_random_one_less() -> None:
    data, network = built(vectors(train=300, width=20)), Network("mlp", {"hidden": [40]})
    start, context = begin(network, data), context_of(network, data)
    likeness = Distill("dense", temperature=1.0, weight=1.0, reverse=True).bound(given(network, data, {"dense": start}))
    batch = data.train.fetch(torch.arange(300))

    def apart(step: TicketSearch | Prune) -> float:
        found = step.run(start, context).checkpoint.load_into(context.module()).eval()
        return float(likeness(found(batch.inputs).detach(), batch))

    searched = apart(TicketSearch(density=0.2, length="400it", batch_size=50))
    assert searched < 0.5 * min(apart(Prune(name, density=0.2)) for name in ("random", "magnitude"))


def test_the_divergence_is_reversed() -> None:
    data = built(vectors())
    start, batch = begin(MLP, data), data.train.fetch(torch.arange(10))
    outputs = torch.randn(10, 3)
    teacher = start.load_into(MLP.build(data.input_shape, data.classes, 5)).eval()
    learned, taught = log_softmax(outputs, 1), log_softmax(teacher(batch.inputs).detach(), 1)
    for reverse, (one, two) in {True: (learned, taught), False: (taught, learned)}.items():
        loss = Distill("t", temperature=1.0, weight=1.0, reverse=reverse).bound(given(MLP, data, {"t": start}))
        torch.testing.assert_close(loss(outputs, batch), (one.exp() * (one - two)).sum(1).mean())
    assert "reverse" not in Distill("t").parameters(), "what was meant before there was a choice"


def test_grad_balance_pushes_as_strongly_as_the_loss_pulls_and_only_above_the_target() -> None:
    """By hand: p = 1/2 on eight gates, 4 open, T = 1: the push is as long as the pull; below T it is not there."""
    scores = nn.Parameter(torch.zeros(8))
    pull = torch.arange(8.0) - 3
    balance = GradBalance(1 / 8, slack=1.0, smoothing=0.5).over([scores], 0.1)
    scores.grad = pull.clone()
    balance.step()
    torch.testing.assert_close(scores.grad - pull, torch.full((8,), float(pull.norm()) / math.sqrt(8)))
    first = balance.param_groups[0]["multiplier"]
    scores.data.fill_(-5.0)  # far below
    scores.grad = pull.clone()
    balance.step()
    assert balance.param_groups[0]["multiplier"] == pytest.approx(first / 2), "the running mean with 0"
    alone = GradBalance(1 / 8).over([other := nn.Parameter(torch.full((8,), -5.0))], 0.1)
    other.grad = pull.clone()
    alone.step()
    assert torch.equal(other.grad, pull)


def test_what_cannot_be_searched_is_refused() -> None:
    data = built(vectors())
    start, context = begin(MLP, data), context_of(MLP, data)
    pruned = Prune(fraction=0.5).run(start, context).checkpoint
    for tried in (TicketSearch.run, TicketSearch.rehearse):
        with pytest.raises(SpecError, match="is pruned already, and gates choose from all weights; redense first"):
            tried(TicketSearch(density=0.1, length="1it"), pruned, context)
    rehearsed = TicketSearch(density=0.3, length="1it").rehearse(start, context)
    assert rehearsed.kept == round(0.3 * start.kept)
    with pytest.raises(SpecError, match=r"TicketSearch.density: input should be less than 1"):
        TicketSearch(density=1.0)


def test_in_a_regression_it_is_the_squared_difference_that_is_small() -> None:
    parts = [
        torch.randn(rows, width, generator=torch_stream(rows, str(width))) for rows in (200, 20) for width in (8, 2)
    ]
    data = built(Dataset("plane", *parts, task=Regression(2)))
    network = Network("mlp", {"hidden": [20]})
    start = begin(network, data)
    context = Context(world=data, module=lambda: network.build(**data.form, seed=9), fresh=lambda draw: nn.Identity())
    dense = start.load_into(context.module())(data.train.inputs).detach()

    def apart(step: TicketSearch | Prune) -> float:
        found = step.run(start, context).checkpoint.load_into(context.module())
        return float((found(data.train.inputs) - dense).detach().square().mean())

    assert apart(TicketSearch(density=0.3, length="200it", batch_size=50)) < 0.5 * apart(Prune("random", density=0.3))
