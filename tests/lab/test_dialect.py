from __future__ import annotations

import doctest
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overparam.errors import SpecError
from overparam.lab import dialect
from overparam.lab.dialect import dump_yaml, parse_yaml

ODD = st.text("0123456789eE.+-xo_:~ynNfT<=&*!#%@ \n\t'\"\\\x85\u2028\ufeff[]{},?|>`", max_size=8)
TEXTS = st.text() | ODD
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda parts: (
        st.lists(parts, max_size=4) | st.dictionaries(TEXTS.filter(lambda key: key != "<<"), parts, max_size=4)
    ),
    max_leaves=10,
)


def test_examples_in_docstrings() -> None:
    assert doctest.testmod(dialect).failed == 0


def same(one: Any, other: Any) -> bool:
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    return type(one) is type(other) and repr(one) == repr(other)


@given(PLAIN)
def test_what_is_written_is_read_back(value: Any) -> None:
    assert same(parse_yaml(dump_yaml(value), "text"), value)


@given(st.floats(allow_nan=False) | st.integers())
def test_numbers_are_numbers_as_python_and_json_write_them(number: float) -> None:
    if math.isfinite(number):
        for text in (repr(number), repr(number).upper(), f"{number:+}"):
            assert same(parse_yaml(text, "text"), number)


@pytest.mark.parametrize(
    "text", ["1e-3", "yes", "no", "010", "null", "~", "0x1F", "0o7", "1:30", "", "true", ".nan", "-"]
)
def test_text_stays_text(text: str) -> None:
    assert parse_yaml(dump_yaml({text: text}), "text") == {text: text}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        # numbers: https://yaml.org/spec/1.2.2/#103-core-schema
        ("1e-3", 0.001),
        ("1E3", 1000.0),
        ("+1.", 1.0),
        ("-.5", -0.5),
        ("010", 10),
        ("0o10", 8),
        ("0x1F", 31),
        ("-0", 0),
        (".inf", math.inf),
        ("-.INF", -math.inf),
        (".NaN", math.nan),
        # what is a number, a date or a boolean in YAML 1.1 only
        ("1_000", "1_000"),
        ("1:30", "1:30"),
        ("2001-12-14", "2001-12-14"),
        ("0b11", "0b11"),
        *[(word, word) for word in ("yes", "No", "ON", "off", "y", "n", "tRUE", "nULL", "=", "+.nan", ".")],
        # the rest
        ("TRUE", True),
        ("False", False),
        ("Null", None),
        ("", None),
        ("[~, ]", [None]),
        ("\ufeffa: 1", {"a": 1}),
        ("a: &x [1]\nb: *x", {"a": [1], "b": [1]}),
        ("1: a\n1.0: b\nyes: c\n~: d", {"1": "a", "1.0": "b", "yes": "c", "~": "d"}),
        ("!!int '3'", 3),
        ("!!str 3", "3"),
        ("!!float 3", 3.0),
    ],
)
def test_plain_words_mean_what_the_core_schema_says(text: str, value: Any) -> None:
    assert same(parse_yaml(text, "text"), value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{a: 1, a: 1}", "line 1, column 8: .*the key 'a' stands here a second time"),
        ("a:\n  b: 1\n  c: 2\n  b: 3", "line 4, column 3: .*the key 'b' stands here a second time"),
        ("a: 1\n'a': 2", "line 2, column 1: .*the key 'a' stands here a second time"),
        ("a: &x {b: 1}\nc:\n  <<: *x", "line 3, column 3: .*merge keys '<<' .* write the fields out"),
        ("[a]: 1", "line 1, column 1: .*a key must be text"),
        ("a: 1\n---\nb: 2", "line 2, column 1: .*another document"),
        ("a:\n\tb: 1", "line 2, column 1"),
        ("a: b\0", "special characters"),
        ("&a {b: *a}", "contains itself"),
        ("[" * 600, "nested too deeply"),
        ("a: *b", "undefined alias 'b'"),
        ("!!int yes", "yes is no int"),
        ("!!bool yes", "yes is no bool"),
        ("9" * 5000, "is no int"),
        ("!!binary aGk=", "the tag !!binary is not known here"),
        ("!!seq abc", "the tag !!seq is not known here"),
        ("!mine x", "the tag !mine is not known here"),
    ],
)
def test_everything_else_is_refused_in_one_sentence(text: str, message: str) -> None:
    with pytest.raises(SpecError, match=f"^study.yaml.*{message}") as caught:
        parse_yaml(text, "study.yaml")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 200
