from __future__ import annotations

from functools import cache
from itertools import combinations_with_replacement, pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import isotonic_regression

import phase_statistics
from overparam.report.noise import noise_around
from overparam.report.turning import crossing, find_turns, fit, flattened, smoother, trend
from sampling import rounds

VALUES = st.lists(st.floats(0, 1), min_size=2, max_size=9)


def table(curve, seeds=3, noise=0.003, draw=0):
    generator = np.random.default_rng(draw)
    offsets = generator.normal(0, noise, (seeds, 1))
    return np.asarray(curve) + offsets + generator.normal(0, noise, (seeds, len(curve)))


def left_by(values, weights, direction, ends):
    """Return the weighted squares that alternating isotonic regressions between these ends leave, by scipy."""
    total = 0.0
    for place, (start, end) in enumerate(pairwise([0, *ends, len(values)])):
        if start < end:
            rises = direction * (-1) ** place > 0
            piece = isotonic_regression(values[start:end], weights=weights[start:end], increasing=rises).x
            total += float(weights[start:end] @ (values[start:end] - piece) ** 2)
    return total


@given(VALUES, st.integers(1, 4), st.sampled_from([-1, 1]), st.randoms())
def test_a_fit_is_the_best_of_all_ways_to_cut_the_levels(values, pieces, direction, random):
    values, weights = np.array(values), np.array([random.uniform(0.5, 2) for _ in values])
    fitted = fit(values[None], weights, direction, pieces)[0][0]
    cuts = combinations_with_replacement(range(len(values) + 1), pieces - 1)
    least = min(left_by(values, weights, direction, ends) for ends in cuts)
    assert weights @ (values - fitted) ** 2 == pytest.approx(least, abs=1e-12)


@given(VALUES, st.integers(1, 4), st.sampled_from([-1, 1]))
def test_a_fit_goes_each_way_between_its_turns(values, pieces, direction):
    fitted, turns = (found[0] for found in fit(np.array([values]), np.ones(len(values)), direction, pieces))
    assert list(turns) == sorted(turns)
    for place, (start, end) in enumerate(pairwise([0, *turns, len(values) - 1])):
        steps = np.diff(fitted[start : end + 1]) * direction * (-1) ** place
        assert (steps >= -1e-12).all()


@given(VALUES)
def test_running_means_keep_a_rising_curve_rising_and_the_sum(values):
    passed, _ = smoother(len(values), passes=2)
    assert (np.diff(passed @ np.sort(values)) >= -1e-12).all()
    assert passed.sum(axis=0) == pytest.approx(np.ones(len(values)))


@given(st.lists(st.floats(0, 1), min_size=2, max_size=30), st.floats(0.1, 100))
def test_a_flattened_curve_keeps_its_mean_and_its_order(values, weight):
    falling, weights = -np.sort(values), np.full(len(values), weight)
    flat = flattened(falling, weights)
    assert flat.mean() == pytest.approx(falling.mean())
    assert (np.diff(flat) <= 1e-12).all()
    assert len(np.unique(flat)) <= len(np.unique(falling))


def test_the_noise_is_that_which_was_put_in():
    generator = np.random.default_rng(1)
    drawn = generator.standard_normal((40, 30))
    for level in range(1, 30):
        drawn[:, level] = 0.6 * drawn[:, level - 1] + 0.8 * drawn[:, level]
    scale = np.where(np.arange(30) < 20, 0.01, 0.04)
    found = noise_around(0.8 + generator.normal(0, 0.1, (40, 1)) + scale * drawn)
    assert found.correlation == pytest.approx(0.6, abs=0.06)
    assert np.sqrt(found.variance[:20].mean()) == pytest.approx(0.01, rel=0.15)
    assert np.sqrt(found.variance[20:].mean()) == pytest.approx(0.04, rel=0.15)
    assert found.error(3, 3) == 0
    assert found.degrees == 39 * 29


