"""The rest: what no other network keeps."""

from __future__ import annotations

import pytest
import torch

from overparam import Complement, Prune, SpecError
from small import CONV, begin, built, context_of, half_pruned, images

DATA = built(images())


def test_disjoint_and_whole() -> None:
    start = begin(CONV, DATA)
    one, two = half_pruned(start, 0.3, seed=1), half_pruned(start, 0.3, seed=2)
    context = context_of(CONV, DATA, references={"one": one, "two": two})
    made = Complement(("one", "two")).run(start, context).checkpoint
    for name, mask in made.masks.items():
        assert torch.equal(mask, ~(one.masks[name] | two.masks[name]))
    alone = Complement(("one",)).run(one, context).checkpoint
    assert alone.kept + one.kept == start.kept
    for name, mask in alone.masks.items():
        assert not alone.state[name][mask].any(), "zero until rewound"


def test_what_pruning_excludes_stays_whole() -> None:
    start = begin(CONV, DATA)
    context = context_of(CONV, DATA)
    ticket = Prune(density=0.2, exclude=("output",)).run(start, context).checkpoint
    made = Complement(("one",)).run(ticket, context_of(CONV, DATA, references={"one": ticket})).checkpoint
    assert made.masks["7.weight"].all()
    assert made.kept == start.kept - ticket.kept + start.masks["7.weight"].numel()


def test_what_leaves_nothing_is_refused() -> None:
    start = begin(CONV, DATA)
    one = half_pruned(start, 0.5, seed=1)
    rest = Complement(("one",)).run(start, context_of(CONV, DATA, references={"one": one})).checkpoint
    context = context_of(CONV, DATA, references={"one": one, "rest": rest})
    with pytest.raises(SpecError, match=r"one, rest keep every weight of '0.weight', so none is left to look in"):
        Complement(("one", "rest")).run(start, context)
    with pytest.raises(SpecError, match=r"complement: nothing is pruned in dense, so there is no rest to turn to"):
        Complement(("dense",)).run(one, context_of(CONV, DATA, references={"dense": start}))
    with pytest.raises(SpecError, match="of must name at least one checkpoint"):
        Complement()
