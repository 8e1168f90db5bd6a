"""The loops behind order-restricted fits and their bootstrap, compiled by numba at first use.

Means over seeds at n levels are cut into pieces that fall and rise in turn; each piece is fitted by isotonic
regression (pool adjacent violators; Robertson, Wright and Dykstra, *Order Restricted Statistical Inference*, 1988,
chapter 1), and dynamic programming over the costs of all stretches finds the best cuts, as Frisen (1986, *The
Statistician* 35) does for one cut. A fit takes O(pieces n^2). A direction is +1 (rises) or -1 (falls).
"""

from __future__ import annotations

import numba
import numpy as np
from numba.core import config

from overparam.folders import writable_cache_folder

LEAST_DEGREES = 8  # degrees of freedom behind the variance of a run of levels, at least
MODERATION = 10.0  # degrees of freedom that the variance of its run brings to the variance of a level
FLOOR = 0.01  # smallest variance of a level, as a share of the mean over levels
TINY = 1e-12  # smallest variance at all: a millionth, in accuracy


def _compiled(function):
    """Compile at first use; kept in the user's cache folder, since an installed package need not be writable."""
    before, config.CACHE_DIR = config.CACHE_DIR, str(writable_cache_folder() / "report")
    try:
        return numba.njit(cache=True, nogil=True, error_model="numpy")(function)
    finally:
        config.CACHE_DIR = before


@_compiled
def _costs(values, weights, direction, cost):
    """Fill ``cost[i, j]`` with the weighted squares that the best monotone fit leaves on levels i to j inclusive."""
    levels = len(values)
    mean, weight = np.empty(levels), np.empty(levels)
    for start in range(levels):
        top, total = -1, 0.0
        for end in range(start, levels):
            top += 1
            mean[top], weight[top] = direction * values[end], weights[end]
            while top > 0 and mean[top - 1] >= mean[top]:
                both = weight[top - 1] + weight[top]
                total += weight[top - 1] * weight[top] / both * (mean[top] - mean[top - 1]) ** 2
                mean[top - 1] = (weight[top - 1] * mean[top - 1] + weight[top] * mean[top]) / both
                weight[top - 1] = both
                top -= 1
            cost[start, end] = total


@_compiled
def _cut(falling, rising, direction, pieces, best, came):
    """Fill ``best[p, j]``, the least cost of levels 0 to j in p + 1 pieces, and ``came[p, j]``, where piece p - 1 ends.

    A piece may be empty, so more pieces never cost more.
    """
    levels = len(rising)
    for piece in range(pieces):
        cost = rising if direction > 0 else falling
        direction = -direction
        for end in range(levels):
            if piece == 0:
                best[0, end] = cost[0, end]
                continue
            best[piece, end], came[piece, end] = best[piece - 1, end], end
            for before in range(end):
                total = best[piece - 1, before] + cost[before + 1, end]
                if total < best[piece, end]:
                    best[piece, end], came[piece, end] = total, before


@_compiled
def _monotone(values, weights, direction, start, end, fitted):
    """Fill ``fitted`` on levels ``start`` to ``end`` (not included) with the monotone fit."""
    mean, weight, size = np.empty(end - start), np.empty(end - start), np.empty(end - start, np.int64)
    top = -1
    for level in range(start, end):
        top += 1
        mean[top], weight[top], size[top] = direction * values[level], weights[level], 1
        while top > 0 and mean[top - 1] >= mean[top]:
            both = weight[top - 1] + weight[top]
            mean[top - 1] = (weight[top - 1] * mean[top - 1] + weight[top] * mean[top]) / both
            weight[top - 1] = both
            size[top - 1] += size[top]
            top -= 1
    level = start
    for block in range(top + 1):
        for _ in range(size[block]):
            fitted[level] = direction * mean[block]
            level += 1


