"""One resolver for every kind: a name, fields, an import path, a plug-in or an object; all else in one sentence."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import pytest
import things
from things import Needs, Power, Strict, scaled

from overparam.errors import SpecError
from overparam.registry import Registry
from overparam.registry.registry import identified
from overparam.spec import spec
from plug_in import installed

THINGS = Registry[Any]("thing")
THINGS.register("power", Power)
THINGS.register("strict", Strict)
THINGS.register("scaled", scaled)
THINGS.register("needs", Needs)
HOLDERS = Registry[Any]("holder", fits=lambda thing: True)

PLUG_IN = """
class Tripled:
    \"\"\"Three times as much.\"\"\"

    def __init__(self, more=0):
        self.more = more

    def __call__(self, value):
        return 3 * value + self.more
"""


@pytest.mark.parametrize(
    ("given", "value"),
    [
        ("power", 2.0),
        ({"power": {"exponent": 3}}, 8.0),
        ({"power": None}, 2.0),
        ("scaled", 4.0),
        ({"scaled": {"by": 5}}, 10.0),
        ({"strict": {"rate": 0.25}}, 0.5),
        ({"needs": {"size": 4}}, 6.0),
        ("things:Power", 2.0),
        ({"things:Power": {"exponent": 2}}, 4.0),
        ("things:scaled", 4.0),
        ({"things:scaled": {"by": 0.5}}, 1.0),
        ("things:made", 8.0),
        (Power(2.0), 4.0),
        (Power, 2.0),
        (scaled, 4.0),
        (lambda value: -value, -2.0),
    ],
)
def test_what_may_stand_for_a_thing(given: Any, value: float) -> None:
    assert THINGS.resolve(given)(2.0) == value
    checked = THINGS.checked(given)
    assert THINGS.resolve(checked)(2.0) == value
    assert THINGS.checked(checked) == checked
    assert json.dumps(THINGS.identity(given)) == json.dumps(THINGS.identity(checked))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("powre", "unknown thing 'powre'; did you mean 'power'? (known: power, strict, scaled, needs; your own as"),
        ("thing.power", "unknown thing 'thing.power'"),
        ("things:", "thing 'things:': an import path is written 'package.module:name'"),
        ("a b:c", "thing 'a b:c': an import path is written 'package.module:name'"),
        ("thingz:Power", "thing 'thingz:Power': there is no module 'thingz', neither in the current folder nor"),
        ("things:Powr", "thing 'things:Powr': 'things' has no 'Powr'; did you mean 'Power'?"),
        ("things:number", "thing 'things:number' must be a function or an object that can be called, got 7"),
        (7, "thing must be one of power, strict, scaled, needs, an import path 'package.module:name', or a function"),
        (None, "or a function or an object that can be called, got None"),
        ({}, "a thing with fields is written {name: {fields}}, with one name, got 0 keys ()"),
        ({"power": {}, "scaled": {}}, "with one name, got 2 keys (power, scaled)"),
        ({"power": 2}, "thing power takes a mapping of its fields, got 2"),
        ({"power": {"exponnt": 2}}, "thing 'power' has no field 'exponnt'; did you mean 'exponent'? (known: exponent)"),
        ({"strict": {"rat": 2}}, "Strict.rat: no such field; did you mean 'rate'?"),
        ({"strict": {"rate": "x"}}, "Strict.rate: input should be a valid number, got 'x'"),
        ({"scaled": {"bye": 2}}, "thing 'scaled' has no field 'bye'; did you mean 'by'?"),
        ("needs", "thing 'needs' needs the field 'size'; give it as {name: {size: ...}}"),
        ({"needs": {"size": -1}}, "thing 'needs' cannot be made: ValueError: a size is not negative"),
        ({"things:made": {"exponent": 1}}, "thing 'things:made' takes no fields, got exponent"),
    ],
)
def test_what_may_not(given: Any, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        THINGS.resolve(given)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_check_follows_no_import_path() -> None:
    assert THINGS.checked("nowhere:Thing") == "nowhere:Thing"
    assert THINGS.checked({"nowhere:Thing": {"a": 1}}) == {"nowhere:Thing": {"a": 1}}
    with pytest.raises(SpecError, match=r"is written 'package\.module:name'"):
        THINGS.checked("nowhere:")


def test_what_is_registered_is_written_by_name_whatever_it_came_as() -> None:
    assert THINGS.checked(Power()) == THINGS.checked({"power": {"exponent": 1.0}}) == "power"
    assert THINGS.checked(Power(2.0)) == {"power": {"exponent": 2.0}}
    assert THINGS.checked(scaled) == "scaled"
    own = Registry[Any]("thing")
    assert own.checked(Power(2.0)) == Power(2.0), "a thing without a name stays an object"
    assert [own.label(each) for each in (Power(2.0), scaled, "things:Power")] == ["Power", "scaled", "things:Power"]


def test_a_name_can_be_given_once() -> None:
    with pytest.raises(SpecError, match="thing 'power' is registered already"):
        THINGS.register("power", Power)


def test_identity_tells_things_apart_and_not_their_names() -> None:
    given = ["power", {"power": {"exponent": 2.0}}, "scaled", {"scaled": {"by": 3.0}}, lambda v: v, lambda v: -v]
    found = [json.dumps(THINGS.identity(each)) for each in given]
    assert len(set(found)) == len(found)
    assert THINGS.identity("things:Power") == THINGS.identity("power"), "the same class, however it was named"
    assert THINGS.identity(Power(2.0)) == THINGS.identity({"power": {"exponent": 2.0}})


def test_a_field_of_a_spec_is_checked_and_known_by_identity() -> None:
    @spec
    class Settings:
        thing: Annotated[Any, THINGS] = "power"
        other: int = 3

    assert Settings(Power(2.0)).thing == {"power": {"exponent": 2.0}}
    assert identified(Settings()) == {"thing": THINGS.identity("power"), "other": 3}
    with pytest.raises(SpecError, match=r"Settings.thing: unknown thing 'pwer'; did you mean 'power'"):
        Settings("pwer")


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    with installed(tmp_path, "my-things", {"thing": {"tripled": "my_plug_in:Tripled"}}, {"my_plug_in": PLUG_IN}):
        yield tmp_path


def test_a_plug_in_is_known_by_its_name(package: Path) -> None:
    assert THINGS.resolve("tripled")(2.0) == 6.0
    assert THINGS.resolve({"tripled": {"more": 1}})(2.0) == 7.0
    assert THINGS.checked({"tripled": {"more": 1}}) == {"tripled": {"more": 1}}
    assert THINGS.names() == ["power", "strict", "scaled", "needs", "tripled"]
    assert THINGS.listed()[-1] == ("tripled", "Three times as much. (my-things 1.0)")
    assert THINGS.identity("tripled") == THINGS.identity("my_plug_in:Tripled")
    with pytest.raises(SpecError, match="did you mean 'tripled'"):
        THINGS.resolve("tripld")


def test_a_plug_in_takes_no_name_from_what_is_there(package: Path, tmp_path: Path) -> None:
    with installed(tmp_path / "more", "more-things", {"thing": {"power": "m:P", "tripled": "m:P"}}, {}):
        assert THINGS.resolve("power") == Power()
        hidden = dict(THINGS.listed()[len(THINGS) :])["power"]
        assert hidden == "hidden, as overparam's own has this name: write 'm:P' (more-things 1.0)"
        with pytest.raises(SpecError) as caught:
            THINGS.resolve("tripled")
        assert "thing 'tripled' is offered by " in str(caught.value)
        assert "my-things 1.0 (my_plug_in:Tripled)" in str(caught.value)


def test_a_broken_plug_in_is_told_in_words(tmp_path: Path) -> None:
    with installed(tmp_path, "bad", {"thing": {"bad": "bad_plug_in:Thing"}}, {"bad_plug_in": "1 / 0"}):
        assert THINGS.listed()[-1][1].startswith("cannot be used: thing 'bad_plug_in:Thing': importing 'bad_plug_in'")
        with pytest.raises(SpecError, match="importing 'bad_plug_in' failed with ZeroDivisionError: division by zero"):
            THINGS.resolve("bad")


def test_what_a_field_names_belongs_to_the_identity_of_what_has_it() -> None:
    """Also in a list, and within a thing of one's own: by its name nobody knows what stands at an import path."""

    @spec
    class Holder:
        inner: Annotated[Any, THINGS] = "power"

    @spec
    class Settings:
        several: tuple[Annotated[Any, HOLDERS], ...] = ()

    def found(inner: Any) -> str:
        return json.dumps(identified(Settings((Holder(inner),))))

    before = found("things:scaled")
    assert found("things:scaled") == before
    assert found("things:Power") != before
    original = things.scaled
    try:
        things.scaled = lambda value, by=2.0: value - by  # as an edited file would have it
        assert found("things:scaled") != before
    finally:
        things.scaled = original
