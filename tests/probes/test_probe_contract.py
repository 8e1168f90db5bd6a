"""What every probe promises, those that are added later included."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any, ClassVar

import pytest
import torch

from overparam import Checkpoint, Network, SpecError, Train, World
from overparam.lab.curves import columns_of
from overparam.lab.results import MEASURED
from overparam.networks import ROLES
from overparam.probes import PROBES, Measurements, Probe, View
from overparam.spec import plain
from small import CONV, MLP, begin, built, context_of, frozen, given, half_pruned, images

FACTS = {"seconds": 1.5, "seconds_before": 4.0, "peak_memory_bytes": 10**8, "bytes": 1234}
WORDS = {
    "engine": (None, "dense", "sparse", "mixed"),
    "role": ROLES,
}  # columns that hold no numbers, and what they may hold

NAMES = [name for name in PROBES if PROBES.get(name).__module__.startswith("overparam.")]
NETWORKS = [pytest.param(network, id=name) for name, network in {"mlp": MLP, "batch norm": CONV}.items()]


def case(network: Network, density: float = 0.5) -> tuple[Checkpoint, View]:
    data = built(images(), validation=10)
    init = begin(network, data)
    training = Train(epochs=1, batch_size=16, evaluate_every=1)
    outcome = training.run(half_pruned(init, density), context_of(network, data))
    against, curve = given(network, data, {"init": init})["init"], columns_of(outcome.curve)
    view = View(data, lambda: network.build(data.input_shape, data.classes, 7), FACTS, against, curve=curve)
    return outcome.checkpoint, view


def _steady(found: Measurements) -> Any:
    """What does not depend on the moment."""
    return plain(Measurements({k: v for k, v in found.values.items() if k not in MEASURED}, found.layers))


def test_there_are_probes() -> None:
    first = ["accuracy", "activations", "cost", "density", "early-stop", "filter-normalised", "latency", "layer-error"]
    assert [*first, "learning-distance", "linear-path", "mask-overlap", "sensitivity"] == NAMES


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("network", NETWORKS)
def test_it_changes_nothing_and_gives_the_same_again(name: str, network: Network) -> None:
    checkpoint, view = case(network)
    looked, other = frozen(checkpoint), frozen(view.against.checkpoint)
    inputs, labels = view.world.train.inputs.clone(), view.world.train.targets.clone()
    state = torch.get_rng_state()
    first = PROBES.get(name)().measure(checkpoint, view)
    assert torch.equal(torch.get_rng_state(), state)
    assert (frozen(checkpoint), frozen(view.against.checkpoint)) == (looked, other)
    assert torch.equal(view.world.train.inputs, inputs)
    assert torch.equal(view.world.train.targets, labels)
    torch.manual_seed(5)
    again = PROBES.get(name)().measure(checkpoint, view)
    assert _steady(first) == _steady(again)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("density", [0.0, 0.5, 1.0])
def test_its_numbers_fit_into_a_table(name: str, density: float) -> None:
    checkpoint, view = case(MLP, density)
    found = PROBES.get(name)().measure(checkpoint, view)
    assert json.loads(json.dumps(plain(found), allow_nan=False)) == plain(found)
    assert set(found.layers) <= set(checkpoint.masks)
    for column, value in [*found.values.items(), *((c, v) for row in found.layers.values() for c, v in row.items())]:
        assert column.isidentifier()
        assert column == column.lower()
        if column in WORDS:
            assert value in WORDS[column]
        elif column == "engine_note":
            assert value is None or isinstance(value, str)
        else:
            assert type(value) in (float, int), column
            assert value >= 0


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("network", NETWORKS)
def test_it_states_its_columns(name: str, network: Network) -> None:
    """In the order in which it measures them; those of layers may be there for some layers only."""
    probe = PROBES.get(name)()
    checkpoint, view = case(network)
    facts = {**view.facts, "engines": dict.fromkeys(checkpoint.masks, "dense"), "engine_note": "as asked"}
    found = probe.measure(checkpoint, replace(view, facts=facts))
    probe.check(found)
    columns = probe.columns_in(World(images(), validation=10))
    assert list(found.values) == list(columns)
    assert {column for row in found.layers.values() for column in row} == set(probe.layer_columns)
    rows = [(columns, found.values), *((probe.layer_columns, row) for row in found.layers.values())]
    assert all(type(value) is stated[column] for stated, row in rows for column, value in row.items())


@pytest.mark.parametrize(
    ("measured", "message"),
    [
        ({"seen": 1.5}, "column 'seen' is stated as int, but 1.5 was measured"),
        ({"seen": "much"}, "column 'seen' is stated as int, but 'much' was measured"),
        ({"sene": 1}, r"column 'sene' is measured but not stated \(stated: seen\)"),
    ],
)
def test_other_columns_than_those_stated_are_refused(measured: dict[str, Any], message: str) -> None:
    class Stating(Probe):
        columns: ClassVar[dict[str, type]] = {"seen": int}

    with pytest.raises(SpecError, match=message):
        Stating().check(Measurements(measured))
    Stating().check(Measurements({"seen": None}, {"layer": {"whatever": 1}}))


def test_probes_do_not_share_columns() -> None:
    checkpoint, view = case(MLP)
    columns = [column for name in NAMES for column in PROBES.get(name)().measure(checkpoint, view).values]
    assert len(columns) == len(set(columns))


def test_only_the_columns_said_to_be_measured_depend_on_the_machine() -> None:
    checkpoint, view = case(MLP)
    other = replace(view, facts={"seconds": 9.0, "seconds_before": 2.0, "peak_memory_bytes": 5, "bytes": 1234})
    differing: set[str] = set()
    for name in NAMES:
        one, two = (PROBES.get(name)().measure(checkpoint, seen).values for seen in (view, other))
        differing |= {column for column in one if one[column] != two[column]}
    assert differing == set(MEASURED)


@pytest.mark.parametrize("name", NAMES)
def test_it_says_what_it_is(name: str) -> None:
    probe: type[Probe] = PROBES.get(name)
    assert probe.kind == name
    line = PROBES.summary(name)
    assert 20 < len(line) < 120
    assert line.endswith(".")
    parameters: dict[str, Any] = probe().parameters()
    assert json.loads(json.dumps(plain(parameters))) == plain(parameters)
