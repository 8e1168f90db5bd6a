"""N:M masks: exact counts along the inputs, in both directions nearly the best there is; what is left or refused."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog
from torch import nn

from overparam import Hold, Prune, SpecError, SrSte, Train
from overparam.constraints import SRSTE, TRAINING
from overparam.prune import PATTERNS, NofM, Round, Scores, dense_masks
from overparam.prune.groups import keep_in_blocks, keep_in_groups
from small import CONV, MLP, begin, built, context_of, images, vectors


def asked(module: nn.Module, told: list[str] | None = None, **fields: Any) -> Round:
    notes = [] if told is None else told
    return Round(dict.fromkeys(dense_masks(module), "linear"), lambda: (module, None), tell=notes.append, **fields)


def sizes(module: nn.Module) -> Scores:
    return Scores({name: module.get_parameter(name).detach().abs() for name in dense_masks(module)})


def test_by_hand_and_of_equal_ones_the_first() -> None:
    scores = torch.tensor([[1.0, 4.0, 3.0, 2.0, 5.0, 5.0, 5.0, 5.0]])
    assert keep_in_groups(scores, torch.ones_like(scores).bool(), 2, 4).int().tolist() == [[0, 1, 1, 0, 1, 1, 0, 0]]
    alive = torch.tensor([[True, False, True, True, False, False, False, True]])
    assert keep_in_groups(scores, alive, 2, 4).int().tolist() == [[0, 0, 1, 1, 0, 0, 0, 1]]


def test_of_a_convolution_the_input_channels_at_one_place_of_the_kernel_are_a_group() -> None:
    scores = torch.rand(3, 8, 3, 2)
    kept = keep_in_groups(scores, torch.ones_like(scores).bool(), 2, 4)
    for output, row, column, half in itertools.product(range(3), range(3), range(2), range(2)):
        group = scores[output, 4 * half : 4 * half + 4, row, column]
        best = group >= group.sort().values[2]
        assert kept[output, 4 * half : 4 * half + 4, row, column].equal(best)


@given(
    shape=st.sampled_from([(4, 8), (8, 4), (8, 8, 3, 3), (4, 4, 2)]),
    counts=st.sampled_from([(1, 2), (1, 4), (2, 4), (3, 4)]),
    level=st.sampled_from([0.0, 1.0, 3.0]),
    seed=st.integers(0, 999),
)
@settings(max_examples=15, deadline=None)
def test_counts_are_exact_in_each_direction(
    shape: tuple[int, ...], counts: tuple[int, int], level: float, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    scores, (n, m) = (level * torch.randn(shape, generator=generator)).round(), counts  # ties, or all equal
    ones = torch.ones_like(scores).bool()
    along = keep_in_groups(scores, ones, n, m).movedim(1, -1).reshape(-1, m)
    assert along.sum(1).tolist() == len(along) * [n]
    both = keep_in_blocks(scores, ones, n, m)
    for axis in (0, 1):
        assert set(both.movedim(axis, -1).reshape(-1, m).sum(1).tolist()) == {n}
    alive = torch.rand(shape, generator=generator) < 0.7
    assert not bool((keep_in_blocks(scores, alive, n, m) & ~alive).any())


def best_sum(block: np.ndarray[Any, Any], n: int) -> float:
    """The best sum of a block whose rows and columns keep n: the transport polytope has whole corners."""
    m = len(block)
    rows = [np.kron(np.eye(m)[i], np.ones(m)) for i in range(m)]
    columns = [np.kron(np.ones(m), np.eye(m)[i]) for i in range(m)]
    found = linprog(-block.ravel(), A_eq=np.array(rows + columns), b_eq=np.full(2 * m, n), bounds=(0, 1))
    return float(-found.fun)


@pytest.mark.parametrize(("n", "m", "blocks"), [(2, 4, 40), (1, 4, 40), (4, 8, 20), (2, 8, 20)])
def test_masks_in_both_directions_are_within_a_hundredth_of_the_best(n: int, m: int, blocks: int) -> None:
    scores = torch.randn(m, m * blocks, generator=torch.Generator().manual_seed(m)).abs()
    kept = (scores * keep_in_blocks(scores, torch.ones_like(scores).bool(), n, m)).numpy()
    parts = range(0, m * blocks, m)
    ratios = [kept[:, i : i + m].sum() / best_sum(scores[:, i : i + m].numpy(), n) for i in parts]
    assert max(ratios) <= 1 + 1e-6
    assert np.mean(ratios) > 0.99
    assert min(ratios) > 0.95


def test_the_best_mask_of_a_small_block_by_trying_all() -> None:
    scores = torch.tensor([[9.0, 1.0, 1.0, 1.0], [9.0, 8.0, 1.0, 1.0], [1.0, 8.0, 7.0, 1.0], [1.0, 1.0, 7.0, 6.0]])
    kept = keep_in_blocks(scores, torch.ones_like(scores).bool(), 2, 4)
    rows = [torch.tensor(row, dtype=torch.bool) for row in set(itertools.permutations([1, 1, 0, 0]))]
    every = (torch.stack(chosen) for chosen in itertools.product(rows, repeat=4))
    fitting = [float(scores[mask].sum()) for mask in every if bool((mask.sum(0) == 2).all())]
    assert (len(fitting), max(fitting)) == (90, float(scores[kept].sum()))


def test_layers_that_do_not_fit_are_named_and_left() -> None:
    module = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 4, 3), nn.ConvTranspose2d(4, 8, 2), nn.Linear(8, 5))
    told: list[str] = []
    masks = NofM(2, 4).masks(sizes(module), dense_masks(module), asked(module, told))
    assert [bool(mask.all()) for mask in masks.values()] == [True, False, True, False]
    assert told == [
        "pattern 2:4 leaves '0.weight' (3 inputs, no multiple of 4), '2.weight' (inputs come first) as they are"
    ]
    told.clear()
    both = NofM(2, 4, transposable=True).masks(sizes(module), dense_masks(module), asked(module, told))
    assert bool(both["3.weight"].all())
    assert "'3.weight' (5 outputs, no multiple of 4)" in told[0]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"exclude": "linear"}, "pattern 2:4 fits no layer: all are excluded"),
        ({"exclude": "2.weight"}, r"pattern 2:4 fits no layer: '0.weight' \(3 inputs, no multiple of 4\)"),
        ({"fraction": 0.5}, "says how many weights stay; leave fraction, density and rounds"),
        ({"scope": "per-layer"}, "chooses within groups; leave scope"),
        ({"allow_empty": True}, "chooses within groups; leave scope"),
    ],
)
def test_what_is_refused(fields: dict[str, Any], message: str) -> None:
    module = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    with pytest.raises(SpecError, match=message):
        NofM(2, 4).masks(sizes(module), dense_masks(module), asked(module, **fields))


def test_the_short_form_and_what_is_wrong_with_it() -> None:
    assert PATTERNS.resolve("2:4") == NofM(2, 4)
    assert PATTERNS.checked("1:8") == {"n-of-m": {"n": 1, "m": 8}}
    with pytest.raises(SpecError, match="n must be less than m, got 4:4"):
        PATTERNS.resolve("4:4")
    with pytest.raises(SpecError, match=r"says how many weights stay; leave fraction"):
        Prune(pattern="2:4", fraction=0.5)
    with pytest.raises(SpecError, match=r"needs either fraction .* got neither"):
        Prune(pattern="units")
    with pytest.raises(SpecError, match="pattern must be of the form '2:4', or n-of-m with its fields, got 'units'"):
        SrSte("units")


def test_the_step_prunes_and_tells() -> None:
    data = built(images())
    done = Prune(pattern="2:4").run(begin(CONV, data), context_of(CONV, data))
    assert done.checkpoint.masks["7.weight"].reshape(-1, 4).sum(1).unique().tolist() == [2]
    assert done.notes == ["prune: pattern 2:4 leaves '0.weight' (1 inputs, no multiple of 4) as they are"]


def test_sr_ste_gives_all_weights_the_gradient_and_lets_the_others_decay() -> None:
    weight = torch.tensor([[3.0, -1.0, 0.5, 2.0]])
    constraint = SRSTE(weight, NofM(2, 4), decay=0.1)
    latent = weight.clone().requires_grad_()
    made = constraint.weight({"latent": latent}, TRAINING)
    assert made.tolist() == [[3.0, 0.0, 0.0, 2.0]]
    slopes = torch.tensor([[1.0, 2.0, 3.0, 4.0]])
    ((made * slopes).sum() + constraint.penalty({"latent": latent})).backward()
    assert torch.allclose(latent.grad, slopes + 0.1 * torch.tensor([[0.0, -1.0, 0.5, 0.0]]))


def test_sr_ste_in_a_chain_lets_other_weights_in() -> None:
    data = built(vectors())
    start, context = begin(MLP, data), context_of(MLP, data)
    first = SrSte("2:4").run(start, context).checkpoint
    trained = Train(epochs=20, batch_size=10, lr=0.2).run(first, context).checkpoint
    assert trained.masks["fc1.weight"].reshape(-1, 4).sum(1).unique().tolist() == [2]
    assert not trained.masks["fc1.weight"].equal(first.masks["fc1.weight"])
    held = Hold("zero").run(trained, context).checkpoint
    assert held.masks["fc1.weight"].equal(trained.masks["fc1.weight"])
    assert held.state["fc1.weight"].equal(trained.state["fc1.weight"])
    with pytest.raises(SpecError, match="is pruned already"):
        SrSte("2:4").run(Prune(fraction=0.5).run(start, context).checkpoint, context)