def test_the_same_table_has_the_same_answer_and_no_estimate_lies_outside_its_interval():
    curve = phase_statistics.CURVES["double descent"].curve
    first, again = find_turns(table(curve)), find_turns(table(curve))
    assert first.p_value == again.p_value
    assert first.turns == again.turns
    for draw in range(5):
        found = find_turns(table(curve, seeds=2, noise=0.01, draw=draw))
        for span in (*found.turns, found.halfway):
            assert span.low <= span.at <= span.high
        for size in found.sizes:
            assert 0 <= size.low <= size.mean <= size.high


def test_any_number_of_pieces_can_be_asked_for():
    waves = [0.5, 0.7, 0.9, 0.7, 0.5, 0.7, 0.9, 0.7, 0.5]
    up_down_up_down = find_turns(table(waves), 1, 4)
    assert [span.at for span in up_down_up_down.turns] == [2, 4, 6]
    assert up_down_up_down.p_value <= 0.01
    assert find_turns(table(waves[:5]), 1, 4).p_value > 0.05
    assert find_turns(table(waves[:5]), 1, 2).p_value <= 0.01


def test_one_seed_has_turns_and_no_verdict():
    found = find_turns(np.array([[0.9, 0.8, 0.9, 0.7]]))
    assert [span.at for span in found.turns] == [1, 2]
    assert (found.p_value, found.turns[0].low, found.sizes[0].low, found.noise) == (None, None, None, None)


@pytest.mark.parametrize("levels", [2, 3])
def test_short_curves_and_seeds_that_agree_exactly_are_no_error(levels):
    same = np.tile(np.linspace(0.9, 0.8, levels), (3, 1))
    assert find_turns(same).p_value > 0.05
    assert find_turns(table(same[0])).p_value > 0.05


def test_a_crossing_lies_between_the_levels_around_it():
    found = find_turns(table([0.9, 0.9, 0.9, 0.8, 0.7, 0.6], noise=0.001))
    assert crossing(found, 0.85).at == pytest.approx(2.5, abs=0.05)
    assert crossing(found, 0.95) is None
    assert crossing(found, 0.5) is None
    assert crossing(found, 0.95, after=3.0).at == 3.0


def test_a_trend_at_the_end_is_told_from_rest():
    falling = trend(noise_around(table([0.9, 0.9, 0.9, 0.89, 0.88, 0.87], noise=0.001)))
    assert falling.mean == pytest.approx(-0.02, abs=0.003)
    assert falling.below(0)
    resting = trend(noise_around(table([0.9, 0.85, 0.8, 0.8, 0.8, 0.8], noise=0.001)))
    assert not resting.below(-0.005)


# What the verdict promises, on a few of the cases of benchmarks/phase_statistics.py and with fewer draws. Bounds leave
# room for chance: three standard errors at the number of draws.
PROMISES = [
    (("no descent", 8, 0.005), "no", 0.90, None),
    (("no descent", 8, 0.01), "no", 0.60, None),
    (("no descent", 3, 0.01), "yes", None, 0.07),
    (("falls, rises, stays", 3, 0.01), "yes", None, 0.07),
    (("rises, falls", 3, 0.01), "yes", None, 0.07),
    (("double descent", 3, 0.01), "yes", 0.75, None),
    (("double descent", 8, 0.01), "yes", 0.95, None),
]


@cache
def tally(name, seeds, noise, draws):
    return phase_statistics.run(phase_statistics.Case(name, seeds, noise), draws)


@pytest.mark.sampled
@pytest.mark.parametrize(("case", "answer", "least", "most"), PROMISES, ids=lambda value: str(value))
def test_answers_are_as_often_right_as_promised(case, answer, least, most):
    draws = rounds(200)
    share = tally(*case, draws).answers.get(answer, 0) / draws
    for bound, side in ((least, 1), (most, -1)):
        if bound is not None:
            assert side * (share - bound) > -3 * np.sqrt(bound * (1 - bound) / draws)


@pytest.mark.sampled
def test_intervals_hold_the_truth_as_often_as_promised_and_always_their_estimate():
    draws = rounds(200)
    found = tally("double descent", 8, 0.01, draws)
    assert found.astray == 0
    for name, held in found.held.items():
        assert np.mean(held) > 0.9 - 3 * np.sqrt(0.09 / draws), name
