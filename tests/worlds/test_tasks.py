"""Tasks: their metrics on cases known on paper, and what they refuse."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from overparam import Dataset, SpecError, World
from overparam.errors import DataError
from overparam.train.losses import LOSSES
from overparam.worlds import Classification, NextToken, Reconstruction, Regression, Task

TASKS: dict[str, tuple[Task, torch.Tensor, torch.Tensor]] = {
    "classification": (Classification(3), torch.randn(20, 3), torch.arange(20) % 3),
    "next token": (NextToken(4), torch.randn(6, 5, 4), (torch.arange(30) % 4).view(6, 5)),
    "regression": (Regression(2), torch.randn(20, 2), torch.randn(20, 2)),
    "reconstruction": (Reconstruction(), torch.randn(9, 2, 3), torch.randn(9, 2, 3)),
}
INPUTS = np.arange(12, dtype=np.float32).reshape(6, 2)
TOKENS = np.arange(24).reshape(6, 4) % 5


@pytest.mark.parametrize("name", TASKS)
def test_sums_of_parts_add_up_to_those_of_the_whole(name: str) -> None:
    task, outputs, targets = TASKS[name]
    whole = task.means(task.sums(outputs, targets))
    parts = [task.sums(outputs[start : start + 4], targets[start : start + 4]) for start in range(0, len(outputs), 4)]
    together = task.means({key: sum(part[key] for part in parts) for key in parts[0]})  # type: ignore[misc]
    assert together == pytest.approx(whole, rel=1e-6)
    assert tuple(whole) == task.metrics
    assert whole["loss"] == pytest.approx(float(LOSSES.get(task.loss)(outputs, targets)), rel=1e-6)


def test_next_tokens_on_paper() -> None:
    # even chances of 4 tokens are 2 bits; the third place is not to be predicted
    found = NextToken(4).means(NextToken(4).sums(torch.zeros(1, 3, 4), torch.tensor([[0, 1, -100]])))
    assert found == pytest.approx({"loss": math.log(4), "accuracy": 0.5, "bits": 2.0}, rel=1e-6)


def test_regression_on_paper() -> None:
    # targets 1, 3 around their mean 2: a spread of 2; errors 1 and 0
    found = Regression(1).means(Regression(1).sums(torch.tensor([[2.0], [3.0]]), torch.tensor([[1.0], [3.0]])))
    assert found == {"loss": 0.5, "mse": 0.5, "r2": 0.5}
    same = Regression(1).sums(torch.tensor([[2.0], [3.0]]), torch.tensor([[3.0], [3.0]]))
    assert Regression(1).means(same) == {"loss": 0.5, "mse": 0.5}, "R^2 of equal targets is not defined, so not there"


@given(shift=st.floats(-1000, 1000), outputs=st.integers(1, 3))
def test_the_mean_explains_nothing_wherever_the_targets_lie(shift: float, outputs: int) -> None:
    targets = torch.randn(50, outputs, generator=torch.Generator().manual_seed(0)) + shift
    task = Regression(outputs)
    found = task.means(task.sums(targets.double().mean(0).expand_as(targets).float(), targets))
    assert found["r2"] == pytest.approx(0, abs=1e-4)


def test_squares_of_other_shapes_are_refused_and_not_stretched() -> None:
    for call in (Regression(1).sums, LOSSES.get("mse")):
        with pytest.raises(DataError, match=r"of one shape, got \(4, 1\) and \(4,\)"):
            call(torch.zeros(4, 1), torch.zeros(4))


def arrays(**changes: Any) -> Dataset:
    given = {"train_inputs": INPUTS, "train_targets": INPUTS[:, 0], "test_inputs": INPUTS[:2]}
    given |= {"test_targets": INPUTS[:2, 0], "task": Regression(1), **changes}
    names = ("train_inputs", "train_targets", "test_inputs", "test_targets")
    return Dataset.from_arrays(*[given.pop(name) for name in names], **given)


def test_a_regression_and_its_world() -> None:
    data = arrays()
    assert (data.train_targets.shape, data.train_targets.dtype) == ((6, 1), torch.float32)
    built = World(data).build()
    assert built.form == {"input_shape": (2,), "outputs": (1,), "vocabulary": None}
    assert built.metrics == tuple(f"{split}_{name}" for split in ("train", "test") for name in ("loss", "mse", "r2"))
    assert World(data).metrics() == built.metrics
    assert World(data).form() == built.form
    with pytest.raises(SpecError, match="has no classes"):
        _ = built.classes
    pairs = Dataset.from_pairs(
        [(row, row[0]) for row in INPUTS], [(row, row[0]) for row in INPUTS[:2]], task=Regression(1)
    )
    assert torch.equal(pairs.train_targets, data.train_targets)
    assert pairs.digest() == data.digest()
    assert data.digest() != arrays(task=Classification(6), train_targets=range(6), test_targets=range(2)).digest()


def test_tokens_and_their_world() -> None:
    data = arrays(
        train_inputs=TOKENS, train_targets=TOKENS, test_inputs=TOKENS[:2], test_targets=TOKENS[:2], task=NextToken(5)
    )
    built = World(data, train_size=3, validation=2).build()
    assert built.form == {"input_shape": (4,), "outputs": (4, 5), "vocabulary": 5}
    assert built.train.fetch(torch.tensor([0])).inputs.dtype == torch.int64
    classes = arrays(
        train_inputs=TOKENS, train_targets=range(6), test_inputs=TOKENS[:2], test_targets=range(2), task=None
    )
    assert World(classes).build().form == {"input_shape": (4,), "outputs": (6,), "vocabulary": 5}


def test_a_reconstruction_has_the_normalised_inputs_as_targets() -> None:
    data = World("digits", train_size=10, task="reconstruction").build()
    batch = data.train.examples()
    assert batch.targets is batch.inputs
    assert data.form["outputs"] == (1, 8, 8)
    assert World("digits", train_size=10).identity() != World("digits", train_size=10, task="reconstruction").identity()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"train_targets": INPUTS}, r"float32 of shape \(N, 1\) for a regression of as many outputs, got .* \(6, 2\)"),
        ({"train_targets": INPUTS[:3, 0]}, "as many as the inputs, got 3 for 6"),
        ({"train_targets": [0, 1, float("nan"), 3, 4, 5]}, "must be finite, got NaN or infinity in example 2"),
        ({"task": None}, r"must be integers, got torch.float32; convert them first, or say what they are by a task"),
        ({"task": NextToken(5)}, "must be integers"),
        ({"task": NextToken(5), "train_targets": TOKENS, "test_targets": TOKENS[:2]}, "the inputs must be tokens"),
        ({"task": Classification(2), "train_targets": range(6), "test_targets": range(2)}, "below 2, got 5"),
        ({"train_inputs": -TOKENS, "test_inputs": TOKENS[:2]}, "tokens from 0 on as they are int64, got -4"),
    ],
)
def test_wrong_targets_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        arrays(**change)


@pytest.mark.parametrize(
    ("targets", "vocabulary", "message"),
    [
        (TOKENS[:, :3], 5, r"int64 of shape \(6, 4\) as the inputs"),
        (TOKENS, 4, "inputs of .* must be tokens below 4, got 4"),
        (TOKENS + 1, 5, "below 5, got 5"),
        (np.full_like(TOKENS, -100), 5, "at least one place to predict"),
        (TOKENS - 3, 5, "from 0 on, got -3"),
    ],
)
def test_wrong_tokens_are_refused(targets: Any, vocabulary: int, message: str) -> None:
    with pytest.raises(DataError, match=message):
        arrays(
            train_inputs=TOKENS,
            train_targets=targets,
            test_inputs=TOKENS,
            test_targets=targets,
            task=NextToken(vocabulary),
        )


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: arrays(class_names=["a"]), "class_names and asymmetric belong to a classification"),
        (lambda: World(arrays(), label_noise={"rate": 0.1}).build(), "label_noise needs classes"),
        (
            lambda: World("digits", task="reconstruction", label_noise={"rate": 0.1}).build(),
            "label_noise needs classes",
        ),
        (lambda: World("digits", task="reconstruction", augmentation={"crop": 1}).build(), "reconstruction takes none"),
        (
            lambda: World(
                arrays(
                    train_inputs=TOKENS,
                    train_targets=TOKENS,
                    test_inputs=TOKENS,
                    test_targets=TOKENS,
                    task=NextToken(5),
                ),
                task="reconstruction",
            ).build(),
            "inputs of the dataset are tokens",
        ),
    ],
)
def test_what_does_not_fit_a_task_is_refused(make: Any, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        make()
