"""Values of sweeps: lists, ranges and logs, in study files and on the command line."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from overparam import Study
from overparam.errors import SpecError
from overparam.lab import parse_yaml
from overparam.lab.ranges import MOST, listed, typed


@pytest.mark.parametrize(
    ("typed_so", "in_a_file", "values"),
    [
        ("0..4", "{range: [0, 4]}", [0, 1, 2, 3, 4]),
        ("3..3", "{range: [3, 3]}", [3]),
        ("4..0", "{range: [4, 0]}", [4, 3, 2, 1, 0]),
        ("-1..1", "{range: [-1, 1]}", [-1, 0, 1]),
        ("0..100..25", "{range: [0, 100, 25]}", [0, 25, 50, 75, 100]),
        ("0..10..4", "{range: [0, 10, 4]}", [0, 4, 8]),
        ("0.1..0.3..0.1", "{range: [0.1, 0.3, 0.1]}", [0.1, 0.2, 0.3]),
        ("1..0..-0.5", "{range: [1, 0, -0.5]}", [1.0, 0.5, 0.0]),
        ("log(1e-3,1e-1,5)", "{log: [1e-3, 1e-1, 5]}", [0.001, 0.00316228, 0.01, 0.0316228, 0.1]),
        ("log(8, 512, 7)", "{log: [8, 512, 7]}", [8, 16, 32, 64, 128, 256, 512]),
        ("log(1,10,3)", "{log: [1, 10, 3]}", [1.0, 3.16228, 10.0]),
        ("log(1000,1,4)", "{log: [1000, 1, 4]}", [1000, 100, 10, 1]),
        ("0..2, 7,9..10", "[{range: [0, 2]}, 7, {range: [9, 10]}]", [0, 1, 2, 7, 9, 10]),
        ("0,log(1e-4,1e-3,2)", "[0, {log: [1e-4, 1e-3, 2]}]", [0, 0.0001, 0.001]),
        (
            "magnitude,{taylor: {order: 2}}",
            "[magnitude, {taylor: {order: 2}}]",
            ["magnitude", {"taylor": {"order": 2}}],
        ),
        ("../a,b..c,f(x", "['../a', b..c, f(x]", ["../a", "b..c", "f(x"]),
        ("'g(1)'", "['g(1)']", ["g(1)"]),
    ],
)
def test_the_command_line_and_a_file_say_the_same(typed_so: str, in_a_file: str, values: list[Any]) -> None:
    assert typed(typed_so, "x") == values
    read = listed(parse_yaml(in_a_file, "file"), "x")
    assert read == values
    assert list(map(type, read)) == list(map(type, values))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0..", "a range is written 0..4, or with a step 0..100..10, got '0..'"),
        ("..4", "a range is written 0..4"),
        ("0...4", "a range is written 0..4"),
        ("0..4..", "a range is written 0..4"),
        ("0.1..0.5", "between decimals a range needs a step, as from 0.1 to 0.5 by 0.1; or take a log"),
        ("0..4..-1", "a range from 0 to 4 never gets there by steps of -1"),
        ("0..4..0", "a range from 0 to 4 never gets there by steps of 0"),
        ("0..1000000", "a range from 0 to 1000000 has more than 1,000 values; give a larger step"),
        ("0..1,1", "has 1 twice"),
        ("range(0,4)", "there is no range(...); a range is written 0..4, both ends included"),
        ("logs(1,2,3)", "there is no logs(...); did you mean 'log'? (known: 0..4, 0..100..10, log(1e-3,1e-1,5))"),
        ("log(1,2", "a log is written log(1e-3,1e-1,5), with first, last and how many, got 'log(1'"),
        ("log()", "a log has the form {log: [first, last, how many]}, with numbers, got {'log': []}"),
        ("log(1,2)", "a log has the form {log: [first, last, how many]}"),
        ("log(a,2,3)", "a log has the form {log: [first, last, how many]}, with numbers, got {'log': ['a', 2, 3]}"),
        ("log(0,1,5)", "a log goes between two different numbers above 0, got 0 and 1"),
        ("log(1,1,5)", "a log goes between two different numbers above 0, got 1 and 1"),
        ("log(1,2,1)", "of a log's values there are 2 to 1,000, got 1"),
        ("log(1,2,2.5)", "of a log's values there are 2 to 1,000, got 2.5"),
        ("log(1,1.00001,9)", "9 values from 1 to 1.00001 lie too close for six digits; take fewer"),
        ("log(1,.inf,9)", "a log goes between numbers up to 1e+300, got [1, inf, 9]"),
        ("", "x must be a list of at least one value, got [] (in short: {range: [first, last]} or "),
    ],
)
def test_what_is_wrong_is_told(text: str, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        typed(text, "x")
    assert message in str(caught.value)
    assert str(caught.value).startswith("x")


@pytest.mark.parametrize(
    "given", [{"range": 4}, {"range": [0, 4], "log": [1, 2, 3]}, {"range": [0, 4], "x": 1}, {"range": [True, 4]}]
)
def test_wrong_forms_of_a_file_are_told(given: Any) -> None:
    with pytest.raises(SpecError, match=r"sweep.seed: a (range|log) has the form \{"):
        listed(given, "sweep.seed")


@given(st.integers(-500, 500), st.integers(-500, 500), st.integers(-50, 50).filter(bool))
def test_whole_ranges_are_those_of_python_with_the_end(first: int, last: int, step: int) -> None:
    if (last - first) * step < 0:
        with pytest.raises(SpecError, match="never gets there"):
            listed({"range": [first, last, step]}, "x")
    else:
        expected = list(range(first, last + (1 if step > 0 else -1), step))
        assert listed({"range": [first, last, step]}, "x") == expected
        assert typed(f"{first}..{last}..{step}", "x") == expected


@given(st.decimals(0, 9, places=3), st.decimals("0.001", 1, places=3), st.integers(0, 99))
def test_decimal_ranges_are_exact(first: Decimal, step: Decimal, steps: int) -> None:
    expected = [float(first + place * step) for place in range(steps + 1)]
    assert listed({"range": [float(first), float(first + steps * step), float(step)]}, "x") == expected


positive = st.floats(1e-9, 1e9).map(lambda value: float(f"{value:.4g}"))


@given(positive, positive, st.integers(2, 12))
def test_a_log_has_equal_ratios_and_its_ends(first: float, last: float, how_many: int) -> None:
    if not max(first, last) / min(first, last) > 1.01:
        return
    values = listed({"log": [first, last, how_many]}, "x")
    assert (values[0], values[-1], len(values)) == (first, last, how_many)
    ratios = np.diff(np.log(values))
    assert np.allclose(ratios, (math.log(last) - math.log(first)) / (how_many - 1), atol=2e-5)


@given(st.integers(1, 9), st.integers(2, 4), st.integers(2, 7))
def test_a_log_of_whole_numbers_is_whole(first: int, ratio: int, how_many: int) -> None:
    expected = [first * ratio**place for place in range(how_many)]
    values = listed({"log": [first, expected[-1], how_many]}, "x")
    assert values == expected
    assert all(isinstance(value, int) for value in values)


def test_a_study_has_them_written_out() -> None:
    chain = [{"train": {"lr": 0.1, "batch_size": 10, "epochs": 1}}]
    study = Study("ranges", "xor", "mlp", chain, sweep={"seed": {"range": [0, 2]}, "train.lr": {"log": [0.01, 1.0, 3]}})
    assert study.sweep == {"seed": [0, 1, 2], "train.lr": [0.01, 0.1, 1.0]}
    assert parse_yaml(study.yaml(), "written")["sweep"] == study.sweep
    variant = Study("ranges", "xor", "mlp", chain, variants={"a": {"sweep": {"seed": {"range": [5, 6]}}}})
    assert [each.seed for each in variant.experiments] == [5, 6]
    assert MOST == 1000
