"""When a training is measured, what ends it early, and which losses fit its task."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from overparam import Dataset, Network, SpecError
from overparam.train import Fit, StopAt, TrainSettings, fit
from overparam.worlds import NextToken, Regression
from small import MLP, TOKEN_NETWORKS, begin, built, half_pruned, vectors

DATA = built(vectors(), validation=10)


def train(data: Any = DATA, **fields: Any) -> Fit:
    start = begin(MLP, data)
    settings = TrainSettings(**{"epochs": 4, "batch_size": 10, "lr": 0.2, **fields})
    return fit(start.load_into(MLP.build(**data.form, seed=0)), data, settings)


def measured(found: Fit) -> list[int]:
    return [int(row["iteration"]) for row in found.curve if "test_loss" in row]


@pytest.mark.parametrize(
    ("fields", "iterations"),
    [
        ({}, []),
        ({"evaluate_at": ["1it", "6it", 2]}, [1, 6, 8]),
        ({"evaluate_at": ["3it"], "evaluate_every": 2}, [3, 8, 16]),
        ({"evaluate_at": "log"}, [1, 2, 3, 4, 5, 6, 8, 10, 13, 16]),
        ({"evaluate_every": "5it"}, [5, 10, 15, 16]),
    ],
)
def test_points_intervals_and_logarithms(fields: dict[str, Any], iterations: list[int]) -> None:
    found = train(**fields)
    assert measured(found) == iterations
    assert [int(row["iteration"]) for row in found.curve if "loss" in row] == [4, 8, 12, 16]
    for row in found.curve:
        assert {"test_loss", "validation_accuracy", "train_loss_clean"} <= set(row) or "test_loss" not in row
    assert found.curve[-1]["loss"] == train().curve[-1]["loss"], "measuring changes nothing"


def test_only_the_splits_asked_for_are_measured_on_the_way() -> None:
    found = train(evaluate_every=2, evaluate_on=["validation", "test"])
    row = found.curve[-1]
    assert {name.partition("_")[0] for name in row if "_" in name} == {"validation", "test"}
    assert row == {name: value for name, value in train(evaluate_every=2).curve[-1].items() if name in row}


@pytest.mark.parametrize("patience", [1, 2, 4])
def test_patience_ends_it_so_many_epochs_after_the_best(patience: int) -> None:
    noisy = built(vectors(), validation=10, label_noise={"kind": "symmetric", "rate": 0.5})
    found = train(noisy, epochs=200, lr=0.5, stop_at=StopAt(patience=patience))
    losses = [row["validation_loss"] for row in found.curve]
    best = losses.index(min(losses))
    assert found.stopped_early
    assert len(losses) == best + 1 + patience
    assert "test_loss" not in found.curve[-1], "the test set is not looked at"


def test_thresholds_on_the_validation_set() -> None:
    found = train(epochs=60, stop_at=StopAt(validation_accuracy=0.8, train_loss=0.5))
    reached = [row["validation_accuracy"] >= 0.8 and row["train_loss"] <= 0.5 for row in found.curve]
    assert found.stopped_early
    assert reached == [False] * (len(reached) - 1) + [True]


REAL = Dataset.from_arrays(
    [[0.0, 1.0]] * 8, [float(number) for number in range(8)], [[0.0, 1.0]], [1.0], task=Regression(1)
)


@pytest.mark.parametrize(
    ("data", "fields", "message"),
    [
        (built(vectors()), {"stop_at": StopAt(patience=2)}, "needs validation_loss, and there is no validation set"),
        (built(vectors()), {"stop_at": StopAt(validation_accuracy=0.5)}, "set world.validation, such as 0.1"),
        (built(REAL), {"stop_at": StopAt(train_accuracy=0.5)}, r"stop_at.train_accuracy: not measured here, .*Regress"),
        (built(REAL), {"loss": "cross-entropy"}, "'cross-entropy' does not fit the task .*; take 'mse'"),
        (DATA, {"loss": "mse"}, r"'mse' does not fit .* got \(2, 3\) and \(2,\).*; take 'cross-entropy'"),
        (DATA, {"evaluate_at": ["17it"]}, "cannot evaluate_at 17it: the training ends at 4ep"),
        (DATA, {"evaluate_at": ["0it"]}, "evaluate_at must be points after the beginning"),
        (DATA, {"evaluate_at": "lg"}, "TrainSettings.evaluate_at: input should be a list or 'log', got 'lg'$"),
        (DATA, {"evaluate_at": ["1it", "x"]}, "evaluate_at.1: a length must be epochs such as .*, got 'x'$"),
        (DATA, {"evaluate_on": []}, "evaluate_on must name at least one of train, validation and test"),
        (DATA, {"evaluate_on": ["tests"]}, "evaluate_on"),
    ],
)
def test_what_cannot_be_is_refused(data: Any, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        train(data, **fields)


def test_a_regression_is_trained_by_its_own_loss() -> None:
    data = built(REAL)
    module = MLP.build(**data.form, seed=0)
    found = fit(module, data, TrainSettings(epochs=30, lr=0.01, evaluate_every=30))
    assert found.curve[-1]["loss"] == pytest.approx(found.curve[-1]["train_mse"], rel=0.1)
    assert "test_r2" not in found.curve[-1], "one target has no spread"
    assert found.curve[0]["loss"] > found.curve[-1]["loss"]


@pytest.mark.parametrize("name", TOKEN_NETWORKS)
def test_engines_agree_on_sequences(name: str) -> None:
    tokens = torch.randint(0, 7, (40, 6), generator=torch.Generator().manual_seed(0))
    parts = (tokens[:30, :-1], tokens[:30, 1:], tokens[30:, :-1], tokens[30:, 1:])
    data = built(Dataset.from_arrays(*parts, task=NextToken(7)))
    network = Network(name, {"transformer": {"width": 8, "heads": 2}, "gru": {"hidden": 8}}[name])
    start = half_pruned(begin(network, data), 0.3)
    settings = TrainSettings(epochs=3, batch_size=8, lr=0.1, evaluate_every=1)
    dense, sparse = (
        fit(start.load_into(network.build(**data.form, seed=0)), data, settings, masks=start.masks, engine=engine)
        for engine in ("dense", "sparse")
    )
    assert "sparse" in sparse.engines.values()
    for weight, tensor in dense.state.items():
        torch.testing.assert_close(sparse.state[weight], tensor, rtol=1e-3, atol=1e-5)
    assert sparse.curve[-1] == pytest.approx(dense.curve[-1], rel=1e-3)
