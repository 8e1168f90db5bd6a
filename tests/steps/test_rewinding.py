from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from overparam import Checkpoint, Length, LrRewind, Network, Reinit, Rewind, SpecError, Train
from overparam.checkpoint import masked_state
from overparam.length import START
from overparam.steps import Context
from overparam.worlds import WorldData
from small import CONV, MLP, begin, bits, built, context_of, frozen, half_pruned, images, same_bits, vectors
from small import zeros_are_clean as clean

TRAIN = Train(
    epochs=3, batch_size=16, schedule={"multistep": {"milestones": ["5it", "9it"]}}, save=("0it", "5it", "2ep")
)


def pruned_after_training(network: Network, data: WorldData) -> tuple[Checkpoint, Checkpoint, dict[str, Checkpoint]]:
    """The initialisation, the trained and pruned network, and the points on the way."""
    start = begin(network, data)
    outcome = TRAIN.run(start, context_of(network, data))
    return start, half_pruned(outcome.checkpoint, 0.4).counted("prune"), dict(outcome.points)


def context(network: Network, data: WorldData, **references: Checkpoint) -> Context:
    return context_of(network, data, references=references)


@pytest.mark.parametrize("network", [MLP, CONV], ids=["mlp", "batch norm"])
@pytest.mark.parametrize("to", ["init", "5it", "2ep", "a-label"])
def test_rewound_weights_are_the_saved_ones_bit_for_bit(network: Network, to: str) -> None:
    data = built(images())
    init, pruned, points = pruned_after_training(network, data)
    goal = {"init": init, "a-label": half_pruned(init, 0.9, seed=1), **points}[to]
    rewound = Rewind(to).run(pruned, context(network, data, **{to: goal})).checkpoint
    assert same_bits(rewound.state, masked_state(goal.state, pruned.masks))
    for name, tensor in goal.state.items():
        mask = pruned.masks.get(name)
        if mask is None:
            assert bits(rewound.state[name]) == bits(tensor), "biases, norms and buffers go back as a whole"
        else:
            assert bits(rewound.state[name][mask]) == bits(tensor[mask])
    assert clean(rewound)
    assert rewound.position == goal.position == (Length.of(to) if to in points else START)
    assert rewound.counters == {"prune": 1}
    assert all(rewound.masks[name] is mask for name, mask in pruned.masks.items())
    if network is CONV and to != "init":
        assert rewound.state["1.num_batches_tracked"] == goal.state["1.num_batches_tracked"]


def test_only_what_is_named_is_needed() -> None:
    assert Rewind().references() == ("init",)
    assert Rewind("5it").references() == ("5it",)
    assert LrRewind("5it").references() == ()


@pytest.mark.parametrize("to", ["5it", "2ep"])
def test_training_after_a_late_rewind_follows_the_schedule_from_there(to: str) -> None:
    data = built(vectors())
    init, _, points = pruned_after_training(MLP, data)
    whole = TRAIN.run(init, context_of(MLP, data))
    rewound = Rewind(to).run(whole.checkpoint, context(MLP, data, **{to: points[to]})).checkpoint
    tail = TRAIN.run(rewound, context_of(MLP, data))
    assert same_bits(tail.checkpoint.state, whole.checkpoint.state), "nothing was pruned, so the tail is the same"
    assert tail.curve[-1]["lr"] == pytest.approx(0.1 * 0.1**2)
    assert tail.facts["iterations"] == 12


def test_lr_rewind_keeps_the_weights_and_sets_the_position() -> None:
    data = built(vectors())
    _, pruned, _ = pruned_after_training(MLP, data)
    for to, position in (("init", START), ("5it", Length(5, "it")), ("2ep", Length(2, "ep"))):
        moved = LrRewind(to).run(pruned, context(MLP, data)).checkpoint
        assert {**frozen(moved), "position": ""} == {**frozen(pruned), "position": ""}
        assert moved.position == position
    late = LrRewind("5it").run(pruned, context(MLP, data)).checkpoint
    trained = TRAIN.run(late, context_of(MLP, data))
    assert [row["epoch"] for row in trained.curve] == [2, 3], "the rest of the second epoch, and the third"
    assert [row["lr"] for row in trained.curve] == pytest.approx([0.01, 0.01 * 0.1])
    assert trained.checkpoint.position == START
    assert not same_bits(trained.checkpoint.state, TRAIN.run(pruned, context_of(MLP, data)).checkpoint.state)


@pytest.mark.parametrize("to", ["500", "later", "1.5it", ""])
def test_lr_rewind_takes_points_only(to: str) -> None:
    with pytest.raises(SpecError, match=r"'init' or a point of the schedule"):
        LrRewind(to)


def test_reinit_draws_anew_each_time_under_the_same_mask() -> None:
    data = built(images())
    init, pruned, _ = pruned_after_training(CONV, data)
    pruned = replace(pruned, position=Length(5, "it"))
    first = Reinit().run(pruned, context_of(CONV, data)).checkpoint
    second = Reinit().run(first, context_of(CONV, data)).checkpoint
    other_seed = Reinit().run(pruned, context_of(CONV, data, seed=1)).checkpoint
    for drawn in (first, second, other_seed):
        assert all(torch.equal(drawn.masks[name], mask) for name, mask in pruned.masks.items())
        assert clean(drawn)
        assert drawn.position == START
        assert drawn.level == 1
        assert drawn.state["1.num_batches_tracked"] == 0, "buffers are fresh too"
    name = "0.weight"
    mask = pruned.masks[name]
    values = [checkpoint.state[name][mask] for checkpoint in (init, pruned, first, second, other_seed)]
    for place, one in enumerate(values):
        assert not any(torch.isin(one, other).any() for other in values[place + 1 :]), "no weight is as it was"
    assert (first.count("reinit"), second.count("reinit")) == (1, 2)
    spread = float(first.state["5.weight"][first.masks["5.weight"]].std() / init.state["5.weight"].std())
    assert 0.8 < spread < 1.25, "from the distribution of the initialisation"
