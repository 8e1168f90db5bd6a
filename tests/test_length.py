from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overparam import Length, SpecError


@pytest.mark.parametrize(
    ("given", "value", "unit"),
    [
        ("160ep", 160, "ep"),
        ("5000it", 5000, "it"),
        (" 2.5 EP ", 2.5, "ep"),
        ("1e3it", 1000, "it"),
        (60, 60, "ep"),
        (0.5, 0.5, "ep"),
        (0, 0, "ep"),
        (Length(3, "it"), 3, "it"),
    ],
)
def test_lengths_are_read(given: Any, value: float, unit: str) -> None:
    assert Length.of(given) == Length(value, unit)


@pytest.mark.parametrize(
    "given", ["", "12", "ep", "-3ep", "1.5it", "3 epochs", "nanep", -1, True, None, float("nan"), float("inf"), [3], {}]
)
def test_what_is_no_length_is_refused(given: Any) -> None:
    with pytest.raises(SpecError, match=r"must be"):
        Length.of(given)


@pytest.mark.parametrize(
    ("text", "per_epoch", "iterations"),
    [("2ep", 79, 158), ("158it", 79, 158), ("0.5ep", 79, 40), ("0ep", 79, 0), ("1.25ep", 4, 5), ("7it", 1, 7)],
)
def test_lengths_become_iterations(text: str, per_epoch: int, iterations: int) -> None:
    assert Length.of(text).iterations(per_epoch) == iterations


@given(value=st.integers(0, 10**9), unit=st.sampled_from(["ep", "it"]))
def test_the_written_form_is_read_again(value: int, unit: str) -> None:
    length = Length.of(f"{value}{unit}")
    assert Length.of(length.plain()) == length
    assert str(length) == f"{value}{unit}"


@given(st.decimals(0, 10**6, places=3))
def test_broken_epochs_are_read_again(value: Any) -> None:
    length = Length.of(f"{value}ep")
    assert Length.of(str(length)) == length
    assert length.value == float(value)
