"""Does a curve turn? Order-restricted fits of all its levels, tested and given intervals by a parametric bootstrap.

The question "does test accuracy fall, rise and fall again" is put to all levels at once: the mean curve is fitted
by three monotone pieces that fall, rise and fall, cut wherever that fits best (:mod:`overparam.report.loops`), and
by the nearest curves that lack a piece. Curves without the rise are among those that lack a fall, so two nulls
stand against the answer: "rises and falls" (no first fall) and "falls and rises" (no last one). The same goes for
any number of pieces.

*Test.* What a piece explains, in units of the noise, is compared with what it explains in tables drawn around the
nearest curve without it, their noise estimated anew in every draw. The p-value is the larger one of the two nulls.
Pieces are fitted to running means (:func:`smoother`), which keep rising curves rising and add no turns but forget
what one level alone does: a network that happened to break down is no descent, and turns that last are seen better.
The fitted null is flattened where its steps are within a standard error; what is flat by chance would else count as
a true fall, against which no noise looks like a rise, and the test would say yes too often (Andrews and Soares,
2010, *Econometrica* 78, on inequalities that nearly bind).

*Intervals* come from draws around the fitted curve. A turn is a level: the lowest (highest) level of the true mean
curve between its neighbouring turns. Its interval holds the levels whose fitted value is as near to the extreme one
as the true extreme's is in 95 % of the draws (Gupta, 1965, on selecting the best). Sizes are differences of the
true mean curve between first level, turns and last level. They are corrected by the bias that the draws show (an
extreme that was looked for lies too far out), with t intervals of the pooled noise. See Silvapulle and Sen,
*Constrained Statistical Inference* (2005), for the theory of such tests, and ``docs/statistics.md`` for how often
they are right.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache, lru_cache
from math import hypot, sqrt

import numpy as np
import numpy.typing as npt

from overparam.report.loops import fit_pieces, gains
from overparam.report.noise import CORRELATIONS, Floats, Noise, noise_around, ratios
from overparam.report.statistics import CONFIDENCE, Estimate, t_quantile

__all__ = ["Span", "Turning", "find_crossing", "find_turns"]

Positions = npt.NDArray[np.int64]

DRAWS = 499
"""Curves drawn for intervals."""

BATCHES = (99, 400, 4500)
"""Tables drawn for a null, batch by batch, until the p-value is known to lie on one side of ``SIGNIFICANT``."""

SIGNIFICANT = 0.05
"""Largest p-value at which a piece of a curve counts as seen."""

LEVELS_A_PASS = 11
"""How many levels there are for each pass of the running mean."""

LEAST = 0.01
"""Smallest change of an accuracy that counts as a fall or a rise: one percentage point."""

NEAR = 1.0
"""Standard errors up to which neighbouring steps of a null count as one level."""


@dataclass(frozen=True)
class Span:
    """A place on a curve in levels, between levels too, and its interval (None with one seed): low <= at <= high."""

    at: float
    low: float | None
    high: float | None


@dataclass(frozen=True, eq=False)
class Turning:
    """What the levels of a curve say about its pieces.

    Args:
        fitted: (levels,) the order-restricted fit.
        turns: where each piece ends and the next begins; as many as pieces less one. A turn at the first or the last
            level says that a piece is empty.
        halfway: where half of the first piece has happened, for good.
        sizes: how much each piece changes the curve, at least 0, with intervals.
        p_value: of the nearest curve with a piece less; None with one seed.
        dip: the smaller one of the changes of the pieces before the last, in running means: how much the curve goes
            back on its way. ``high`` is a one-sided 95 % bound.
        noise: of the table; None with one seed.
        drawn: (draws, levels) the fits to means drawn around the fit; None with one seed.
    """

    fitted: Floats
    turns: tuple[Span, ...]
    halfway: Span
    sizes: tuple[Estimate, ...]
    p_value: float | None
    dip: Estimate
    noise: Noise | None
    drawn: Floats | None


def find_turns(table: Floats, direction: int = -1, pieces: int = 3) -> Turning:
    """Fit ``pieces`` pieces, the first of which falls (``direction`` -1) or rises (+1), to a table (seeds, levels).

    The table has at least two levels and no gaps. Draws are seeded by its content: the same table, the same answer.
    """
    # Page, table and each claim ask about the same curves.
    return _found(np.ascontiguousarray(table).tobytes(), len(table), direction, pieces)


@lru_cache(maxsize=128)
def _found(content: bytes, seeds: int, direction: int, pieces: int) -> Turning:
    table = np.frombuffer(content).reshape(seeds, -1).copy()  # a read-only one would be compiled for anew
    if seeds == 1:
        return _of_one_seed(table[0], direction, pieces)
    noise, generator = noise_around(table), _generator(table)
    p_value = _p_value(table, noise, direction, pieces, generator)
    return _with_intervals(noise, direction, pieces, p_value, generator)


def crossing(turning: Turning, bound: float, after: float = -1.0) -> Span | None:
    """Return where the fitted curve falls below ``bound`` for good, not before ``after``.

    None when it is below from the first level on, or not yet below at the last one.
    """
    return _crossing_span(turning.fitted, turning.drawn, bound, after)


def find_crossing(table: Floats, bound: float) -> Span | None:
    """Return where the mean curve of a table (seeds, levels) falls below ``bound``, by a fit that falls throughout."""
    if len(table) == 1:
        return _crossing_span(fit(table, np.ones(table.shape[1]), -1, 1)[0][0], None, bound, -1.0)
    noise = noise_around(table)
    fitted = fit(noise.mean[None], noise.weights, -1, 1)[0]
    drawn = fit(noise.means(fitted[0], DRAWS, _generator(table)), noise.weights, -1, 1)[0]
    return _crossing_span(fitted[0], drawn, bound, -1.0)


def trend(noise: Noise) -> Estimate:
    """Return the change of the mean over the last sixth of the levels (three at least), by a straight line.

    The interval is a 90 % one: it leaves 5 % on the side of zero that the change is on.
    """
    levels = len(noise.mean)
    last = np.arange(max(0, levels - max(3, round(levels / 6))), levels)
    offset = last - last.mean()
    slope = offset / (offset @ offset) * (len(last) - 1)
    scale = np.sqrt(noise.variance[last] / noise.seeds)
    together = scale[:, None] * scale * noise.correlation ** np.abs(last[:, None] - last)
    change = float(slope @ noise.mean[last])
    half = t_quantile(CONFIDENCE, noise.degrees) * float(np.sqrt(slope @ together @ slope))
    return Estimate(change, change - half, change + half, noise.seeds, noise.degrees)


def fit(values: Floats, weights: Floats, direction: int = -1, pieces: int = 3) -> tuple[Floats, Positions]:
    """Return the fits (rows, levels) of pieces to each row of ``values``, and their turns (rows, pieces - 1)."""
    fitted = np.empty_like(values)
    turns = np.empty((len(values), pieces - 1), np.int64)
    fit_pieces(values, weights, float(direction), pieces, fitted, turns)
    return fitted, turns


@cache
def smoother(levels: int, passes: int | None = None) -> tuple[Floats, int]:
    """Return the running mean that a test looks at, (levels, levels), and how far it reaches.

    It is a binomial one: (1, 2, 1) / 4, applied once for each 11 levels, or ``passes`` times. Such means are
    totally positive: they keep a rising curve rising and never add a turn (Karlin, *Total Positivity*, 1968).
    """
    passes = max(1, round(levels / LEVELS_A_PASS)) if passes is None else passes
    once = np.zeros((levels, levels))
    for level in range(levels):
        for other, weight in ((level - 1, 0.25), (level, 0.5), (level + 1, 0.25)):
            once[level, min(max(other, 0), levels - 1)] += weight
    return np.linalg.matrix_power(once, passes), passes


def _generator(table: Floats) -> np.random.Generator:
    content = hashlib.sha256(np.ascontiguousarray(table).tobytes()).digest()
    return np.random.default_rng(int.from_bytes(content[:8], "big"))


def _p_value(table: Floats, noise: Noise, direction: int, pieces: int, generator: np.random.Generator) -> float:
    """Return the larger p-value of the two nearest curves with a piece less."""
    seen = _gains(table[None], direction, pieces)[0]
    largest = 0.0
    for place, first in ((0, direction), (1, -direction)):
        null = flattened(fit(noise.mean[None], noise.weights, first, pieces - 1)[0][0], noise.weights_of_steps)
        beyond, drawn, share = 0, 0, 1.0
        for draws in BATCHES:
            gained = _gains(noise.samples(null, draws, generator), direction, pieces)[:, place]
            beyond, drawn = beyond + int((gained >= seen[place]).sum()), drawn + draws
            share = (1 + beyond) / (1 + drawn)
            if abs(share - SIGNIFICANT) > 3 * sqrt(share * (1 - share) / drawn):
                break
        largest = max(largest, share)
    return largest


def _gains(samples: Floats, direction: int, pieces: int) -> Floats:
    levels = samples.shape[-1]
    gained = np.empty((len(samples), 2))
    passed, reach = smoother(levels)
    gains(samples, float(direction), pieces, CORRELATIONS, ratios(levels), passed, reach, gained)
    return gained


def flattened(curve: Floats, weights: Floats) -> Floats:
    """Join neighbouring steps of a fitted curve, the nearest first, while they differ by less than ``NEAR`` errors.

    >>> flattened(np.array([3.0, 1.0, 0.9, 0.0]), np.full(4, 4.0)).round(2).tolist()
    [3.0, 0.95, 0.95, 0.0]
    """
    starts = np.flatnonzero(np.r_[True, np.diff(curve) != 0])
    weight = np.add.reduceat(weights, starts)
    height = np.add.reduceat(weights * curve, starts) / weight
    while len(height) > 1:
        apart = np.abs(np.diff(height)) / np.sqrt(1 / weight[1:] + 1 / weight[:-1])
        first = int(apart.argmin())
        if apart[first] >= NEAR:
            break
        pair = weight[first : first + 2]
        height[first] = pair @ height[first : first + 2] / pair.sum()
        weight[first] = pair.sum()
        height, weight, starts = (np.delete(array, first + 1) for array in (height, weight, starts))
    return np.repeat(height, np.diff(np.r_[starts, len(curve)]))


def _with_intervals(
    noise: Noise, direction: int, pieces: int, p_value: float, generator: np.random.Generator
) -> Turning:
    fitted, turns = _fit_one(noise.mean, noise.weights, direction, pieces)
    # A fitted extreme is sharper than the true one: it has taken the side of the noise. So half of it is smoothed,
    # and steps that noise alone makes are joined; the true place of a turn would else look surer than it is.
    blunt = _fit_one(smoother(len(fitted), passes=1)[0] @ noise.mean, noise.weights, direction, pieces)[0]
    assumed = flattened((fitted + blunt) / 2, noise.weights_of_steps)
    true, true_turns = _fit_one(assumed, noise.weights, direction, pieces)
    means = noise.means(assumed, DRAWS, generator)
    drawn, drawn_turns = fit(means, noise.weights, direction, pieces)
    sizes = _sizes(noise.mean[None], fitted[None], turns[None])[0]
    bias = _sizes(means, drawn, drawn_turns).mean(axis=0) - _sizes(assumed[None], true[None], true_turns[None])[0]
    return Turning(
        fitted=fitted,
        turns=_turn_spans(fitted, turns, true_turns, drawn, drawn_turns),
        halfway=_halfway_span(fitted, turns, drawn, drawn_turns),
        sizes=_size_estimates(sizes, bias, turns, noise),
        p_value=p_value,
        dip=_dip(noise, means, direction, pieces),
        noise=noise,
        drawn=drawn,
    )


def _of_one_seed(values: Floats, direction: int, pieces: int) -> Turning:
    fitted, turns = _fit_one(values, np.ones(len(values)), direction, pieces)
    sizes = _sizes(values[None], fitted[None], turns[None])[0]
    return Turning(
        fitted=fitted,
        turns=tuple(Span(float(turn), None, None) for turn in turns),
        halfway=Span(float(_halfway(fitted[None], turns[None])[0]), None, None),
        sizes=tuple(Estimate(float(size), None, None, 1) for size in sizes),
        p_value=None,
        dip=Estimate(float(sizes[:-1].min()), None, None, 1),
        noise=None,
        drawn=None,
    )


def _fit_one(values: Floats, weights: Floats, direction: int, pieces: int) -> tuple[Floats, Positions]:
    fitted, turns = fit(values[None], weights, direction, pieces)
    return fitted[0], turns[0]


def _turn_spans(
    fitted: Floats, turns: Positions, true_turns: Positions, drawn: Floats, drawn_turns: Positions
) -> tuple[Span, ...]:
    """Return each turn with the levels around it that are as near to it as the true turn is to the one found."""
    rows, bounds = np.arange(len(drawn)), [0, *turns.tolist(), len(fitted) - 1]
    spans = []
    for place, turn in enumerate(turns.tolist()):
        missed = np.abs(drawn[:, true_turns[place]] - drawn[rows, drawn_turns[:, place]])
        near = np.abs(fitted - fitted[turn]) <= np.quantile(missed, CONFIDENCE)
        low = high = turn
        while low > bounds[place] and near[low - 1]:
            low -= 1
        while high < bounds[place + 2] and near[high + 1]:
            high += 1
        spans.append(Span(float(turn), float(low), float(high)))
    return tuple(spans)


def _halfway(fitted: Floats, turns: Positions) -> Floats:
    """Return where half of the first piece of each fit (rows, levels) has happened, linear between levels."""
    rows = np.arange(len(fitted))
    end = turns[:, 0]
    half = (fitted[:, 0] + fitted[rows, end]) / 2
    down = np.sign(fitted[:, 0] - fitted[rows, end])
    before = ((fitted - half[:, None]) * down[:, None] >= 0) & (np.arange(fitted.shape[1]) <= end[:, None])
    last = np.minimum(before.sum(axis=1) - 1, end)  # pieces are monotone: those before the middle come first
    after = np.minimum(last + 1, end)
    step = fitted[rows, last] - fitted[rows, after]
    return np.asarray(last + np.divide(fitted[rows, last] - half, step, out=np.zeros(len(rows)), where=step != 0))


def _halfway_span(fitted: Floats, turns: Positions, drawn: Floats, drawn_turns: Positions) -> Span:
    at = float(_halfway(fitted[None], turns[None])[0])
    low, high = np.quantile(_halfway(drawn, drawn_turns), [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Span(at, min(at, float(low)), max(at, float(high)))


def _crossing_span(fitted: Floats, drawn: Floats | None, bound: float, after: float) -> Span | None:
    at = float(_crossings(fitted[None], bound, after)[0])
    if not 0 <= at < len(fitted) - 1:
        return None
    if drawn is None:
        return Span(at, None, None)
    # A draw that is below from the start crosses at the first level, one that is not yet below at the last.
    places = np.clip(_crossings(drawn, bound, after), 0, len(fitted) - 1)
    low, high = np.quantile(places, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Span(at, min(at, float(low)), max(at, float(high)))


def _crossings(fitted: Floats, bound: float, after: float) -> Floats:
    """Return where each curve (rows, levels) is at ``bound`` for the last time, linear between levels; -1 for never."""
    rows, levels = np.arange(len(fitted)), fitted.shape[1]
    reached = fitted >= bound
    last = np.where(reached.any(axis=1), levels - 1 - reached[:, ::-1].argmax(axis=1), -1)
    inside = np.clip(last, 0, levels - 2)
    step = fitted[rows, inside] - fitted[rows, inside + 1]
    share = np.divide(fitted[rows, inside] - bound, step, out=np.zeros(len(rows)), where=step > 0)
    return np.maximum(np.where((last < 0) | (last == levels - 1), last, last + share), after)


def _sizes(means: Floats, fitted: Floats, turns: Positions) -> Floats:
    """Return how much each piece changes each curve (rows, pieces): first level, fitted turns, last level."""
    at_turns = np.take_along_axis(fitted, turns, axis=1)
    return np.abs(np.diff(np.column_stack([means[:, 0], at_turns, means[:, -1]]), axis=1))


def _size_estimates(sizes: Floats, bias: Floats, turns: Positions, noise: Noise) -> tuple[Estimate, ...]:
    bounds = [0, *turns.tolist(), len(noise.mean) - 1]
    quantile = t_quantile((1 + CONFIDENCE) / 2, noise.degrees)
    found = []
    for place, size in enumerate(sizes.tolist()):
        error, middle = noise.error(bounds[place], bounds[place + 1]), size - float(bias[place])
        half = hypot(quantile * error, float(bias[place]))  # a bias that is estimated is itself in doubt
        low, high = max(0.0, min(size, middle - half)), max(size, middle + half)
        found.append(Estimate(size, low, high, noise.seeds, noise.degrees))
    return tuple(found)


def _dip(noise: Noise, means: Floats, direction: int, pieces: int) -> Estimate:
    """Return the smallest change before the last piece in running means, with a one-sided bound from its spread."""
    smooth = smoother(len(noise.mean))[0]
    curves = np.vstack([noise.mean, means]) @ smooth.T
    fitted, turns = fit(curves, noise.weights, direction, pieces)
    dips = _sizes(fitted, fitted, turns)[:, :-1].min(axis=1)
    low, high = np.quantile(dips[1:], [1 - CONFIDENCE, CONFIDENCE])
    return Estimate(float(dips[0]), 0.0, float(dips[0] + (high - low) / 2), noise.seeds, noise.degrees)
