"""A claim that seeds leave open says how many would decide it."""

from __future__ import annotations

import pytest

from overparam.report.claims import Finding, judged, with_seeds_needed
from overparam.report.statistics import Estimate, estimate

OPEN = estimate([-1.0, 0.5, 2.0])  # mean 0.5, standard deviation 1.5: t(0.975, 36) / sqrt(37) * 1.5 = 0.500


def test_an_open_claim_says_how_many_seeds_would_decide_it():
    found = judged(OPEN, "it rises", {"seeds": 3})
    assert found.outcome == "inconclusive"
    assert found.explanation == "it rises; about 38 seeds would decide it, at this spread"
    assert found.numbers == {"seeds": 3, "seeds_needed": 38}


def test_a_decided_claim_and_one_seed_say_nothing_of_it():
    for found in (estimate([1.0, 1.1, 1.2]), estimate([-1.0, -1.1, -1.2]), estimate([1.0])):
        assert judged(found, "so").explanation == "so"


def test_below_the_smallest_mean_that_counts_the_distance_is_to_that():
    found = Estimate(0.4, -0.6, 1.4, 5)
    zero, half, one = (judged(found, "", at_least=least).numbers["seeds_needed"] for least in (0.0, 0.5, 1.2))
    assert 5 < one < zero < half  # 0.8, 0.4 and 0.1 away
    assert judged(found, "", at_least=2.0).outcome == "contradicted"


def test_the_part_that_takes_most_seeds_tells_and_none_is_more_than_can_be_run():
    asked = Finding("inconclusive", "both")
    wide = Estimate(0.1, -1.0, 1.2, 4)
    assert with_seeds_needed(asked, (OPEN, 0.0), (wide, 0.0)).numbers["seeds_needed"] > 38
    none = with_seeds_needed(asked, (OPEN, 0.0), (Estimate(0.0, -1.0, 1.0, 4), 0.0))
    assert none.numbers["seeds_needed"] is None
    assert none.explanation == "both; more than 1,000 seeds would decide it, at this spread"
    assert with_seeds_needed(asked, (estimate([1.0, 1.1, 1.2]), 0.0)) == asked


@pytest.mark.parametrize("count", [38, 37])
def test_the_number_is_right_to_the_seed(count):
    from scipy.stats import t

    half = 1.5 * t.ppf(0.975, count - 1) / count**0.5
    assert (half < 0.5) == (count == 38)
