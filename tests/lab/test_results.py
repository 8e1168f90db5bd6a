from __future__ import annotations

import shutil
from pathlib import Path

import polars as pl
import pytest
import torch

from overparam import (
    Chain,
    IncompleteWarning,
    LabelNoise,
    Prune,
    Repeat,
    Results,
    Rewind,
    RunError,
    Store,
    StoreError,
    Study,
    Train,
    World,
)
from overparam import load_results as load
from overparam.lab import load_module
from overparam.lab.blobs import Folder
from small import MLP, vectors

TRAIN = Train(epochs=1, batch_size=25)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Results, Path]:
    folder = tmp_path_factory.mktemp("results") / "runs"
    study = Study(
        "table",
        World(vectors(), label_noise=LabelNoise("symmetric", 0.1)),
        MLP,
        Chain(TRAIN, Repeat(2, Prune(fraction=0.5), Rewind(), TRAIN)),
        sweep={"seed": [3, 1], "prune.criterion": ["random", "magnitude"], "train.batch_size": [25]},
        variants={"plain": {}, "noisier": {"world.label_noise.rate": 0.4}},
    )
    return study.run(folder, jobs=1, threads=1), folder


def test_one_row_a_trained_checkpoint_in_the_order_of_the_study(made: tuple[Results, Path]) -> None:
    frame = made[0].frame
    assert len(frame) == 2 * 2 * 2 * 3
    assert frame["study"].unique().to_list() == ["table"]
    assert frame["variant"].to_list() == ["plain"] * 12 + ["noisier"] * 12
    assert frame["seed"].to_list()[:12] == [3] * 6 + [1] * 6
    assert frame["prune.criterion"].to_list()[:6] == ["random"] * 3 + ["magnitude"] * 3
    assert frame["criterion"].to_list() == frame["prune.criterion"].to_list()
    assert frame["chain"].to_list() == [chain for chain in range(8) for _ in range(3)]
    assert frame["level"].to_list() == [0, 1, 2] * 8
    assert frame["step"].to_list() == [0, 3, 6] * 8
    assert set(frame["kind"]) == {"train"}
    assert set(frame["retraining"]) == {"rewind"}
    assert set(frame["dataset"]) == {"vectors"}
    assert frame["noise_rate"].unique().sort().to_list() == [0.1, 0.4]
    assert frame["noise_realised"].unique().sort().to_list() == [0.1, 0.4]
    assert frame["train.batch_size"].unique().to_list() == [25]


