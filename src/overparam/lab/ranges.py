"""Swept values as they are written: one by one, as a range, or with equal ratios.

A study file has ``[0, 1, 2]``, ``{range: [0, 4]}``, ``{log: [1e-3, 1e-1, 5]}``, or a list with some of these; the
command line has ``0,1,2``, ``0..4``, ``log(1e-3,1e-1,5)``. :func:`listed` makes lists of values of them all.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import numpy as np

from overparam.errors import SpecError, suggest
from overparam.lab.dialect import parse_yaml
from overparam.spec import native

MOST = 1000  # values of one form: a typing error shall not fill the memory
LARGEST = 1e300
FORMS = {"range": "{range: [first, last]} or {range: [first, last, step]}", "log": "{log: [first, last, how many]}"}
NUMBER = r"[-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?"
RANGE = re.compile(rf"({NUMBER})\.\.({NUMBER})(?:\.\.({NUMBER}))?")
LIKE_A_RANGE = re.compile(r"[-+.\deE]*\d?\.\.[-+.\deE]*")
CALL = re.compile(r"(?:^|(?<=,))\s*([a-z_0-9]+)\(([^()]*)\)\s*(?=,|$)")


def listed(given: Any, label: str) -> list[Any]:
    """Return the values that a sweep is given, in order.

    Args:
        given: a list (or array, or range) of values and forms, or a form: ``{"range": [first, last]}`` and ``{"range":
            [first, last, step]}`` with both ends, ``{"log": [first, last, how_many]}`` with equal ratios. What lies
            between the ends of a log has six significant digits, and is whole where all of its values are.
        label: what messages begin with, such as ``sweep.seed``.

    Raises:
        SpecError: it is none of these, has no value, or one twice.

    >>> listed({"range": [0, 4]}, "seed"), listed([{"range": [0.1, 0.3, 0.1]}, 0.9], "rate")
    ([0, 1, 2, 3, 4], [0.1, 0.2, 0.3, 0.9])
    >>> listed({"log": [1e-3, 1e-1, 5]}, "lr"), listed({"log": [8, 64, 4]}, "width")
    ([0.001, 0.00316228, 0.01, 0.0316228, 0.1], [8, 16, 32, 64])
    """
    given = given.tolist() if isinstance(given, np.ndarray) else given
    if isinstance(given, Mapping) and FORMS.keys() & given.keys():
        given = [given]
    if isinstance(given, str | Mapping) or not isinstance(given, Sequence) or not given:
        forms = " or ".join(FORMS.values())
        raise SpecError(f"{label} must be a list of at least one value, got {given!r} (in short: {forms})")
    values = [native(value) for entry in given for value in _entry(entry, label)]
    doubled = [value for place, value in enumerate(values) if value in values[:place]]
    if doubled:
        raise SpecError(f"{label} has {doubled[0]!r} twice")
    return values


def typed(text: str, label: str) -> list[Any]:
    """Return the values that the command line has for a sweep, such as ``0..4,7`` or ``log(1e-3,1e-1,5)``.

    Text that is to be taken as it stands goes into quotes of YAML's. Raises :class:`SpecError` as :func:`listed` does.
    """

    def form(found: re.Match[str]) -> str:
        if found[1] != "log":
            near = "; a range is written 0..4, both ends included" if found[1] == "range" else suggest(found[1], FORMS)
            raise SpecError(f"{label}: there is no {found[1]}(...){near} (known: 0..4, 0..100..10, log(1e-3,1e-1,5))")
        return f"{{log: [{found[2]}]}}"

    entries = parse_yaml(f"[{CALL.sub(form, text)}]", label)
    return listed([_range_typed(entry, label) for entry in entries], label)


def _range_typed(entry: Any, label: str) -> Any:
    """Return an entry of a typed list; the text of a range as the form that a study file has."""
    if not isinstance(entry, str):
        return entry
    if found := RANGE.fullmatch(entry):
        return {"range": [parse_yaml(number, label) for number in found.groups() if number is not None]}
    if LIKE_A_RANGE.fullmatch(entry):
        raise SpecError(f"{label}: a range is written 0..4, or with a step 0..100..10, got {entry!r}")
    if entry.startswith("log("):
        raise SpecError(f"{label}: a log is written log(1e-3,1e-1,5), with first, last and how many, got {entry!r}")
    return entry


def _entry(entry: Any, label: str) -> Sequence[Any]:
    """Return the values that an entry of a list stands for: those of a form, or itself."""
    if not isinstance(entry, Mapping) or not (named := FORMS.keys() & entry.keys()):
        return [entry]
    name = min(named)
    numbers = [native(each) for each in entry[name]] if isinstance(entry[name], list | tuple) else []
    right = all(isinstance(each, int | float) and not isinstance(each, bool) for each in numbers)
    lengths = {"range": (2, 3), "log": (3,)}[name]
    if len(entry) > 1 or not right or len(numbers) not in lengths:
        raise SpecError(f"{label}: a {name} has the form {FORMS[name]}, with numbers, got {dict(entry)!r}")
    if any(abs(each) > LARGEST or each != each for each in numbers):
        raise SpecError(f"{label}: a {name} goes between numbers up to {LARGEST:g}, got {numbers!r}")
    return _range(label, *numbers) if name == "range" else _log(label, *numbers)


def _range(label: str, first: float, last: float, step: float | None = None) -> Sequence[Any]:
    """Return equal steps from ``first`` to ``last``, which is one of them if a step gets there."""
    whole = all(isinstance(each, int) for each in (first, last, step or 0))
    if step is None and not whole:
        raise SpecError(f"{label}: between decimals a range needs a step, as from 0.1 to 0.5 by 0.1; or take a log")
    start, end = _exact(first), _exact(last)
    by = _exact(step) if step is not None else Decimal(1 if end >= start else -1)
    if not by or (end - start) * by < 0:
        raise SpecError(f"{label}: a range from {first} to {last} never gets there by steps of {step}")
    if (end - start) / by >= MOST:
        raise SpecError(f"{label}: a range from {first} to {last} has more than {MOST:,} values; give a larger step")
    values = [start + place * by for place in range(int((end - start) / by) + 1)]
    return [int(value) if whole else float(value) for value in values]


def _exact(number: float) -> Decimal:
    """Return a number as it is written: 0.1 is a tenth."""
    return Decimal(repr(number))


def _log(label: str, first: float, last: float, how_many: float) -> Sequence[Any]:
    """Return ``how_many`` values from ``first`` to ``last`` of which each is as many times the one before."""
    if first <= 0 or last <= 0 or first == last:
        raise SpecError(f"{label}: a log goes between two different numbers above 0, got {first} and {last}")
    if not isinstance(how_many, int) or not 2 <= how_many <= MOST:
        raise SpecError(f"{label}: of a log's values there are 2 to {MOST:,}, got {how_many}")
    ratio = (math.log(last) - math.log(first)) / (how_many - 1)  # of their logarithms: a quotient may overflow
    between = [math.exp(math.log(first) + place * ratio) for place in range(1, how_many - 1)]
    if all(isinstance(each, int) for each in (first, last)) and all(_is_whole(value) for value in between):
        return [first, *map(round, between), last]
    values = [float(first), *(float(f"{value:.6g}") for value in between), float(last)]
    if len(set(values)) < how_many:
        raise SpecError(f"{label}: {how_many} values from {first} to {last} lie too close for six digits; take fewer")
    return values


def _is_whole(value: float) -> bool:
    return math.isclose(value, round(value), rel_tol=1e-9)
