"""Users' modules of every kind: whatever the engine, three steps are those of the plain loop of torch with masks.

Modules are composed: each behaviour (chance, control flow, state, weights read or changed, hooks, ways of computing) on
each of three trunks, and whole modules of other shapes. Where the engine is dense, or chooses to be, the bits are the
same; else the numbers, to the rounding of sums. What cannot be converted is refused in words; those are listed.
"""

from __future__ import annotations

import math
from functools import cache

import pytest
import torch
from conformance_calls import CALLS
from conformance_chance import CHANCE, TRACES
from conformance_parts import COPYING, TRUNKS, WAYS, Case, Net, Result, reference
from conformance_references import REFERENCES, REFUSED
from conformance_shapes import SHAPES
from conformance_weights import WEIGHTS
from torch import Tensor

from overparam import SpecError
from overparam.sparse.limits import VARIABLE
from sampling import sampled

BEHAVIOURS = {**CHANCE, **WEIGHTS, **REFERENCES, **CALLS}


def composed(name: str, trunk: type[Net]) -> Case:
    traces, refused = TRACES.get(name, ()), REFUSED.get(name)
    return Case(f"{name} ({trunk.__name__})", lambda: BEHAVIOURS[name](trunk)(), traces=traces, refused=refused)


CASES = [*(composed(name, trunk) for name in BEHAVIOURS for trunk in TRUNKS), *SHAPES]  # each tenth is another kind
ALL_DENSE = {  # what they do could tell any sparse layer from a dense one
    *("functional", "called and read", "weight noise", "read by name", "read by a helper", "read by an object"),
    *("penalty over parameters", "penalty over matrices", "penalty over modules", "from the state", "by dtype"),
    *("called functionally", "clamped", "normed", "decayed", "momentum teacher", "hook that reads weights"),
    *("hooks of all parameters", "autocast", "autocast for all"),
    *("bfloat16", "data parallel"),
}
TOLERANCE = 2e-5  # of the largest number of a tensor


@pytest.fixture(autouse=True)
def _sparse_wherever_it_can_be(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let auto take sparse layers wherever it may."""
    monkeypatch.setenv(VARIABLE, "linear=1,convolution=1,epochs=1")


@cache
def expected(case: Case) -> Result:
    return reference(case)


def check(case: Case, found: Result, bitwise: bool) -> None:
    wanted = expected(case)
    assert list(found.state) == list(wanted.state)
    for name, value in wanted.state.items():
        if bitwise or not value.is_floating_point():
            assert torch.equal(found.state[name], value), name
        else:
            coarse = 500 if value.dtype == torch.bfloat16 else 1
            scale = max(float(value.abs().max()), 0.01) if value.numel() else 1.0
            torch.testing.assert_close(found.state[name], value, rtol=0, atol=TOLERANCE * coarse * scale, msg=name)
    mean, measured = (sum(each) / len(each) for each in (wanted.losses, found.losses))
    assert math.isclose(measured, mean, rel_tol=1e-4)
    assert len(found.traces) == len(wanted.traces)
    for one, two in zip(found.traces, wanted.traces, strict=True):
        if isinstance(two, Tensor):
            torch.testing.assert_close(one, two)
        else:
            assert one == two


@pytest.mark.sampled
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("case", sampled(CASES), ids=lambda case: case.name)
@pytest.mark.filterwarnings("ignore")  # of torch, about what some of these modules do
def test_three_steps_are_those_of_torch(case: Case, way: str) -> None:
    if case.refused is not None and way in COPYING:
        with pytest.raises(SpecError, match=case.refused):
            WAYS[way](case)
        return
    found = WAYS[way](case)
    check(case, found, way == "dense" or found.bitwise)
    name = case.name.partition(" (")[0]
    assert (found.layers > 0) == (way != "dense" and name not in ALL_DENSE)
    assert found.whole == (way == "convert" and case.whole)


def test_there_are_enough_of_them_and_few_are_refused() -> None:
    names = [case.name for case in CASES]
    assert len(set(names)) == len(names) >= 150
    assert len(BEHAVIOURS) + len(SHAPES) >= 150
    assert len([case for case in CASES if case.refused is not None]) <= 0.1 * len(CASES)