def test_densities_are_exact_counts(made: tuple[Results, Path]) -> None:
    frame = made[0].frame
    weights = 4 * 8 + 8 * 3
    assert set(frame["weights"]) == {weights}
    assert frame["kept"].to_list() == [weights, weights // 2, weights // 4] * 8
    assert (frame["density"] == frame["kept"] / frame["weights"]).all()
    assert (frame["multiply_adds_effective"] == frame["kept"]).all()


def test_every_probe_s_columns_are_there_and_whole(made: tuple[Results, Path]) -> None:
    frame = made[0].frame
    columns = {
        "train_accuracy",
        "train_loss",
        "train_accuracy_clean",
        "train_loss_clean",
        "test_accuracy",
        "test_loss",
        "test_soft_error",
        "learning_distance",
        "learning_distance_kept",
        "learning_distance_pruned",
        "dead_units",
        "multiply_adds",
        "multiply_adds_effective",
        "bytes",
        "seconds",
        "seconds_before",
        "peak_memory_bytes",
    }
    assert columns <= set(frame.columns)
    assert sum(frame.null_count().row(0)) == 0
    assert frame["seconds"].min() > 0
    seconds, before = (frame.filter(chain=0).sort("level")[name] for name in ("seconds", "seconds_before"))
    assert before[0] > 0, "of the initialisation"
    assert (before.diff()[1:] > seconds[:-1]).all(), "of the training before, and of the pruning"
    assert frame["peak_memory_bytes"].min() > 10**7
    assert frame["bytes"].dtype == pl.Int64
    dense = frame.filter(level=0)
    assert set(dense["learning_distance_pruned"]) == {0.0}


def test_one_row_a_layer(made: tuple[Results, Path]) -> None:
    results, _ = made
    layers = results.layers
    assert len(layers) == 2 * len(results.frame)
    joined = layers.group_by("chain", "level").agg(pl.col("kept").sum()).sort("chain", "level")
    assert joined["kept"].to_list() == results.frame.sort("chain", "level")["kept"].to_list()
    squares = layers.group_by("chain", "level").agg((pl.col("learning_distance_pruned") ** 2).sum())
    whole = results.frame.join(squares, on=["chain", "level"], suffix="_layers")
    assert ((whole["learning_distance_pruned"] ** 2) - whole["learning_distance_pruned_layers"]).abs().max() < 1e-12


def test_facts_say_what_it_was_made_with(made: tuple[Results, Path]) -> None:
    facts = made[0].facts
    assert facts["torch"] == torch.__version__
    assert facts["threads"] == "1"
    assert {"overparam", "numpy", "python", "system", "processor", "cores", "steps made", "run"} <= set(facts)
    assert " to " in facts["steps made"]


def test_results_load_without_computing(made: tuple[Results, Path]) -> None:
    results, folder = made
    before = sorted(path for path in folder.rglob("*"))
    loaded = load(Store(folder, reading=True), "table")
    assert loaded.frame.equals(results.frame)
    assert loaded.layers.equals(results.layers)
    assert (loaded.spec, loaded.failures, loaded.missing, loaded.complete) == (results.spec, [], 0, True)
    assert sorted(path for path in folder.rglob("*")) == before


def test_an_unknown_study_is_named_with_those_there_are(made: tuple[Results, Path], tmp_path: Path) -> None:
    with pytest.raises(
        StoreError, match=r"has no study 'tabel'; did you mean 'table'\? \(it has: table\); run it first"
    ):
        load(Store(made[1]), "tabel")
    with pytest.raises(StoreError, match=r"has no study 'table' \(it has none\); run it first"):
        load(Store(tmp_path), "table")


def test_a_checkpoint_that_does_not_fit_is_told(made: tuple[Results, Path]) -> None:
    results, folder = made
    with pytest.raises(StoreError, match="does not fit the module"):
        load_module(Store(folder), results.frame["fingerprint"][0], torch.nn.Linear(3, 3))
    with pytest.raises(StoreError, match="has no checkpoint 'abc'"):
        load_module(folder, "abc", torch.nn.Linear(3, 3))


def emptied(made: Study, store: Path) -> Results:
    """Run a study of which nothing can be computed."""
    with pytest.raises(RunError) as caught:
        made.run(store, jobs=1, threads=1)
    assert caught.value.results.failures[0] in str(caught.value)
    return caught.value.results


def test_nothing_at_all_is_an_error_that_has_the_results(tmp_path: Path) -> None:
    study = Study(
        "diverging",
        vectors(),
        MLP,
        [Train(epochs=1, batch_size=25, lr=1e30)],
        sweep={"seed": [0, 1, 2]},
        probes=["cost"],
    )
    with pytest.raises(RunError, match=r"none of the 3 rows of study 'diverging' could be computed: .* \(and 2 more\)"):
        study.run(tmp_path, jobs=1, threads=1)
    results = emptied(study, tmp_path)
    assert (len(results.frame), results.missing, len(results.failures)) == (0, 3, 3)
    assert results.absent["seed"].to_list() == [0, 1, 2]
    assert not results.complete
    assert load(Store(tmp_path), "diverging").missing == 3


def test_an_empty_table_has_the_columns_of_a_whole_one(made: tuple[Results, Path], tmp_path: Path) -> None:
    """And all that is made of a table is made of it, too."""
    whole = made[0]
    same = {"world": World(vectors(), label_noise=LabelNoise("symmetric", 0.1)), "network": MLP}
    sweep = {"seed": [3, 1], "prune.criterion": ["random", "magnitude"], "train.batch_size": [25]}
    bad = Train(epochs=1, batch_size=25, lr=1e30)
    results = emptied(Study("table", **same, chain=[bad, Prune(fraction=0.5), bad], sweep=sweep), tmp_path / "runs")
    assert results.frame.is_empty()
    assert results.frame.schema == whole.frame.schema
    assert results.layers.schema == whole.layers.schema
    assert results.frame["test_accuracy"].to_list() == []
    assert results.absent.schema.items() <= whole.frame.schema.items()
    assert results.table().is_empty()
    assert {"arm", "level", "density", "test_accuracy"} <= set(results.table().columns)
    assert results.phases().is_empty()
    assert results.claims() == []
    page = results.report(tmp_path / "page.html").read_text()
    assert "training diverged" in page


def test_seeds_of_any_size(tmp_path: Path) -> None:
    results = Study("large", vectors(), MLP, [TRAIN], seed=10**20).run(tmp_path, jobs=1, threads=1)
    assert results.frame["seed"].to_list() == [10**20]
    assert set(results.layers["seed"]) == {10**20}


def test_a_step_that_fails_behind_the_last_row_is_told(tmp_path: Path) -> None:
    study = Study("behind", vectors(), MLP, [TRAIN, Prune(fraction=0.1), Prune(fraction=0.999)])
    with pytest.warns(IncompleteWarning, match="a step of study 'behind' failed: prune "):
        assert study.run(tmp_path, jobs=1, threads=1).complete


def test_what_is_absent_is_told_by_its_coordinates(made: tuple[Results, Path], tmp_path: Path) -> None:
    results, folder = made
    store = Store(shutil.copytree(folder, tmp_path / "runs"))
    gone = results.frame.row(7, named=True)
    store.remove("steps", gone["fingerprint"])
    seen = load(store, "table")
    hit = results.frame.filter(fingerprint=gone["fingerprint"])
    assert seen.missing == len(seen.absent) == len(hit) >= 1
    assert seen.absent.select("variant", "seed", "level").equals(hit.select("variant", "seed", "level"))
    assert seen.frame.equals(results.frame.filter(pl.col("fingerprint") != gone["fingerprint"]))
    assert seen.frame.schema == results.frame.schema


def test_a_row_of_curves_for_each_checkpoint_and_evaluated_iteration(tmp_path: Path) -> None:
    train = Train(epochs=3, batch_size=25, evaluate_every="1ep")
    world = World(vectors(), label_noise=LabelNoise("symmetric", 0.2))
    study = Study("curves", world, MLP, [train, Prune(fraction=0.5), TRAIN], sweep={"seed": [0, 1]})
    results = study.run(tmp_path, jobs=1, threads=1)
    curves = results.curves
    assert curves["seed"].to_list() == [0] * 4 + [1] * 4
    assert curves["step"].to_list() == [0, 0, 0, 2] * 2
    assert curves["epoch"].to_list() == [1.0, 2.0, 3.0, 1.0] * 2
    steps = -(-len(vectors().train_targets) // 25)
    assert curves["iteration"].to_list() == [steps, 2 * steps, 3 * steps, steps] * 2
    assert curves.schema["iteration"] == pl.Int64
    assert curves["lr"].null_count() == curves["loss"].null_count() == 0
    assert curves.filter(level=1)["test_accuracy"].null_count() == 2, "which was not asked to evaluate"
    last = curves.filter(level=0, epoch=3.0).join(results.frame.filter(level=0), on="fingerprint", suffix="_probed")
    assert len(last) == 2
    for column in ("train_accuracy", "test_accuracy"):
        assert last[column].to_list() == pytest.approx(last[f"{column}_probed"].to_list())
    assert study.results(tmp_path).curves.equals(curves)
    assert {"study", "variant", "kind", "noise_rate"} <= set(curves.columns)


def test_a_table_of_no_curves_has_their_columns(tmp_path: Path) -> None:
    empty = emptied(Study("none", vectors(), MLP, [Train(epochs=1, batch_size=25, lr=1e30)]), tmp_path).curves
    assert empty.is_empty()
    assert {"seed", "level", "iteration", "epoch", "lr", "loss"} <= set(empty.columns)


class Counting(Folder):
    """Counts what is read."""

    def get(self, key: str) -> bytes:
        content = super().get(key)
        read.append((key, len(content)))
        return content


read: list[tuple[str, int]] = []


def test_a_table_is_read_without_weights(made: tuple[Results, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    results, folder = made
    monkeypatch.setattr("overparam.lab.store.Folder", Counting)
    read.clear()
    assert load(Store(folder, reading=True), "table").frame.equals(results.frame)
    assert len(read) > len(results.frame)
    assert {Path(key).suffix for key, _ in read} == {".json"}
    record = sum(size for key, size in read if key.startswith("studies/"))
    assert sum(size for _, size in read) - record < 2000 * len(read)


def test_a_study_that_is_done_is_found_without_weights(
    made: tuple[Results, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    study = Study("again", vectors(), MLP, [TRAIN, Prune(fraction=0.5), TRAIN])
    folder = made[1]
    study.run(folder, jobs=1, threads=1)
    monkeypatch.setattr("overparam.lab.store.Folder", Counting)
    read.clear()
    study.run(folder, jobs=1, threads=1)
    assert {Path(key).suffix for key, _ in read} == {".json"}
