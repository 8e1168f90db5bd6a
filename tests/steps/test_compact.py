"""Removing what pruning left dead: the same outputs, fewer weights, and what no longer fits is refused."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from overparam import Checkpoint, Compact, Network, Prune, Reinit, Rewind, Train
from overparam.errors import SpecError
from overparam.lab.weights import checkpoint_from_bytes, checkpoint_to_bytes
from overparam.steps import Context
from small import CONV, begin, built, context_of, given, images, same_bits


def pruned(network: Network = CONV, fraction: float = 0.4) -> tuple[Checkpoint, Context]:
    data = built(images())
    start, context = begin(network, data), context_of(network, data)
    done = Prune(fraction=fraction, pattern="units", scope="per-layer").run(start, context)
    return done.checkpoint, context


def outputs(checkpoint: Checkpoint, context: Context) -> torch.Tensor:
    with torch.no_grad():
        return checkpoint.load_into(context.module()).eval()(context.world.test.inputs)


def test_outputs_stay_and_weights_go() -> None:
    start, context = pruned()
    done = Compact().run(start, context)
    assert done.facts["removed_units"] == {"0": 2, "5": 3}
    assert torch.allclose(outputs(start, context), outputs(done.checkpoint, context), atol=1e-5)
    assert done.checkpoint.density == pytest.approx(start.density)  # of the network that there was
    assert {name: tuple(mask.shape) for name, mask in done.checkpoint.masks.items()} == {
        "0.weight": (2, 1, 3, 3),
        "5.weight": (5, 72),
        "7.weight": (3, 5),
    }
    back = checkpoint_from_bytes(checkpoint_to_bytes(done.checkpoint))
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


def test_a_new_initialisation_is_that_of_the_smaller_layers() -> None:
    start, context = pruned(Network("mlp", {"hidden": [400]}), fraction=0.9)
    done = Compact().run(start, context).checkpoint
    drawn = Reinit().run(done, context).checkpoint
    assert drawn.state["output.weight"].shape == (3, 40)
    assert float(drawn.state["output.weight"].std()) == pytest.approx((2 / 40) ** 0.5, rel=0.25), (
        "kaiming, of 40 inputs"
    )
    beside = Reinit().run(start, context).checkpoint.state["output.weight"]
    assert float(beside[beside != 0].std()) == pytest.approx((2 / 400) ** 0.5, rel=0.25), "under masks it is of 400"
    again, other = Reinit().run(done, context).checkpoint, Reinit().run(drawn, context).checkpoint
    assert same_bits(again.state, drawn.state)
    assert not same_bits(other.state, drawn.state)
    own = Compact().run(*pruned()).checkpoint
    one = Reinit().run(own, context_of(CONV, context.world)).checkpoint
    two = Reinit().run(one, context_of(CONV, context.world)).checkpoint
    assert not torch.equal(one.state["5.weight"], two.state["5.weight"]), "each draws anew, as constructed too"
    assert one.state["5.weight"].abs().max() <= 72**-0.5
