"""Shuffled masks: the same counts in each layer, other places."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from overparam import Hold, Prune, Reinit, Rewind, Shuffle
from small import CONV, MLP, begin, built, context_of, half_pruned, images, same_bits, vectors

DATA = built(images())


@given(st.floats(0, 1), st.integers(0, 3))
@settings(max_examples=20)
def test_each_layer_keeps_as_many_weights(density: float, seed: int) -> None:
    start = half_pruned(begin(CONV, DATA), density, seed)
    made = Shuffle().run(start, context_of(CONV, DATA, seed)).checkpoint
    assert {n: int(m.sum()) for n, m in made.masks.items()} == {n: int(m.sum()) for n, m in start.masks.items()}


def test_places_are_uniform_and_of_a_stream_of_their_own() -> None:
    start = half_pruned(begin(CONV, DATA), 0.3)
    one, again, other = (Shuffle().run(start, context_of(CONV, DATA, seed)).checkpoint for seed in (0, 0, 1))
    twice = Shuffle().run(one, context_of(CONV, DATA)).checkpoint
    name = max(start.masks, key=lambda name: start.masks[name].numel())
    assert same_bits(one.masks, again.masks)
    assert not same_bits(one.masks, other.masks)
    assert not same_bits(one.masks, twice.masks), "each of a chain draws anew"
    drawn = torch.stack([Shuffle().run(start, context_of(CONV, DATA, s)).checkpoint.masks[name] for s in range(200)])
    share = float(start.masks[name].float().mean())
    often = drawn.float().mean(0)
    assert abs(often - share).max() < 5 * (share * (1 - share) / 200) ** 0.5, "no place is preferred"


def test_what_comes_back_is_zero_until_it_is_rewound_or_drawn() -> None:
    data = built(vectors())
    init = begin(MLP, data)
    context = context_of(MLP, data, references={"init": init})
    pruned = Prune(density=0.4).run(init, context).checkpoint
    shuffled = Shuffle().run(pruned, context).checkpoint
    for name, mask in shuffled.masks.items():
        new = mask & ~pruned.masks[name]
        assert new.any()
        assert not shuffled.state[name][new].any()
    rewound, drawn = (step.run(shuffled, context).checkpoint for step in (Rewind(), Reinit()))
    for name, mask in shuffled.masks.items():
        assert torch.equal(rewound.state[name], init.state[name] * mask)
        assert drawn.state[name][mask].all()


def test_under_hold_the_new_places_are_held_at_their_values() -> None:
    data = built(vectors())
    init = begin(MLP, data)
    context = context_of(MLP, data, references={"init": init})
    held = Hold("initial").run(Prune(density=0.4).run(init, context).checkpoint, context).checkpoint
    made = Shuffle().run(held, context).checkpoint
    for name, mask in made.masks.items():
        assert torch.equal(made.state[name][~mask], init.state[name][~mask])


@pytest.mark.parametrize(("pattern", "told"), [("units", "whole units"), ("2:4", "2:4"), ("weights", "")])
def test_that_a_pattern_is_gone_is_told(pattern: str, told: str) -> None:
    context = context_of(CONV, DATA)
    asked = {} if pattern == "2:4" else {"density": 0.5, "scope": "per-layer"}
    start = Prune(pattern=pattern, exclude=("output", "0.weight"), **asked).run(begin(CONV, DATA), context).checkpoint
    notes = Shuffle().run(start, context).notes
    assert not notes if not told else f"the pattern of '5.weight' ({told})" in notes[0]
    assert len(notes) == bool(told)