@_compiled
def fit_pieces(values, weights, direction, pieces, fitted, turns):
    """Fit alternating pieces, the first in ``direction``, to each row of ``values``.

    Args:
        values: (rows, levels).
        weights: (levels,).
        direction: of the first piece.
        pieces: how many.
        fitted: (rows, levels), filled with the fits.
        turns: (rows, pieces - 1) integers, filled with the levels at which a fit turns from each piece to the next.
    """
    levels = values.shape[1]
    falling, rising = np.empty((levels, levels)), np.empty((levels, levels))
    best, came = np.empty((pieces, levels)), np.zeros((pieces, levels), np.int64)
    ends = np.empty(pieces + 1, np.int64)
    for row in range(len(values)):
        _costs(values[row], weights, -1.0, falling)
        _costs(values[row], weights, 1.0, rising)
        _cut(falling, rising, direction, pieces, best, came)
        ends[pieces], ends[0] = levels, 0
        for piece in range(pieces - 1, 0, -1):
            ends[piece] = came[piece, ends[piece + 1] - 1] + 1
        toward = direction
        for piece in range(pieces):
            _monotone(values[row], weights, toward, ends[piece], ends[piece + 1], fitted[row])
            toward = -toward
        toward = direction
        for piece in range(1, pieces):  # the more extreme one of the two levels at which pieces meet
            toward = -toward
            after = min(max(ends[piece], 1), levels - 1)
            before_it = (fitted[row, after - 1] - fitted[row, after]) * toward < 0
            turn = after - 1 if before_it or ends[piece] == 0 else after
            turns[row, piece - 1] = turn if piece == 1 else max(turn, turns[row, piece - 2])


@_compiled
def _run_variances(squares, degrees, penalty, variance):
    """Fill ``variance`` with the variance of runs of levels, found by penalised likelihood (optimal partitioning)."""
    levels = len(squares)
    shortest = int(np.ceil(LEAST_DEGREES / degrees))
    every = 0.0
    for level in range(levels):
        every += squares[level]
    floor = max(FLOOR * every / (levels * degrees), TINY)
    best, came = np.empty(levels + 1), np.zeros(levels + 1, np.int64)
    best[0] = 0.0
    for end in range(1, levels + 1):
        best[end], total = np.inf, 0.0
        for start in range(end - 1, -1, -1):
            total += squares[start]
            known = (end - start) * degrees
            if end - start >= shortest or end - start == levels:
                cost = best[start] + known * np.log(max(total / known, floor)) + penalty
                if cost < best[end]:
                    best[end], came[end] = cost, start
    end = levels
    while end > 0:
        start, total = came[end], 0.0
        for level in range(start, end):
            total += squares[level]
        for level in range(start, end):
            variance[level] = max(total / ((end - start) * degrees), floor)
        end = start


@_compiled
def _take_offsets_out(sample, mean, variance, rest, squares):
    """Fill ``rest`` (seeds, levels) with what mean and offsets leave, ``squares`` with its sums over seeds."""
    seeds, levels = sample.shape
    weights = 0.0
    for level in range(levels):
        weights += 1 / variance[level]
        squares[level] = 0.0
    for seed in range(seeds):
        offset = 0.0
        for level in range(levels):
            offset += (sample[seed, level] - mean[level]) / variance[level] / weights
        for level in range(levels):
            rest[seed, level] = sample[seed, level] - mean[level] - offset
            # the offset took its share
            squares[level] += rest[seed, level] ** 2 / (1 - 1 / (variance[level] * weights))


