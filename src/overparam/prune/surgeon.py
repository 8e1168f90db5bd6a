"""Quadratic problems of pruning: what it costs to delete weights, and how those that stay make up for it.

For rows ``w`` of weights that share a curvature ``H``, deleting the set Q costs ``w_Q' ([H^-1]_QQ)^-1 w_Q / 2`` if
those that stay, S, move to ``w_S + H_SS^-1 H_SQ w_Q``, the least of the quadratic (Hassibi & Stork, NIPS 1992, for one
weight). All is in float64.
"""

from __future__ import annotations

import torch
from torch import Tensor

from overparam.errors import SpecError

PANEL = 64  # eliminations after which what is left of the inverses is made anew
ROOM = 2**23  # elements of the inverses that are worked on at once


def damped(curvature: Tensor, damping: float) -> Tensor:
    """Return ``(..., d, d)`` with ``damping`` times its mean diagonal added to it; where the diagonal is 0 it is 1.

    A weight that reads a dead input has no curvature: it is taken for one that stands alone.
    """
    found = curvature.double()
    diagonal = found.diagonal(dim1=-2, dim2=-1)
    added = torch.where(diagonal == 0, 1.0, damping * diagonal.mean(-1, keepdim=True))
    return found + torch.diag_embed(added)


def inverse(curvature: Tensor) -> Tensor:
    """Return the inverse of a positive definite matrix; raises :class:`SpecError` for another."""
    return torch.cholesky_inverse(_factor(curvature))


