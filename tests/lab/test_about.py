"""What a study says of itself: axis, paper, edition and minutes. They are checked and kept, and decide no result."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from overparam import Accuracy, Chain, Network, Probe, SpecError, Study, Train, World
from overparam.lab import built_in_studies, parse_yaml
from overparam.papers import paper_names
from small import vectors


def study(**fields: Any) -> Study:
    fields = {"sweep": {"network.hidden": [[4], [8]], "seed": [0, 1]}, **fields}
    return Study("about", World(vectors()), Network("mlp"), Chain(Train(epochs=1, batch_size=25)), **fields)


@pytest.mark.parametrize(
    ("given", "column"),
    [
        *(("density", "density"), ("network.hidden", "network.hidden"), ("hidden", "network.hidden")),
        *(("step", "step"), ("test_loss", "test_loss"), ("multiply_adds", "multiply_adds")),
    ],
)
def test_an_axis_is_a_column_or_a_swept_path(given: str, column: str) -> None:
    assert study(axis=given).about.axis == column


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"axis": "hiden"}, r"axis 'hiden' is neither swept nor measured here; did you mean 'hidden'\?"),
        ({"axis": "test_loss", "probes": ["density"]}, "axis 'test_loss' is neither swept nor measured"),
        ({"axis": "seed"}, "axis 'seed' is neither swept nor measured"),
        ({"axis": 3}, "axis 3 is neither"),
        ({"axis": "hidden", "sweep": {"network.hidden": [[4], [8, 8]]}}, r"must be numbers .*got \[8, 8\]"),
        ({"axis": "train.optimizer", "sweep": {"train.optimizer": ["sgd", "adam"]}}, "must be numbers .*got 'sgd'"),
        ({"paper": "sparse-double-decent"}, "'sparse-double-decent' is not known; did you mean 'sparse-double"),
        ({"paper": None}, "paper None is not known"),
        ({"edition": "labtop"}, "edition must be laptop or paper, got 'labtop'; did you mean 'laptop'"),
        ({"laptop_minutes": 0}, "laptop_minutes must be a number of minutes above 0, got 0"),
        ({"laptop_minutes": True}, "got True"),
        ({"laptop_minutes": "5"}, "got '5'"),
    ],
)  # fmt: skip
def test_wrong_ones_are_refused_in_a_sentence(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(SpecError, match=words):
        study(**fields)


def test_a_probe_that_does_not_state_its_columns_may_measure_any() -> None:
    class Own(Probe):
        kind = "own"

    assert study(axis="whatever", probes=[Own()]).about.axis == "whatever"
    with pytest.raises(SpecError, match="whatever"):
        study(axis="whatever", probes=[Accuracy()])


def test_it_stands_in_the_yaml_and_comes_back_with_the_results(tmp_path: Path) -> None:
    told = study(axis="hidden", paper="sparse-double-descent", edition="paper", laptop_minutes=3)
    document = parse_yaml(told.yaml(), "study")
    assert {name: document[name] for name in ("axis", "paper", "edition", "laptop_minutes")} == {
        **{"axis": "network.hidden", "paper": "sparse-double-descent"},
        **{"edition": "paper", "laptop_minutes": 3},
    }
    assert told.run(tmp_path, jobs=1, threads=1).about == told.about
    plain = study()
    assert not {"axis", "paper", "edition", "laptop_minutes"} & set(parse_yaml(plain.yaml(), "study"))
    # The same rows, so the same revision: what a study says of itself decides no result.
    assert plain.results(tmp_path).complete
    assert plain.results(tmp_path).about == plain.about


def test_a_swept_axis_that_is_set_is_no_axis_any_more() -> None:
    assert study(axis="hidden").with_changes({"network.hidden": [5]}).about.axis == "density"
    assert study(axis="hidden").with_changes({"seed": 3}).about.axis == "network.hidden"


def test_every_study_of_a_paper_names_it_and_says_how_long_it_takes() -> None:
    for name, text in built_in_studies().items():
        about = Study.from_mapping(parse_yaml(text, name), name).about
        assert about.paper in paper_names()
        assert about.laptop_minutes is not None
