"""The quadratic problems of second-order pruning: on paper, against slow forms, and against each other."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from overparam.errors import SpecError
from overparam.prune.surgeon import damped, eliminate, from_left_to_right, inverse, refit

TWO = torch.tensor([[2.0, 1.0], [1.0, 2.0]], dtype=torch.float64)
ONES = torch.ones(1, 2, dtype=torch.float64)


def problem(seed: int, size: int, rows: int = 3, density: float = 0.4) -> tuple[Tensor, Tensor, Tensor]:
    """A positive definite curvature, rows of weights, and a random mask."""
    stream = torch.Generator().manual_seed(seed)
    inputs = torch.randn(3 * size, size, dtype=torch.float64, generator=stream)
    inputs @= torch.randn(size, size, dtype=torch.float64, generator=stream)
    weights = torch.randn(rows, size, dtype=torch.float64, generator=stream)
    return inputs.T @ inputs / len(inputs), weights, torch.rand(rows, size, generator=stream) < density


def rise(curvature: Tensor, before: Tensor, after: Tensor) -> Tensor:
    """What a change of each row costs."""
    moved = after - before
    return (moved @ curvature * moved).sum(1) / 2


def slow(curvature: Tensor, weights: Tensor, alive: Tensor) -> Tensor:
    """Optimal Brain Surgeon as it is told: the inverse of what is left is taken anew before each deletion."""
    left, weights, costs, highest = alive.nonzero()[:, 0].tolist(), weights.clone(), torch.zeros_like(weights), 0.0
    while left:
        found = torch.linalg.inv(curvature[left][:, left])
        prices = weights[left].square() / (2 * found.diagonal())
        place = int(prices.argmin())
        highest = max(highest, float(prices[place]))
        costs[left[place]] = highest
        weights[left] -= found[:, place] * weights[left[place]] / found[place, place]
        weights[left[place]] = 0.0
        left.pop(place)
    return costs


def test_two_weights_on_paper() -> None:
    """Deleting one of two costs 0.75, and the other becomes 1.5; Optimal Brain Damage would say 1."""
    costs = eliminate(inverse(TWO), ONES, ONES.bool())
    assert costs.sort().values.tolist() == [[pytest.approx(0.75), pytest.approx(2.25)]]
    moved = refit(TWO, ONES, torch.tensor([[False, True]]))
    torch.testing.assert_close(moved, torch.tensor([[0.0, 1.5]], dtype=torch.float64))
    assert rise(TWO, ONES, moved).item() == pytest.approx(0.75, rel=1e-12)


@pytest.mark.parametrize("size", [1, 7, 63, 64, 65, 130])
def test_the_order_and_the_costs_are_those_of_the_slow_form(size: int) -> None:
    """Downdated inverses are the inverses of sub-matrices, beyond the width of a panel, too."""
    curvature, weights, alive = problem(size, size, density=0.8)
    weights = weights * alive
    found = eliminate(inverse(curvature), weights, alive)
    for row, weight, lives in zip(found, weights, alive, strict=True):
        torch.testing.assert_close(row, slow(curvature, weight, lives), rtol=1e-7, atol=1e-12)
        assert len(row[lives].unique()) == int(lives.sum()), "no two have one score, so all rows stop where they are"


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000), size=st.integers(2, 30), kept=st.floats(0.1, 0.9))
def test_at_one_mask_nothing_is_better_than_the_refit(seed: int, size: int, kept: float) -> None:
    """And a sweep from left to right is the refit where what goes stands before what stays."""
    curvature, weights, mask = problem(seed, size, density=kept)
    best, swept = refit(curvature, weights, mask), from_left_to_right(curvature, weights, mask)
    assert not best[~mask].any()
    assert not swept[~mask].any()
    least, other, plain = (rise(curvature, weights, each) for each in (best, swept, weights * mask))
    assert bool((least <= other * (1 + 1e-9) + 1e-12).all())
    assert bool((least <= plain * (1 + 1e-9) + 1e-12).all())
    first_gone = (torch.arange(size) >= size // 2).expand_as(mask)
    torch.testing.assert_close(
        refit(curvature, weights, first_gone), from_left_to_right(curvature, weights, first_gone), rtol=1e-6, atol=1e-8
    )


def test_the_rise_is_the_price_of_all_that_went_together() -> None:
    curvature, weights, mask = problem(3, 20)
    found = rise(curvature, weights, refit(curvature, weights, mask))
    whole = inverse(curvature)
    for row, kept, cost in zip(weights, mask, found, strict=True):
        gone = row[~kept]
        price = gone @ torch.linalg.inv(whole[~kept][:, ~kept]) @ gone / 2
        assert float(cost) == pytest.approx(float(price), rel=1e-9)


def test_exact_obs_ends_at_the_refit_of_its_own_mask() -> None:
    """What it costs to go from deletion to deletion is what the refit costs at the end."""
    curvature, weights, _ = problem(5, 25)
    alive = torch.ones_like(weights, dtype=torch.bool)
    costs = eliminate(inverse(curvature), weights, alive)
    for row, prices in zip(weights, costs, strict=True):
        gone, now, spent = [], row.clone(), 0.0
        for place in prices.argsort()[:15].tolist():
            gone.append(place)
            before = now
            kept = torch.ones(25, dtype=torch.bool).index_fill(0, torch.tensor(gone), False)
            now = refit(curvature, row[None], kept[None])[0]
            spent += float(rise(curvature, before[None], now[None]))
        assert spent == pytest.approx(float(rise(curvature, row[None], now[None])), rel=1e-9)


@pytest.mark.parametrize("block", [1, 3, 16, 100])
def test_the_width_of_a_block_changes_nothing(block: int) -> None:
    curvature, weights, mask = problem(1, 40)
    torch.testing.assert_close(
        from_left_to_right(curvature, weights, mask, block),
        from_left_to_right(curvature, weights, mask, 40),
        rtol=1e-10,
        atol=1e-12,
    )


def test_what_all_stays_is_not_moved() -> None:
    curvature, weights, _ = problem(2, 10)
    everything = torch.ones_like(weights, dtype=torch.bool)
    assert torch.equal(refit(curvature, weights, everything), weights)
    assert torch.equal(from_left_to_right(curvature, weights, everything), weights)
    assert not refit(curvature, weights, ~everything).any()


def test_the_recursion_of_the_paper_gives_the_same_inverse() -> None:
    """Hassibi & Stork's rank-one recursion over examples, from ``1 / alpha``."""
    stream, alpha = torch.Generator().manual_seed(0), 1e-4
    rows = torch.randn(30, 6, dtype=torch.float64, generator=stream)
    found = torch.eye(6, dtype=torch.float64) / alpha
    for row in rows:
        along = found @ row
        found = found - torch.outer(along, along) / (len(rows) + row @ along)
    damped_matrix = rows.T @ rows / len(rows) + alpha * torch.eye(6, dtype=torch.float64)
    torch.testing.assert_close(found, inverse(damped_matrix), rtol=1e-7, atol=1e-9)


def test_a_dead_input_stands_alone() -> None:
    curvature = torch.tensor([[[4.0, 0.0], [0.0, 0.0]]])
    assert damped(curvature, 0.5).tolist() == [[[5.0, 0.0], [0.0, 1.0]]]


def test_what_has_no_inverse_is_told() -> None:
    with pytest.raises(SpecError, match=r"not positive definite.*raise damping, or batches"):
        inverse(torch.ones(2, 2, dtype=torch.float64))
