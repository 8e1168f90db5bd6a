"""Early stopping found afterwards: the same numbers from the cache, after a resume and in workers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from overparam import Chain, EarlyStop, Prune, Results, Rewind, SpecError, Study, Train, World
from overparam.probes import View
from small import MLP, begin, built, vectors

WORLD = World(vectors(), validation=15, label_noise={"kind": "symmetric", "rate": 0.4})
TRAIN = Train(epochs=12, batch_size=10, lr=0.2, evaluate_every="3it", evaluate_on=("validation", "test"))


def study(train: Train = TRAIN, world: World = WORLD, probes: Sequence[str] = ("early-stop",)) -> Study:
    chain = Chain(train, Prune(fraction=0.3), Rewind(), train)
    return Study("stopped", world, MLP, chain, probes=probes, sweep={"seed": [0, 1]}, engine="dense")


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    return study().run(tmp_path_factory.mktemp("store"), jobs=1, threads=1)


def test_it_is_the_least_validation_loss_of_the_curve(results: Results) -> None:
    for row in results.frame.iter_rows(named=True):
        curve = results.curves.filter(pl.col("fingerprint") == row["fingerprint"])
        best = curve.filter(pl.col("validation_loss") == curve["validation_loss"].min()).row(0, named=True)
        assert row["early_stop_iteration"] == best["iteration"] < curve["iteration"].max()
        for name in ("test_accuracy", "test_loss", "validation_loss", "validation_accuracy_clean"):
            assert row[f"early_stop_{name}"] == best[name]


def test_it_is_read_from_trainings_that_were_made_before_it_was_asked_for(tmp_path: Path) -> None:
    without = study(probes=["accuracy"]).run(tmp_path, jobs=1, threads=1)
    later = study().run(tmp_path, jobs=1, threads=1)
    assert later.frame["fingerprint"].equals(without.frame["fingerprint"])
    assert later.frame["early_stop_iteration"].null_count() == 0


@pytest.mark.parametrize(
    ("columns", "place"),
    [
        ([0.5, 0.4, 0.4, 0.6], 1),  # of equals the first
        ([None, 0.9, None, 0.3], 3),
    ],
)
def test_on_paper(columns: list[Any], place: int) -> None:
    data = WORLD.build()
    curve = {"iteration": [10.0, 20.0, 30.0, 40.0], **{name: [0.1, 0.2, 0.3, 0.4] for name in data.metrics}}
    seen = View(data, lambda: MLP.build(**data.form, seed=0), curve={**curve, "validation_loss": columns})
    found = EarlyStop().measure(begin(MLP, data), seen).values
    assert found["early_stop_iteration"] == 10 * (place + 1)
    assert found["early_stop_validation_loss"] == columns[place]
    assert found["early_stop_test_accuracy"] == 0.1 * (place + 1)


def test_what_was_not_trained_has_no_early_stop() -> None:
    data = WORLD.build()
    found = EarlyStop().measure(begin(MLP, data), View(data, lambda: MLP.build(**data.form, seed=0)))
    assert set(found.values.values()) == {None}


@pytest.mark.parametrize(
    ("world", "fields", "message"),
    [
        (World(vectors()), {}, "probe early-stop: the world has no validation set; set world.validation, such as 0.1"),
        (WORLD, {"evaluate_every": None}, "measures nothing on its way; set train.evaluate_every, such as 100it"),
        (WORLD, {"evaluate_on": ("train", "test")}, "evaluate_on must have validation and test among its splits"),
    ],
)
def test_where_there_can_be_none_it_is_said_before_anything_runs(
    world: World, fields: dict[str, Any], message: str
) -> None:
    settings = {"epochs": 1, "batch_size": 10, "evaluate_every": 1, **fields}
    with pytest.raises(SpecError, match=message):
        study(Train(**settings), world).plan  # noqa: B018


def test_a_built_world_states_the_same_columns() -> None:
    assert built(vectors(), validation=15).metrics == World(vectors(), validation=15).metrics()