def eliminate(inverse: Tensor, weights: Tensor, alive: Tensor) -> Tensor:
    """Return what each weight costs in the order of Optimal Brain Surgeon: always the one that costs least goes next.

    After each deletion the others move, and the inverse becomes that of the curvature of those that are left, so that
    the costs that follow are exact. A weight gets the highest cost up to its own deletion (the least bit more than the
    one before it), so that to keep the dearest of several rows together is to go on, each time, with the row whose next
    deletion costs least.

    Args:
        inverse: of the curvature, ``(d, d)``, positive definite.
        weights: ``(rows, d)``, zero where not ``alive``.
        alive: bool, alike. What is dead is eliminated first.

    Returns:
        ``(rows, d)``: rises of ``w' H w / 2``, 0 where dead.
    """
    at_once = max(1, ROOM // max(inverse.shape[-1] ** 2, 1))
    parts = [
        _eliminate(inverse, *part)
        for part in zip(torch.split(weights, at_once), torch.split(alive, at_once), strict=True)
    ]
    return torch.cat(parts) if parts else torch.zeros_like(weights)


def _eliminate(inverse: Tensor, weights: Tensor, alive: Tensor) -> Tensor:
    """See :func:`eliminate`; the columns that are left shrink with each panel."""
    rows, size = weights.shape
    costs, highest = inverse.new_zeros(rows, size), inverse.new_zeros(rows)
    left = torch.arange(size, device=inverse.device).expand(rows, size)
    inverses, weights, dead = inverse.expand(rows, size, size), weights.double().clone(), ~alive
    while left.shape[1]:
        steps = min(PANEL, left.shape[1])
        order, rises, moves = _panel(inverses, weights, dead, steps)
        for step in range(steps):
            lives = alive.gather(1, left.gather(1, order[:, step : step + 1]))[:, 0]
            next_up = torch.nextafter(highest, torch.full_like(highest, torch.inf))
            highest = torch.where(lives, torch.maximum(rises[:, step], next_up), highest)
            costs.scatter_(1, left.gather(1, order[:, step : step + 1]), (highest * lives)[:, None])
        stay = torch.ones_like(dead).scatter_(1, order, False).nonzero()[:, 1].reshape(rows, -1)
        left, weights, dead = left.gather(1, stay), weights.gather(1, stay), dead.gather(1, stay)
        moves = moves.gather(2, stay[:, None].expand(-1, steps, -1))
        inverses = inverses[torch.arange(rows, device=stay.device)[:, None, None], stay[:, :, None], stay[:, None, :]]
        inverses = torch.baddbmm(inverses, moves.mT, moves, alpha=-1)
    return costs


def _panel(inverses: Tensor, weights: Tensor, dead: Tensor, steps: int) -> tuple[Tensor, Tensor, Tensor]:
    """Eliminate ``steps`` weights of each row, whose others are moved in place.

    Returns which they were, what each cost, and for each the column ``v`` by which the inverse becomes less, ``v v'``:
    a Cholesky factorisation of the inverse with pivots, one column at a time.
    """
    (rows, size), each = weights.shape, torch.arange(len(weights), device=weights.device)
    diagonal, gone = inverses.diagonal(dim1=1, dim2=2).clone(), torch.zeros_like(dead)
    moves, rises = weights.new_zeros(rows, steps, size), weights.new_zeros(rows, steps)
    order = torch.zeros(rows, steps, dtype=torch.int64, device=weights.device)
    for step in range(steps):
        costs = weights.square() / (2 * diagonal)
        chosen = costs.masked_fill(dead, -1.0).masked_fill(gone, torch.inf).argmin(1)
        column = inverses[each, :, chosen]
        column = column - (moves[each, :step, chosen][:, None] @ moves[:, :step])[:, 0]
        root = column[each, chosen].clamp(min=torch.finfo(torch.float64).tiny).sqrt()
        move = column / root[:, None]
        order[:, step], rises[:, step], moves[:, step] = chosen, costs[each, chosen], move
        weights -= move * (weights[each, chosen] / root)[:, None]
        gone[each, chosen] = True
        weights.masked_fill_(gone, 0.0)
        diagonal = (diagonal - move.square()).clamp(min=torch.finfo(torch.float64).tiny)
    return order, rises, moves


def refit(curvature: Tensor, weights: Tensor, kept: Tensor) -> Tensor:
    """Return the exact best values of what is kept of each row ``(rows, d)``, zero elsewhere.

    They minimise ``(w - v)' H (w - v) / 2`` over all ``v`` with the zeros of the row. Raises :class:`SpecError` for a
    curvature ``(d, d)`` that is not positive definite.
    """
    found = torch.zeros_like(weights, dtype=torch.float64)
    for row, weight, stays in zip(found, weights.double(), kept, strict=True):
        gone = ~stays
        row[stays] = weight[stays]
        if bool(weight[gone].any()) and bool(stays.any()):
            across = curvature[stays]
            factor = _factor(across[:, stays])
            row[stays] += torch.cholesky_solve((across[:, gone] @ weight[gone])[:, None], factor)[:, 0]
    return found


def from_left_to_right(curvature: Tensor, weights: Tensor, kept: Tensor, block: int = 128) -> Tensor:
    """Return what is kept of each row, moved as SparseGPT does: what goes is made up for by columns to its right only.

    One sequence of inverses, that of the columns in order, then serves all rows: with U the upper Cholesky factor of
    the inverse, the error of a column over ``U_ii``, times ``U[i, i:]``, is taken from the columns to its right. The
    width of a ``block`` of columns whose errors are handed on together changes nothing but the time.

    Reference: Frantar & Alistarh, ICML 2023, arXiv:2301.00774.
    """
    upper = torch.linalg.cholesky(inverse(curvature), upper=True)
    found, size = weights.double().clone(), weights.shape[1]
    for start in range(0, size, block):
        end = min(start + block, size)
        errors = found.new_zeros(len(found), end - start)
        for place in range(start, end):
            errors[:, place - start] = found[:, place] * ~kept[:, place] / upper[place, place]
            found[:, place:end] -= errors[:, place - start, None] * upper[place, place:end]
        found[:, end:] -= errors @ upper[start:end, end:]
    return found * kept


def _factor(matrix: Tensor) -> Tensor:
    if not bool(matrix.isfinite().all()):
        raise SpecError("the curvature is not finite; look for NaN in the inputs, or a loss that overflowed")
    factor: Tensor
    factor, failed = torch.linalg.cholesky_ex(matrix)
    if bool(failed):
        raise SpecError(
            "the curvature is not positive definite, so it has no inverse: the examples that were looked at do not "
            "determine all weights; raise damping, or batches"
        )
    return factor
