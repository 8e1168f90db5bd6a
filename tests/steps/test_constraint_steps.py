"""The steps that bring constraints in, and what all other steps make of them."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from overparam import Checkpoint, Compact, Hold, Prune, Quantise, Redense, Reinit, Rewind, SpecError, Supermask, Train
from overparam import constraints as kinds
from overparam.constraints import Frozen, Masked, Quantised
from overparam.steps import Context, Step
from small import CONV, MLP, begin, bits, built, context_of, images, vectors, zeros_are_clean

DATA = built(vectors())
SHORT: dict[str, Any] = {"epochs": 2, "batch_size": 16, "optimizer": {"sgd": {"momentum": 0.9, "weight_decay": 0.01}}}
INIT = begin(MLP, DATA)


def context(**earlier: Checkpoint) -> Context:
    return context_of(MLP, DATA, references={"init": INIT, **earlier})


def run(start: Checkpoint, *steps: Step) -> Checkpoint:
    for step in steps:
        start = step.run(start, context()).checkpoint
    return start


def outside(checkpoint: Checkpoint) -> dict[str, bytes]:
    return {name: bits(checkpoint.state[name][~mask]) for name, mask in checkpoint.masks.items()}


def inside(checkpoint: Checkpoint, masks: Checkpoint) -> dict[str, bytes]:
    return {name: bits(checkpoint.state[name][mask]) for name, mask in masks.masks.items()}


def values(checkpoint: Checkpoint) -> int:
    return max(checkpoint.state[name].unique().numel() for name in checkpoint.masks)


def test_pruned_weights_are_held_at_their_initial_values_by_all_that_follows() -> None:
    pruned = run(INIT, Hold("initial"), Train(**SHORT), Prune(fraction=0.4), Train(**SHORT), Prune(fraction=0.4))
    assert pruned.density == pytest.approx(0.36, abs=0.02)
    held = {name: bits(INIT.state[name][~mask]) for name, mask in pruned.masks.items()}
    for step in (Train(**SHORT), Rewind("init"), Reinit(), Hold("initial")):
        after = run(pruned, step)
        assert outside(after) == held, step
        assert all(isinstance(each, Frozen) for each in after.constraints.values())
    assert inside(run(pruned, Rewind("init")), pruned) == inside(INIT, pruned)
    assert inside(run(pruned, Reinit()), pruned) != inside(INIT, pruned)


def test_redense_gives_held_weights_back_where_they_are() -> None:
    pruned = run(INIT, Hold("initial"), Train(**SHORT), Prune(fraction=0.5))
    free = run(pruned, Redense())
    assert free.density == 1
    assert all(bits(free.state[name]) == bits(pruned.state[name]) for name in free.state)
    trained = run(free, Train(**SHORT)).state
    assert outside(pruned) != {name: bits(trained[name][~mask]) for name, mask in pruned.masks.items()}


def test_pruned_weights_are_held_at_present_values_or_at_zero() -> None:
    trained = run(INIT, Train(**SHORT))
    present = run(trained, Hold("present"), Prune(fraction=0.5), Train(**SHORT))
    assert outside(present) == {name: bits(trained.state[name][~mask]) for name, mask in present.masks.items()}
    zero = run(present, Hold("zero"))
    assert zeros_are_clean(zero)
    assert all(isinstance(each, Masked) for each in zero.constraints.values())
    assert inside(zero, present) == inside(present, present)
    assert zero.kept == present.kept


def test_quantised_weights_are_trained_pruned_and_given_back() -> None:
    few = run(INIT, Train(**SHORT), Quantise(3), Train(**SHORT), Prune(fraction=0.5), Train(**SHORT))
    assert values(few) <= 7
    assert zeros_are_clean(few)
    assert few.density == pytest.approx(0.5, abs=0.02)
    back = run(few, Redense())
    assert back.density == 1
    assert all(bits(back.state[name]) == bits(few.state[name]) for name in few.masks)
    assert values(run(back, Train(**SHORT))) <= 7
    assert values(run(few, Reinit())) <= 7
    assert all(isinstance(each, Masked) for each in run(few, Hold("zero")).constraints.values())


def test_quantising_again_starts_from_what_lies_beneath() -> None:
    trained = run(INIT, Train(**SHORT))
    for name, tensor in run(trained, Quantise(2), Quantise(8)).state.items():
        assert bits(tensor) == bits(run(trained, Quantise(8)).state[name])


def test_rewinding_takes_the_latent_weights_of_the_point() -> None:
    start = run(INIT, Quantise(3))
    outcome = Train(**SHORT, save=("3it",)).run(start, context())
    point = outcome.points["3it"]
    back = Rewind("3it").run(outcome.checkpoint, context(**{"3it": point})).checkpoint
    assert str(back.position) == "3it"
    for name in back.masks:
        constraint, then = back.constraints[name], point.constraints[name]
        assert isinstance(constraint, Quantised)
        assert isinstance(then, Quantised)
        assert bits(constraint.latent) == bits(then.latent)
        assert bits(constraint.latent) != bits(outcome.checkpoint.constraints[name].latent)
        assert bits(back.state[name]) == bits(point.state[name])


def test_a_supermask_learns_a_mask_and_ends_as_a_plain_one() -> None:
    put = run(INIT, Supermask(0.4))
    learned = run(put, Train(epochs=4, batch_size=16, lr=1.0))
    assert learned.kept == put.kept == sum(max(1, round(0.4 * mask.numel())) for mask in INIT.masks.values())
    assert any(not torch.equal(learned.masks[name], put.masks[name]) for name in put.masks)
    assert inside(learned, learned) == inside(INIT, learned), "weights are where they were"
    assert all(bits(learned.state[name]) == bits(INIT.state[name]) for name in INIT.state if name not in INIT.masks)
    plain = run(learned, Hold("zero"))
    assert all(isinstance(plain.constraints[name], Masked) for name in plain.masks)
    assert all(bits(plain.state[name]) == bits(learned.state[name]) for name in plain.state)
    after = run(plain, Train(**SHORT), Prune(fraction=0.5))
    assert after.kept < plain.kept
    assert bits(after.state["fc1.bias"]) != bits(plain.state["fc1.bias"]), "nothing is frozen any more"
    left = run(learned, Hold("zero", exclude=("bias",)), Train(**SHORT))
    assert bits(left.state["fc1.bias"]) == bits(plain.state["fc1.bias"])


def test_rewinding_and_new_weights_keep_the_scores() -> None:
    learned = run(INIT, Supermask(0.4), Train(epochs=4, batch_size=16, lr=1.0))
    for step in (Rewind("init"), Reinit()):
        after = run(learned, step)
        assert all(torch.equal(after.masks[name], mask) for name, mask in learned.masks.items())
    assert inside(run(learned, Reinit()), learned) != inside(INIT, learned)


def test_scores_are_drawn_anew_and_from_a_stream_of_their_own() -> None:
    def scores(checkpoint: Checkpoint) -> bytes:
        found = checkpoint.constraints["fc1.weight"]
        assert isinstance(found, kinds.Supermask)
        return bits(found.scores)

    ones = run(INIT, Supermask(1.0))
    assert scores(ones) == scores(run(INIT, Supermask(0.4)))
    assert scores(run(run(INIT, Supermask(0.4)), Hold("zero"), Redense(), Supermask(0.4))) != scores(ones)


def test_more_than_scores_is_trained_where_asked() -> None:
    with_weights = run(INIT, Supermask(0.4, train_weights=True), Train(**SHORT))
    assert inside(with_weights, with_weights) != inside(INIT, with_weights)
    with_others = run(INIT, Supermask(0.4, others="trained"), Train(**SHORT))
    assert inside(with_others, with_others) == inside(INIT, with_others)
    assert bits(with_others.state["fc1.bias"]) != bits(INIT.state["fc1.bias"])


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        (
            (Supermask(0.4), Prune(fraction=0.5)),
            r"^'fc1\.weight': a supermask keeps weights by its scores.*'hold: zero'",
        ),
        ((Supermask(0.4), Redense()), r"^'fc1\.weight': a supermask keeps weights by its scores"),
        (
            (Supermask(0.4), Quantise(4)),
            r"^quantise: 'fc1\.weight' is under Supermask; end that by the step 'hold: zero'",
        ),
        ((Hold("initial"), Quantise(4)), r"^quantise: 'fc1\.weight' is under Frozen"),
        ((Prune(fraction=0.5), Supermask(0.4)), r"^supermask: 'fc1\.weight' is pruned already.*redense first"),
        (
            (Prune(fraction=0.9, allow_empty=True), Quantise(4), Compact()),
            r"^compact: 'fc1\.weight' is under Quantised",
        ),
        ((Quantise(4, exclude=("fc9*",)),), r"^exclude: 'fc9\*' is no role and matches no parameter"),
    ],
)
def test_what_makes_no_sense_is_refused_in_words(steps: tuple[Step, ...], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        run(INIT, *steps)


@pytest.mark.parametrize("step", [Hold("initial"), Quantise(3), Supermask(0.4)])
def test_what_is_excluded_stays_as_it_is(step: Step) -> None:
    data = built(images())
    start = begin(CONV, data)
    some = type(step)(**{**step.parameters(), "exclude": ("output", "0.*")})
    found = some.run(start, context_of(CONV, data, references={"init": start})).checkpoint
    assert [name for name in start.masks if not isinstance(found.constraints[name], Masked)] == ["5.weight"]
    assert list(found.masks) == list(start.masks)
    assert bits(found.state["0.weight"]) == bits(start.state["0.weight"])
