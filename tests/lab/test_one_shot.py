"""Pruned once at several densities, measured before and after retraining, beside an arm that is pruned step by step."""

from __future__ import annotations

import pytest

from overparam import Chain, Measure, Prune, Repeat, Results, SpecError, Study, Train, World
from overparam.report.arms import arms
from small import vectors

TRAINING = {"epochs": 2, "batch_size": 25}
STEPWISE = Chain(Train(**TRAINING), Repeat(2, Prune(fraction=0.5), Measure(), Train(**TRAINING)))


def study(**fields: object) -> Study:
    given = {
        "name": "one-shot",
        "world": World(vectors()),
        "network": {"name": "mlp", "hidden": [8]},
        "chain": ["train", {"prune": {"density": 0.5}}, "measure", "train"],
        "train": TRAINING,
        "probes": ["accuracy"],
        "variants": {
            "left": {"chain": ["train", {"prune": {"density": 0.5}}, "measure"]},
            "trained": {},
            "stepwise": {"chain": STEPWISE, "sweep": {"prune.density": None}},
        },
        "sweep": {"prune.density": [0.25, 0.5], "seed": [0, 1]},
    }
    return Study(**{**given, **fields})  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    return study().run(tmp_path_factory.mktemp("one-shot"), jobs=1, threads=1)


def test_a_variant_has_its_own_sweep(results: Results) -> None:
    rows = results.frame.filter(seed=0).select("variant", "prune.density", "level", "kind", "density").rows()
    swept = [(at, *row) for at in (0.25, 0.5) for row in ((0, "train", 1.0), (1, "measure", at), (1, "train", at))]
    assert [row[1:] for row in rows if row[0] == "trained"] == swept
    assert [row[1:] for row in rows if row[0] == "left"] == [swept[place] for place in (0, 1, 3, 4)]
    stepwise = [(None, 0, "train", 1.0), *((None, n, kind, 0.5**n) for n in (1, 2) for kind in ("measure", "train"))]
    assert [row[1:] for row in rows if row[0] == "stepwise"] == stepwise
    left, trained = (results.frame.filter(variant=name, kind="measure") for name in ("left", "trained"))
    assert left["test_accuracy"].to_list() == trained["test_accuracy"].to_list(), "one step, made once"
    assert left["fingerprint"].to_list() == trained["fingerprint"].to_list()


def test_chains_that_prune_once_are_one_curve(results: Results) -> None:
    found = {arm.label: arm for arm in arms(results.frame)}
    assert list(found) == ["left", "trained", "stepwise"]
    assert {name: arm.positions for name, arm in found.items()} == {name: [1.0, 0.5, 0.25] for name in found}
    assert found["trained"].every is not None
    dense = found["trained"].every.filter(level=0)
    assert dense["seed"].sort().to_list() == [0, 1], "the dense network of all densities is one"
    row = results.frame.filter(variant="trained", seed=1, kind="train", density=0.25)
    assert found["trained"].at("test_accuracy", 2)[1] == row["test_accuracy"][0], "retrained goes before pruned"


def test_two_speeds_of_pruning_stay_two_curves(tmp_path_factory: pytest.TempPathFactory) -> None:
    speeds = study(chain=STEPWISE, variants=None, sweep={"prune.fraction": [0.5, 0.2]})
    found = arms(speeds.run(tmp_path_factory.mktemp("speeds"), jobs=1, threads=1).frame)
    assert [arm.label for arm in found] == ["fraction 0.5", "fraction 0.2"]
    assert found[0].positions == [1.0, 0.5, 0.25]


@pytest.mark.parametrize(
    ("sweep", "message"),
    [
        (
            {"prune.density": 0.5},
            r"variants.stepwise.sweep.prune.density must be a list of at least one value, got 0.5",
        ),
        ([0.5], "variants.stepwise"),
        ({"prune.density": []}, "variants.stepwise.sweep.prune.density must be a list"),
    ],
)
def test_a_wrong_sweep_of_a_variant_is_named(sweep: object, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        study(variants={"stepwise": {"sweep": sweep}})


def test_references_reach_a_variant_that_is_swept_over_less() -> None:
    steps = ["train", {"prune": {"density": 0.5}}, {"rewind": "whole/last"}, "train"]
    variants = {"whole": {"chain": ["train"], "sweep": {"prune.density": None}}, "part": {"chain": steps}}
    assert len(study(variants=variants).plan.rows) == 2 + 2 * 2 * 2
    whole = {"chain": ["train", {"rewind": "part/last"}, "train"], "sweep": {"prune.density": None}}
    variants = {"whole": whole, "part": {"chain": [*steps[:2], "train"]}}
    with pytest.raises(SpecError, match="'part' is swept over more, so which is meant is open"):
        study(variants=variants).plan  # noqa: B018


def test_a_sweep_that_changes_nothing_is_still_found_out() -> None:
    variants = {"a": {"sweep": {"reinit.label": None}}, "b": {}}
    with pytest.raises(SpecError, match=r"sweep.reinit.label changes nothing"):
        study(variants=variants, sweep={"reinit.label": ["x", "y"]}).experiments  # noqa: B018