@_compiled
def noise_of(sample, correlations, ratios, mean, variance):
    """Fill mean (levels,) and variance (levels,) of one seed's noise; return its correlation from level to level.

    ``sample`` is (seeds, levels). A seed's own offset is taken out first. The variance is that of a run of levels (see
    :func:`_run_variances`), drawn towards the level's own, as moderated variances are (Smyth, 2004). The correlation
    comes from the ratio of the mean squared difference of successive levels to the variance within a seed (von Neumann,
    1941), which its expectation under a first-order autoregression corrects for the offset taken out.
    """
    seeds, levels = sample.shape
    rest, squares = np.empty((seeds, levels)), np.empty(levels)
    for level in range(levels):
        total = 0.0
        for seed in range(seeds):
            total += sample[seed, level]
        mean[level] = total / seeds
    degrees = seeds - 1
    for level in range(levels):
        variance[level] = 1.0
    for _ in range(2):  # offsets first from all levels alike, then from the quiet ones: loud levels tell little of them
        _take_offsets_out(sample, mean, variance, rest, squares)
        _run_variances(squares, degrees, 3 * np.log(degrees * levels), variance)
    for level in range(levels):
        variance[level] = (MODERATION * variance[level] + squares[level]) / (MODERATION + degrees)
    successive, within = 0.0, 0.0
    for seed in range(seeds):
        total, before = 0.0, 0.0
        for level in range(levels):
            scaled = rest[seed, level] / np.sqrt(variance[level])
            total += scaled
            within += scaled**2
            if level > 0:
                successive += (scaled - before) ** 2
            before = scaled
        within -= total**2 / levels
    if within <= 0.0 or levels < 4:  # too few to tell noise that is correlated from an offset
        return 0.0
    ratio = successive / (2 * within)
    if ratio >= ratios[0]:
        return correlations[0]
    for place in range(1, len(ratios)):
        if ratio >= ratios[place]:
            share = (ratios[place - 1] - ratio) / (ratios[place - 1] - ratios[place])
            return correlations[place - 1] + share * (correlations[place] - correlations[place - 1])
    return correlations[-1]


@_compiled
def _smoothed(mean, variance, correlation, seeds, smoother, reach, values, weights):
    """Fill values and weights (1 / variance) of the running means of ``smoother``, (levels, levels), at each level."""
    levels = len(mean)
    power, scale = np.empty(2 * reach + 1), np.empty(levels)
    for apart in range(2 * reach + 1):
        power[apart] = correlation**apart
    for level in range(levels):
        scale[level] = np.sqrt(variance[level] / seeds)
    for level in range(levels):
        lo, hi = max(0, level - reach), min(levels, level + reach + 1)
        value, spread = 0.0, 0.0
        for one in range(lo, hi):
            value += smoother[level, one] * mean[one]
            for other in range(lo, hi):
                both = smoother[level, one] * smoother[level, other] * scale[one] * scale[other]
                spread += both * power[abs(one - other)]
        values[level], weights[level] = value, 1 / spread


@_compiled
def gains(samples, direction, pieces, correlations, ratios, smoother, reach, gained):
    """Fill ``gained``, (samples, 2), with what the last and the first of ``pieces`` pieces explain.

    ``samples`` is (samples, seeds, levels). Noise, running means and fits are made anew for each sample. A gain is the
    difference of the weighted squares left without that piece and with it: a likelihood ratio, in units of the noise.
    """
    levels = samples.shape[2]
    mean, variance, values, weights = np.empty(levels), np.empty(levels), np.empty(levels), np.empty(levels)
    falling, rising = np.empty((levels, levels)), np.empty((levels, levels))
    best, came = np.empty((pieces, levels)), np.zeros((pieces, levels), np.int64)
    for place in range(len(samples)):
        correlation = noise_of(samples[place], correlations, ratios, mean, variance)
        _smoothed(mean, variance, correlation, samples.shape[1], smoother, reach, values, weights)
        _costs(values, weights, -1.0, falling)
        _costs(values, weights, 1.0, rising)
        _cut(falling, rising, -direction, pieces - 1, best, came)
        without_first = best[pieces - 2, levels - 1]
        _cut(falling, rising, direction, pieces, best, came)
        whole = best[pieces - 1, levels - 1]
        gained[place, 0] = best[pieces - 2, levels - 1] - whole
        gained[place, 1] = without_first - whole
