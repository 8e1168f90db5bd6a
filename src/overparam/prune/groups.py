"""Masks of N:M sparsity: of each M neighbours the N best stay, in rows alone or in rows and columns of blocks.

Along the inputs of a layer neighbours are M of a row of a matrix ``(outputs, inputs)``; a convolution's weight is such
a matrix at each place of its kernel, so that input channels are innermost, as NVIDIA's sparse tensor cores read them
(Mishra et al., 2021, https://arxiv.org/abs/2104.08378).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

SHARPNESS = 200.0
"""How steep the regularised plan is: the inverse strength of the entropy, for scores scaled to [0, 1]."""

ITERATIONS = 100
"""Of Dykstra's projections; more change no mask that matters, as the rounding improves what they give."""

SOME, MOST = 16, 32
"""Groups that do not all keep as many by chance, and the largest M that is looked for."""

AT_ONCE = 1 << 22
"""Pairs of entries that the rounding looks at in one go."""


def keep_in_groups(scores: Tensor, mask: Tensor, n: int, m: int) -> Tensor:
    """Return a mask that keeps the ``n`` best of each ``m`` neighbours along the inputs, of equal ones the first.

    Args:
        scores: finite, ``(outputs, inputs, *kernel)``, inputs a multiple of ``m``.
        mask: bool, of the same shape; a group with fewer than ``n`` alive keeps these.
    """
    ranked = scores.detach().double().masked_fill(~mask, -torch.inf).movedim(1, -1)
    groups = ranked.reshape(-1, m)
    best = groups.argsort(dim=1, descending=True, stable=True)[:, :n]
    kept = torch.zeros_like(groups, dtype=torch.bool).scatter_(1, best, True) & groups.isfinite()
    return kept.reshape(ranked.shape).movedim(-1, 1).contiguous()


