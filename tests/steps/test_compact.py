"""Removing what pruning left dead: the same outputs, fewer weights, and what no longer fits is refused."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from overparam import Checkpoint, Compact, Network, Reinit, Rewind, Train
from overparam.errors import SpecError
from overparam.lab.weights import load_checkpoint, save_checkpoint
from overparam.networks.units import groups
from overparam.prune import unit_masks
from overparam.steps import Context
from small import CONV, begin, built, context_of, given, images, same_bits


def pruned(network: Network = CONV, fraction: float = 0.4) -> tuple[Checkpoint, Context]:
    data = built(images())
    start, context = begin(network, data), context_of(network, data)
    found = groups(start.load_into(context.module()), data.test.inputs[:1])
    scores = {name: start.state[name].abs() for name in start.masks}
    return start.masked(unit_masks(scores, start.masks, found, start.roles, fraction=fraction)), context


def outputs(checkpoint: Checkpoint, context: Context) -> torch.Tensor:
    with torch.no_grad():
        return checkpoint.load_into(context.module()).eval()(context.world.test.inputs)


def test_outputs_stay_and_weights_go(tmp_path: Path) -> None:
    start, context = pruned()
    done = Compact().run(start, context)
    assert done.facts["removed_units"] == {"0": 2, "5": 3}
    assert torch.allclose(outputs(start, context), outputs(done.checkpoint, context), atol=1e-5)
    assert done.checkpoint.density == 1.0
    assert {name: tuple(mask.shape) for name, mask in done.checkpoint.masks.items()} == {
        "0.weight": (2, 1, 3, 3),
        "5.weight": (5, 72),
        "7.weight": (3, 5),
    }
    save_checkpoint(done.checkpoint, tmp_path / "done")
    back = load_checkpoint(tmp_path / "done")
    assert (back.surgery, same_bits(back.state, done.checkpoint.state)) == (done.checkpoint.surgery, True)


def test_it_can_be_trained_and_made_smaller_again() -> None:
    start, context = pruned()
    once = Compact().run(start, context).checkpoint
    trained = Train(epochs=2, batch_size=16, lr=0.05).run(once, context).checkpoint
    assert [tensor.shape for tensor in trained.state.values()] == [tensor.shape for tensor in once.state.values()]
    masks = {**trained.masks, "7.weight": trained.masks["7.weight"] & (torch.arange(5) > 0)}
    twice = Compact().run(trained.masked(masks), context).checkpoint
    assert twice.state["5.weight"].shape == (4, 72)
    assert [replace.path for replace in twice.surgery] == ["0", "1", "5", "7"]
    assert torch.allclose(outputs(trained.masked(masks), context), outputs(twice, context), atol=1e-5)


def test_nothing_dead_changes_nothing() -> None:
    data = built(images())
    start, context = begin(CONV, data), context_of(CONV, data)
    done = Compact().run(start, context).checkpoint
    assert (done.surgery, same_bits(done.state, start.state)) == ((), True)


def test_weights_of_before_do_not_fit() -> None:
    start, context = pruned()
    done = Compact().run(start, context).checkpoint
    with pytest.raises(SpecError, match="weights from before a surgery"):
        Rewind().run(done, dataclasses.replace(context, given=given(CONV, context.world, {"init": start})))
    with pytest.raises(SpecError, match="weights from before a surgery"):
        Reinit().run(done, context)
