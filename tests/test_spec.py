from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import numpy as np
import pytest
from pydantic import Field

from overparam import Length, Rewind, SpecError, Train
from overparam.registry import Registry, suggest
from overparam.spec import field_names, plain, spec


@spec
class Noise:
    """An example."""

    rate: Annotated[float, Field(ge=0, le=1)]
    kind: Literal["symmetric", "pair-flip"] = "symmetric"


@spec
class Setting:
    """Another, with one in it."""

    noise: Noise | None = None
    steps: tuple[Length, ...] = ()
    scale: float = 1.0

    def __post_init__(self) -> None:
        if self.scale == 13:
            raise ValueError("scale must not be 13")


def test_a_spec_is_frozen_and_compares_by_value() -> None:
    assert Noise(0.2) == Noise(rate=0.2, kind="symmetric")
    with pytest.raises(dataclasses.FrozenInstanceError):
        Noise(0.2).rate = 0.3  # type: ignore[misc]
    assert field_names(Setting) == ("noise", "steps", "scale")


def test_mappings_become_specs_and_lists_tuples() -> None:
    made = Setting(noise={"rate": 0.1}, steps=["5it", 2])
    assert made == Setting(noise=Noise(0.1), steps=(Length(5, "it"), Length(2, "ep")))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"nosie": None}, r"^Setting.nosie: no such field; did you mean 'noise'\? \(known: noise, steps, scale\)$"),
        ({"noise": {"rat": 1}}, r"Setting.noise.rat: no such field; did you mean 'rate'\?"),
        ({"noise": {}}, r"Setting.noise.rate: is required"),
        ({"noise": {"rate": 2}}, r"^Setting.noise.rate: .*less than or equal to 1, got 2$"),
        ({"noise": {"rate": 0, "kind": "x"}}, r"Setting.noise.kind: .*'symmetric' or 'pair-flip', got 'x'"),
        ({"steps": ["5"]}, r"Setting.steps.*such as '160ep'"),
        ({"scale": "much"}, r"Setting.scale: .*number.*got 'much'"),
        ({"scale": math.nan}, r"Setting.scale: .*finite"),
        ({"scale": 13}, r"scale must not be 13"),
    ],
)
def test_wrong_fields_are_named(given: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message) as caught:
        Setting(**given)
    assert "\n" not in str(caught.value)
    assert "pydantic" not in str(caught.value)


def test_several_faults_are_told_at_once() -> None:
    with pytest.raises(SpecError, match=r"Noise.rate: .*; Noise.kind: "):
        Noise(rate=-1, kind="x")


def test_too_many_positional_arguments_are_a_spec_error() -> None:
    with pytest.raises(SpecError, match=r"^Noise: takes at most 2 arguments \(rate, kind\)$"):
        Noise(0.1, "symmetric", 3)  # type: ignore[call-arg]


def test_plain_is_what_json_can_hold() -> None:
    assert plain(Setting(noise=Noise(0.1), steps=("5it", 2))) == {
        "noise": {"rate": 0.1, "kind": "symmetric"},
        "steps": ["5it", "2ep"],
        "scale": 1.0,
    }
    assert plain({1: (True, None, range(2))}) == {"1": [True, None, [0, 1]]}


@pytest.mark.parametrize("value", [object(), {1, 2}, b"bytes", Noise, lambda: 0, [object()]])
def test_plain_refuses_what_has_no_content(value: Any) -> None:
    with pytest.raises(SpecError, match="cannot be part of a spec"):
        plain(value)


def test_registries_name_what_they_know() -> None:
    things: Registry[Any] = Registry("thing")
    things.register("magnitude", Noise)
    things.named("random")(Setting)
    assert list(things) == ["magnitude", "random"]
    assert len(things) == 2
    assert "random" in things
    assert things.summary("magnitude") == "An example."
    with pytest.raises(SpecError, match=r"unknown thing 'magnitud'; did you mean 'magnitude'\? \(known: magn"):
        things.get("magnitud")
    with pytest.raises(SpecError, match=r"thing 'random' is registered already"):
        things.register("random", Noise)
    assert suggest("zzz", things) == ""