def structure(mask: Tensor) -> str:
    """Say what structure a mask ``(outputs, inputs, *kernel)`` has: ``whole units``, N:M such as ``2:4``, or none.

    Whole units: rows and columns are kept or pruned as a whole. N:M: at least ``SOME`` groups, all of which keep N.
    """
    if mask.dim() < 2 or mask.all() or not mask.any():
        return ""
    flat = mask.flatten(2) if mask.dim() > 2 else mask.unsqueeze(2)
    rows, columns = flat.any(2).any(1), flat.any(2).any(0)
    if min(rows.sum(), columns.sum()) > 1 and torch.equal(flat, (rows[:, None] & columns)[..., None].expand_as(flat)):
        return "whole units"
    for m in (size for size in range(2, MOST + 1) if mask.shape[1] % size == 0 and mask.numel() // size >= SOME):
        counts = flat.movedim(1, -1).reshape(-1, m).sum(1)
        if 0 < counts[0] < m and bool((counts == counts[0]).all()):
            return f"{int(counts[0])}:{m}"
    return ""


def keep_in_blocks(scores: Tensor, mask: Tensor, n: int, m: int) -> Tensor:
    """Return a mask that keeps ``n`` in each row and each column of all blocks of ``m`` by ``m``, nearly the best such.

    So the transposed matrix, by which gradients go back, has N:M sparsity as well. The best mask is a transport
    problem; it is solved with an entropy by Dykstra's projections in log space and rounded greedily, which exchanges
    improve.

    Reference: Meng, Makni & Mazumder, 2025, https://arxiv.org/abs/2505.23949 (TSENOR)

    Args:
        scores: finite, ``(outputs, inputs, *kernel)``, both a multiple of ``m``; their sum is what is best.
        mask: bool, of the same shape; what is dead stays so, and its row and column keep fewer.
    """
    alive = mask.flatten(2) if mask.dim() > 2 else mask.unsqueeze(2)
    values = scores.detach().double().reshape(alive.shape)
    values = values - values.amin() + 1e-12  # every entry is worth keeping
    blocks = _blocks(values.masked_fill(~alive, 0.0), m)
    kept = torch.cat([_rounded(part, _plan(part, n), n) for part in torch.split(blocks, max(1, AT_ONCE // m**4))])
    return (_unblocked(kept, alive.shape, m) & alive).reshape(mask.shape)


def _blocks(matrices: Tensor, m: int) -> Tensor:
    """Return ``(outputs, inputs, places)`` as ``(blocks, m, m)``."""
    outputs, inputs, places = matrices.shape
    split = matrices.reshape(outputs // m, m, inputs // m, m, places)
    return split.permute(0, 2, 4, 1, 3).reshape(-1, m, m)


def _unblocked(blocks: Tensor, shape: torch.Size, m: int) -> Tensor:
    outputs, inputs, places = shape
    split = blocks.reshape(outputs // m, inputs // m, places, m, m)
    return split.permute(0, 3, 1, 4, 2).reshape(shape)


def _plan(blocks: Tensor, n: int) -> Tensor:
    """Return the log of the fractional plan: entries of at most 1 whose rows and columns add up to ``n``, nearly."""
    largest = blocks.amax((1, 2), keepdim=True)
    plan, excess = SHARPNESS * blocks / largest, torch.zeros_like(blocks)
    for _ in range(ITERATIONS):
        for axis in (2, 1):
            plan = plan - plan.logsumexp(axis, keepdim=True) + math.log(n)
        capped = (plan + excess).clamp_max(0.0)
        plan, excess = capped, plan + excess - capped
    return plan


def _rounded(blocks: Tensor, plan: Tensor, n: int) -> Tensor:
    """Return the mask: entries by their share in the plan while there is room, completed, and improved by exchanges."""
    kept, rows, columns = _greedy(plan, n)
    _complete(blocks, kept, rows, columns, n)
    _exchange(blocks, kept)
    return kept


def _greedy(plan: Tensor, n: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return the mask, and how many entries each row and each column has."""
    count, m, _ = plan.shape
    each = torch.arange(count)
    kept = torch.zeros_like(plan, dtype=torch.bool)
    rows, columns = torch.zeros(count, m, dtype=torch.long), torch.zeros(count, m, dtype=torch.long)
    for place in plan.flatten(1).argsort(dim=1, descending=True, stable=True).T:
        row, column = place // m, place % m
        room = (rows[each, row] < n) & (columns[each, column] < n)
        kept[each, row, column] = room
        rows[each, row] += room
        columns[each, column] += room
    return kept, rows, columns


def _complete(blocks: Tensor, kept: Tensor, rows: Tensor, columns: Tensor, n: int) -> None:
    """Give rows and columns that have too few, crossing in an entry that is kept, one more each, at the least cost.

    An entry elsewhere goes, and its row and column get one in that column and that row; there always is such an entry.
    """
    while bool((lacking := (rows < n).any(1)).any()):
        each = lacking.nonzero().flatten()
        row, column = (rows[each] < n).int().argmax(1), (columns[each] < n).int().argmax(1)
        mask, value, one = kept[each], blocks[each], torch.arange(len(each))
        gain = value[one, row].unsqueeze(1) + value[one, :, column].unsqueeze(2) - value
        free = ~mask[one, row].unsqueeze(1) & ~mask[one, :, column].unsqueeze(2)
        best = gain.masked_fill(~(mask & free), -torch.inf).flatten(1).argmax(1)
        other, there = best // mask.shape[1], best % mask.shape[1]
        kept[each, other, there] = False
        kept[each, row, there] = kept[each, other, column] = True
        rows[each, row] += 1
        columns[each, column] += 1


def _exchange(blocks: Tensor, kept: Tensor) -> None:
    """Exchange two kept entries for the two that cross them, the best first, until no exchange gains."""
    m = blocks.shape[1]
    each = torch.arange(len(blocks))
    while len(each):
        value, mask = blocks[each], kept[each]
        pairs = mask[:, :, :, None, None] & mask[:, None, None]
        pairs &= ~mask[:, :, None, None, :] & ~mask.transpose(1, 2)[:, None, :, :, None]
        crossed = value[:, :, None, None, :] + value.transpose(1, 2)[:, None, :, :, None]
        gain = (crossed - value[:, :, :, None, None] - value[:, None, None]).masked_fill(~pairs, -torch.inf)
        most, best = gain.flatten(1).max(1)
        better = most > 1e-9 * value.amax((1, 2))
        each, best = each[better], best[better]
        row, column, other, there = torch.unravel_index(best, (m, m, m, m))
        kept[each, row, column] = kept[each, other, there] = False
        kept[each, row, there] = kept[each, other, column] = True
