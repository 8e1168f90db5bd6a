"""What becomes of kept and of pruned weights: the mask-1 and mask-0 actions of Deconstructing Lottery Tickets."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from overparam import Checkpoint, Hold, Length, Prune, Restart, Rewind, Train
from overparam.constraints import Frozen
from overparam.steps import Context, Step
from small import MLP, begin, bits, built, context_of, vectors, zeros_are_clean

DATA = built(vectors())
INIT = begin(MLP, DATA)
SHORT = {"epochs": 3, "batch_size": 16, "lr": 0.1}


def run(start: Checkpoint, *steps: Step, previous: Checkpoint = INIT, seed: int = 0) -> Checkpoint:
    for step in steps:
        context: Context = context_of(MLP, DATA, seed=seed, references={"init": INIT, "previous": previous})
        start = step.run(start, context).checkpoint
        previous = start if step.trains else previous
    return start


TICKET = run(INIT, Train(**SHORT), Prune(fraction=0.6, scope="per-layer"), Train(**SHORT))


def kept(checkpoint: Checkpoint) -> dict[str, Tensor]:
    return {name: checkpoint.state[name][mask] for name, mask in TICKET.masks.items()}


def pool(checkpoint: Checkpoint, name: str) -> list[float]:
    return checkpoint.state[name].flatten().tolist()


@pytest.mark.parametrize("signs", ["kept", "drawn"])
@pytest.mark.parametrize("values", ["rewind", "reinit", "reshuffle", "constant"])
def test_kept_weights_begin_again(values: str, signs: str) -> None:
    made, first = run(TICKET, Restart(values, signs)), kept(INIT)
    assert made.position == Length(0, "it")
    assert zeros_are_clean(made)
    assert all(torch.equal(made.masks[name], mask) for name, mask in TICKET.masks.items())
    assert bits(made.state["fc1.bias"]) == bits(INIT.state["fc1.bias"])
    for name, now in kept(made).items():
        same = now.sign() == first[name].sign()
        assert bool(same.all()) if signs == "kept" else len(now) < 10 or 0.2 < float(same.float().mean()) < 0.8
        sizes, initial = sorted(now.abs().tolist()), sorted(first[name].abs().tolist())
        if values == "constant":
            spread = INIT.state[name].std(unbiased=False)
            assert sizes == pytest.approx([spread.item()] * len(now))
        elif values == "reinit":
            assert set(sizes) <= {abs(value) for value in pool(INIT, name)}
        else:
            assert sizes == initial
        if values in ("reinit", "reshuffle"):
            assert bits(now) != bits(first[name])
            assert signs == "kept" or set(now.tolist()) <= set(pool(INIT, name)), "a sign goes with its magnitude"


def test_rewinding_is_the_one_that_changes_nothing() -> None:
    for name, tensor in run(TICKET, Restart()).state.items():
        assert bits(tensor) == bits(run(TICKET, Rewind()).state[name])


def test_rescaled_by_the_share_that_is_kept() -> None:
    plain, scaled = run(TICKET, Restart("constant")), run(TICKET, Restart("constant", rescale=True))
    for name, mask in TICKET.masks.items():
        torch.testing.assert_close(scaled.state[name], plain.state[name] * (mask.numel() / int(mask.sum())))


def test_what_is_drawn_is_another_for_each_seed_and_each_time() -> None:
    step = Restart("reshuffle")
    found = [run(TICKET, step), run(TICKET, step, seed=1), run(TICKET, step, step)]
    assert len({bits(each.state["fc1.weight"]) for each in found}) == 3


def moved(start: Checkpoint, *steps: Step) -> tuple[Checkpoint, Checkpoint]:
    trained = run(start, Train(**SHORT))
    return trained, run(trained, *steps, previous=trained)


def test_kept_weights_that_moved_toward_zero_begin_there() -> None:
    trained, made = moved(TICKET, Restart("zero-if-toward"))
    for name, mask in TICKET.masks.items():
        toward = trained.state[name].abs() < INIT.state[name].abs()
        assert torch.equal(made.state[name], INIT.state[name].masked_fill(toward | ~mask, 0))
        assert 0 < int((toward & mask).sum()) < int(mask.sum())


PRUNE = Prune(fraction=0.5, scope="per-layer")


@pytest.mark.parametrize("at", ["zero-if-toward", "zero-if-away", "zero-at-random"])
def test_pruned_weights_are_held_at_zero_or_where_they_began(at: str) -> None:
    trained, made = moved(INIT, PRUNE, Hold(at))
    for name, mask in made.masks.items():
        first, last = INIT.state[name], trained.state[name]
        toward = ~mask & (last.abs() < first.abs())
        zero = ~mask & (made.state[name] == 0)
        if at == "zero-at-random":
            assert int(zero.sum()) == int(toward.sum())
        else:
            assert torch.equal(zero, toward if at == "zero-if-toward" else ~mask & ~toward)
        assert bits(made.state[name][~mask & ~zero]) == bits(first[~mask & ~zero])
        assert bits(made.state[name][mask]) == bits(last[mask])
    again = run(made, Rewind(), Train(**SHORT))
    assert all(isinstance(each, Frozen) for each in again.constraints.values())
    assert all(bits(again.state[name][~mask]) == bits(made.state[name][~mask]) for name, mask in made.masks.items())


def test_what_was_pruned_before_stays_where_it_is_held() -> None:
    _, once = moved(INIT, PRUNE, Hold("zero-if-toward"))
    trained, twice = moved(run(once, Rewind()), PRUNE, Hold("zero-if-toward"))
    for name, mask in once.masks.items():
        assert bits(twice.state[name][~mask]) == bits(once.state[name][~mask])
        new = mask & ~twice.masks[name]
        toward = trained.state[name].abs() < INIT.state[name].abs()
        assert torch.equal(twice.state[name][new], INIT.state[name].masked_fill(toward, 0)[new])


def test_random_zeros_are_others_than_those_that_moved() -> None:
    first, second = (moved(INIT, PRUNE, Hold(at))[1] for at in ("zero-if-toward", "zero-at-random"))
    assert any(not torch.equal(first.state[name], second.state[name]) for name in first.masks)
