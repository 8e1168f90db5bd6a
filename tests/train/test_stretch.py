"""Longer trainings of the same shape, and as much computation for a pruned network as for the dense one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from overparam import Compact, Prune, SpecError, Train
from overparam.networks.surgery import operate
from overparam.train import TrainSettings, fit
from small import CONV, MLP, begin, built, context_of, images, same_bits, vectors

STEPS = {"multistep": {"milestones": [1, "6it"], "gamma": 0.1}}


def rates(**fields: Any) -> list[float]:
    settings = TrainSettings(**{"epochs": 2, "batch_size": 10, "lr": 1.0, "schedule": STEPS, **fields})
    rate = settings.rates(per_epoch=5)
    return [rate(iteration) for iteration in range(settings.duration.iterations(5))]


@pytest.mark.parametrize("fields", [{}, {"schedule": "cosine"}, {"warmup": "3it"}, {"epochs": None, "length": "10it"}])
def test_every_rate_lasts_as_many_times_longer(fields: dict[str, Any]) -> None:
    assert rates(stretch=3, **fields) == [rate for rate in rates(**fields) for _ in range(3)]


def test_milestones_are_reached_at_the_same_share_of_the_training() -> None:
    assert rates() == pytest.approx([1.0] * 5 + [0.1] + [0.01] * 4)
    assert rates(stretch=1.5) == pytest.approx([1.0] * 8 + [0.1] + [0.01] * 6)


def test_stretched_once_it_is_the_training_that_it_was() -> None:
    data = built(vectors())

    def trained(**fields: Any) -> dict[str, torch.Tensor]:
        module = begin(MLP, data).load_into(MLP.build(**data.form, seed=0))
        return fit(module, data, TrainSettings(**{"epochs": 2, "batch_size": 10, **fields})).state

    assert same_bits(trained(), trained(stretch=1))
    assert same_bits(trained(stretch=2), trained(epochs=4))


@pytest.mark.parametrize("pattern", ["weights", "units"])
def test_the_budget_is_that_of_the_dense_network(pattern: str) -> None:
    """conv_net: 4 x 9 weights at 36 places, 144 x 8 and 8 x 3 once: 1,296 + 1,152 + 24 multiply-adds."""
    data = built(images())
    context = context_of(CONV, data)
    pruned = Prune(density=0.5, pattern=pattern).run(begin(CONV, data), context).checkpoint
    found = Train(epochs=2, batch_size=10, stretch="budget").run(pruned, context)
    kept = {name: int(mask.sum()) for name, mask in pruned.masks.items()}
    conv, hidden, output = kept.values()
    times = (1296 + 1152 + 24) / (36 * conv + hidden + output)
    assert found.facts["iterations"] == round(2 * times * 5)


def test_removed_units_count_as_saved() -> None:
    data = built(images())

    context = context_of(CONV, data)
    pruned = Prune(density=0.3, pattern="units").run(begin(CONV, data), context).checkpoint
    smaller = Compact().run(pruned, context).checkpoint
    assert smaller.surgery
    after = replace(context, module=lambda: operate(context.module(), smaller.surgery))
    train = Train(epochs=1, batch_size=10, stretch="budget")
    assert train.run(smaller, after).facts["iterations"] >= train.run(pruned, context).facts["iterations"] > 5


def test_a_dense_network_has_its_own_budget() -> None:
    data = built(vectors())
    found = Train(epochs=3, batch_size=10, stretch="budget").run(begin(MLP, data), context_of(MLP, data))
    assert found.facts["iterations"] == 15


def test_what_cannot_be_is_refused() -> None:
    data = built(vectors())
    with pytest.raises(SpecError, match="stretch"):
        TrainSettings(epochs=1, stretch=0)
    with pytest.raises(SpecError, match="'budget' is known in a step alone"):
        fit(MLP.build(**data.form, seed=0), data, TrainSettings(epochs=1, batch_size=10, stretch="budget"))
    start = begin(MLP, data)
    empty = start.masked({name: torch.zeros_like(mask) for name, mask in start.masks.items()})
    with pytest.raises(SpecError, match="a network that keeps no weight"):
        Train(epochs=1, batch_size=10, stretch="budget").run(empty, context_of(MLP, data))
