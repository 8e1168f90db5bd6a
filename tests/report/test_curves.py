"""Curves show what :func:`overparam.report.statistics.spread` says of the seeds at each place."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic import arm

from overparam.report import arms, curve
from overparam.report.statistics import spread

VALUES = st.lists(st.none() | st.floats(0, 1) | st.just(float("nan")), min_size=1, max_size=7)


@settings(max_examples=20)
@given(VALUES, st.sampled_from(["test_accuracy", "test_loss"]))
def test_a_curve_shows_the_spread_of_its_seeds(values, column):
    rows = arm(seeds=range(len(values)), levels=2)
    found = arms(rows.with_columns(pl.Series(column, [value for value in values for _ in range(2)], pl.Float64)))[0]
    shown = curve(found, [column]).to_dicts()
    expected = spread(values, share="accuracy" in column)
    for row in shown:
        if not expected.n:
            assert row.get(column) is None
            continue
        assert row[column] == pytest.approx(expected.mean)
        ends = (row[f"{column}_low"], row[f"{column}_high"])
        assert ends == ((None, None) if not expected.known else pytest.approx((expected.low, expected.high)))
