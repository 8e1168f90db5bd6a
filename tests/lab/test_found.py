"""Results as a user reaches into them: a place by its names, the best by a set that is named, a module and masks."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from overparam import Chain, Prune, Repeat, Results, Rewind, SpecError, StoreError, Study, Train, World, load_results
from small import MLP, vectors

TRAIN = Train(epochs=1, batch_size=25)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Results:
    study = Study(
        "reach",
        World(vectors(), validation=10),
        MLP,
        Chain(TRAIN, Repeat(2, Prune(fraction=0.5), Rewind(), TRAIN)),
        sweep={"seed": [3, 1], "train.lr": [0.1, 0.01]},
        variants={"magnitude": {}, "random": {"prune.criterion": "random"}},
    )
    return study.run(tmp_path_factory.mktemp("found") / "runs", jobs=1, threads=1)


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Results:
    """Results without a validation split, of one network."""
    return Study("bare", vectors(), MLP, [TRAIN]).run(tmp_path_factory.mktemp("bare") / "runs", jobs=1, threads=1)


def test_results_are_loaded_from_a_path_or_a_text(made: Results) -> None:
    for store in (made.store, str(made.store)):
        assert load_results(store, "reach").frame.equals(made.frame)
    assert load_results(made.store, f"reach@{made.revision}").revision == made.revision
    assert load_results(made.store, "reach").store == made.store


def test_the_nearest_study_and_the_nearest_store_are_named(made: Results) -> None:
    with pytest.raises(StoreError, match="has no study 'rech'; did you mean 'reach'"):
        load_results(made.store, "rech")
    with pytest.raises(StoreError, match=r"there is no store '.*run'; did you mean 'runs'\?"):
        load_results(made.store.with_name("run"), "reach")


def test_a_place_has_its_row_masks_and_module(made: Results) -> None:
    found = made.at(arm="random, lr 0.01", seed=1, level=2)
    assert (found["variant"], found["seed"], found["level"], found["train.lr"]) == ("random", 1, 2, 0.01)
    assert dict(found)["fingerprint"] == found["fingerprint"]
    masks = made.masks(arm="random, lr 0.01", seed=1, level=2)
    assert sum(int(mask.sum()) for mask in masks.values()) == found["kept"]
    module = made.module(arm="random, lr 0.01", seed=1, level=2)
    for name, mask in masks.items():
        assert not module.get_parameter(name)[~mask].any()
    inputs, labels = vectors().test_inputs, vectors().test_targets
    hits = (module(inputs).argmax(1) == labels).float().mean().item()
    assert hits == pytest.approx(found["test_accuracy"])


def test_a_swept_column_is_named_by_its_last_part_and_by_the_digits_that_are_shown(made: Results) -> None:
    assert made.at(variant="magnitude", seed=3, lr=0.1, density=0.25)["level"] == 2
    assert made.at(variant="magnitude", seed=3, lr=0.1, density=0.2501)["level"] == 2


@pytest.mark.parametrize(
    ("place", "told"),
    [
        ({"arm": "magnitud, lr 0.1"}, r"the study has no arm 'magnitud, lr 0.1'; did you mean 'magnitude, lr 0.1'"),
        ({"seed": 2}, r"the study has no seed 2 \(there are: 3, 1\)"),
        ({"seed": 1, "level": 9}, r"seed 1 has no level 9 \(there are: 0, 1, 2\)"),
        ({"sed": 1}, r"'sed' is no column; did you mean 'seed'\? \(say arm, seed, level, "),
        ({"seed": 1, "level": 0}, r"seed 1, level 0: 4 checkpoints fit; say more of arm: 'magnitude, lr 0.1', "),
        (
            {},
            r"nothing named: 24 checkpoints fit; say more of arm: .*; seed: 3, 1; level: 0, 1, 2; train.lr: 0.1, 0.01",
        ),
    ],
)
def test_what_names_no_one_place_is_told_with_what_there_is(made: Results, place: dict[str, object], told: str) -> None:
    with pytest.raises(SpecError, match=told):
        made.at(**place)


def test_the_best_is_chosen_on_validation(made: Results) -> None:
    best = made.best()
    top = made.frame["validation_accuracy"].max()
    assert best["validation_accuracy"] == top
    assert best["kept"] == made.frame.filter(validation_accuracy=top)["kept"].min(), "of equal ones the smallest"
    assert "highest validation accuracy of 24 rows" in repr(best)
    assert best["arm"] in made.table()["arm"].to_list()
    least = made.best(metric="loss", level=1)
    assert least["validation_loss"] == made.frame.filter(level=1)["validation_loss"].min()
    assert made.best(on="test")["test_accuracy"] == made.frame["test_accuracy"].max()


def test_the_test_set_never_chooses_unasked(bare: Results) -> None:
    with pytest.raises(SpecError, match=r'no validation split to choose on: .*validation=0\.1.*say on="test"'):
        bare.best()
    assert "so its test numbers are no estimate for new data" in bare.best(on="test").chosen
    with pytest.raises(SpecError, match="on must be 'validation' or 'test', got 'train'"):
        bare.best(on="train")
    with pytest.raises(SpecError, match=r"test set has no 'acuracy' \(there are: loss, accuracy, soft_error\)"):
        bare.best(on="test", metric="acuracy")


@pytest.mark.parametrize("table", ["frame", "layers", "curves"])
def test_tables_of_pandas_have_the_same_cells(made: Results, table: str) -> None:
    pandas = pytest.importorskip("pandas", reason="pandas is not installed: pip install 'overparam[pandas]'")
    frame = made.to_pandas(table)
    ours = getattr(made, table)
    assert list(frame.columns) == ours.columns
    for name in ours.columns:
        there = frame[name].astype(object).where(pandas.notna(frame[name]), None)
        assert there.to_list() == ours[name].to_list(), name
    assert frame["seed"].dtype == "int64"


def test_without_pandas_it_says_what_to_do(made: Results, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(SpecError, match=r"needs the package pandas; pip install 'overparam\[pandas\]'"):
        made.to_pandas()
    with pytest.raises(SpecError, match="table must be frame, layers or curves, got 'curve'; did you mean 'curves'"):
        made.to_pandas("curve")


def test_a_study_is_taken_up_from_its_store_and_extended(made: Results) -> None:
    study = Study("kept", "digits", {"mlp": {"hidden": [4]}}, ["train"], train={"epochs": 1}, sweep={"seed": [0]})
    study = study.with_changes({"world.train_size": 50, "world.test_size": 50})
    first = study.run(made.store, jobs=1, threads=1)
    again = Study.from_store(made.store, "kept").with_changes(sweep={"seed": range(3)})
    results = again.run(made.store, jobs=1, threads=1)
    assert results.facts["run"].startswith("4 steps run and 2 found in the store")
    assert results.frame.filter(seed=0).equals(first.frame)
    assert Study.from_store(made.store, f"kept@{first.revision}").sweep == {"seed": [0]}


def mlp() -> torch.nn.Module:
    """A network of one's own, called as one of overparam's is."""
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))


def test_a_study_of_python_s_objects_is_never_taken_for_another(made: Results) -> None:
    with pytest.raises(SpecError, match=r"study reach@.* cannot be made from its record alone"):
        Study.from_store(made.store, "reach")
    own = Study("own", {"dataset": "digits", "train_size": 50, "test_size": 50}, mlp, ["train"], train={"epochs": 1})
    own.run(made.store, jobs=1, threads=1)
    with pytest.raises(SpecError, match=r"own@.* cannot be made from its record alone .*it comes to other steps"):
        Study.from_store(made.store, "own")


def test_one_network_needs_no_naming(bare: Results) -> None:
    assert bare.at()["test_accuracy"] == bare.frame["test_accuracy"][0]
    assert isinstance(bare.module(), torch.nn.Module)


def test_a_row_that_some_lack_is_refused(made: Results, tmp_path: Path) -> None:
    study = Study(
        "mixed", vectors(), MLP, [TRAIN], variants={"held": {"world.validation": 10}, "all": {"world.validation": None}}
    )
    results = study.run(tmp_path, jobs=1, threads=1)
    with pytest.raises(SpecError, match="1 row of 2 have no validation_accuracy; name an arm that has"):
        results.best()
    assert results.best(arm="held")["variant"] == "held"