@spec
class Kinds:
    """One field of each kind of plain value."""

    whole: int = 1
    real: float = 1.0
    flag: bool = False
    text: str = ""
    pair: tuple[float, int] = (0.5, 1)
    rates: Mapping[str, float] | None = None
    perhaps: Annotated[int, Field(ge=0)] | None = None
    noise: Noise | None = None


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"whole": True}, "Kinds.whole: input should be a valid integer, got True"),
        ({"whole": 32.0}, "Kinds.whole: input should be a valid integer, got 32.0"),
        ({"whole": "32"}, "Kinds.whole: input should be a valid integer, got '32'"),
        ({"perhaps": "3"}, "Kinds.perhaps: input should be a valid integer, got '3'"),
        ({"real": True}, "Kinds.real: input should be a valid number, got True"),
        ({"real": "0.1"}, "Kinds.real: input should be a valid number, got '0.1'"),
        ({"flag": 1}, "Kinds.flag: input should be true or false, got 1"),
        ({"flag": "yes"}, "Kinds.flag: input should be true or false, got 'yes'"),
        ({"pair": 3}, "Kinds.pair: input should be a list, got 3"),
        ({"rates": 0.5}, "Kinds.rates: input should be a mapping, got 0.5"),
        ({"noise": 0.5}, "Kinds.noise: input should be a mapping of the fields of Noise, got 0.5"),
        ({"text": 3}, "Kinds.text: input should be a valid string, got 3"),
        ({"pair": ("1", 1)}, "Kinds.pair.0: input should be a valid number, got '1'"),
        ({"pair": (1, True)}, "Kinds.pair.1: input should be a valid integer, got True"),
        ({"rates": {"output": "0.5"}}, "Kinds.rates.output: input should be a valid number, got '0.5'"),
    ],
)
def test_no_value_is_taken_for_one_of_another_kind(given: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError) as caught:
        Kinds(**given)
    assert str(caught.value) == message


def test_whole_numbers_are_numbers_and_so_are_numpys() -> None:
    given = Kinds(
        whole=np.int64(3),
        real=np.float32(0.5),
        flag=np.bool_(True),
        pair=[np.int8(2), np.uint8(1)],
        perhaps=np.int64(2),
    )
    assert given == Kinds(whole=3, real=0.5, flag=True, pair=(2.0, 1), perhaps=2)
    assert [type(value) for value in plain(given).values()][:3] == [int, float, bool]
    assert Kinds(real=2).real == 2.0
    assert plain({"rate": np.float64(0.1)}) == {"rate": 0.1}
    assert type(plain(np.float64(0.1))) is float


def test_an_argument_by_place_is_named_where_some_are_by_name_alone() -> None:
    with pytest.raises(SpecError, match=r"^Rewind\.to: input should be a valid string, got 3$"):
        Rewind(3)
    with pytest.raises(SpecError, match=r"^Rewind: takes at most 1 arguments \(to\)"):
        Rewind("init", "more")


def test_what_is_printed_is_what_differs_from_the_defaults() -> None:
    @spec
    class Many:
        first: float
        names: tuple[str, ...] = ()
        options: dict[str, float] = dataclasses.field(default_factory=dict)
        rate: float = 0.5
        exact: bool = False

    assert repr(Many(0.5)).endswith("Many(first=0.5)")
    changed = Many(0.5, ["a"], {"b": 1.0}, 0.25, True)
    assert repr(changed).endswith("Many(first=0.5, names=('a',), options={'b': 1.0}, rate=0.25, exact=True)")
    assert repr(Train(epochs=3)) == "Train(epochs=3.0)"


def test_a_spec_may_say_itself_what_it_is() -> None:
    @spec
    class Own:
        rate: float = 0.5

        def __repr__(self) -> str:
            return "mine"

    assert repr(Own()) == "mine"
