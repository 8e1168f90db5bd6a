"""A validation set: taken from the training examples, the same whatever else the world says."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from overparam import Dataset, LabelNoise, SpecError, World

LABELS = torch.arange(40) % 4
DATA = Dataset("numbers", torch.arange(40.0)[:, None], LABELS, -1 - torch.arange(8.0)[:, None], LABELS[:8])


def parts(**fields: Any) -> tuple[list[float], list[float]]:
    data = World(DATA, **fields).build()
    held = [] if data.validation is None else data.validation.inputs.flatten().tolist()
    return data.train.examples().inputs.flatten().tolist(), held


@given(st.integers(1, 39), st.integers(0, 9), st.data())
def test_training_and_validation_share_nothing(held: int, seed: int, draws: st.DataObject) -> None:
    train, validation = parts(validation=held, seed=seed)
    assert len(validation) == held
    assert sorted(train + validation) == list(range(40))
    size = draws.draw(st.integers(1, 40 - held))
    fewer, same = parts(validation=held, seed=seed, train_size=size)
    assert len(fewer) == size
    assert same == validation, "the same whatever the size of the training set"
    assert fewer == parts(seed=seed, train_size=size)[0], "and the training set is what it is without validation"


@pytest.mark.parametrize(("share", "held"), [(0.1, 4), (0.5, 20), (0.07, 3), (4, 4)])
def test_shares_are_of_all_training_examples(share: float, held: int) -> None:
    assert len(parts(validation=share)[1]) == held
    assert World(DATA, validation=share).identity() == World(DATA, validation=held).identity()
    assert World(DATA, validation=share).identity() != World(DATA).identity()


def test_label_noise_reaches_it_with_exact_counts_of_its_own() -> None:
    noise = LabelNoise("symmetric", 0.25)
    data, clean = World(DATA, validation=12, label_noise=noise).build(), World(DATA, validation=12).build()
    assert data.validation is not None
    assert clean.validation is not None
    assert torch.equal(data.validation.clean, clean.validation.targets)
    assert int((data.validation.targets != data.validation.clean).sum()) == 3
    assert int((data.train.targets != data.train.clean).sum()) == 7
    assert data.noise_realised == 7 / 28
    assert data.test.clean is None
    assert "validation_accuracy_clean" in data.metrics
    assert "validation_accuracy_noisy_part" in data.metrics
    assert data.metrics == World(DATA, validation=12, label_noise=noise).metrics()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"validation": 40}, "World.validation must leave examples to train on, of 40 it would take 40"),
        ({"validation": 0.01}, "of 40 it would take 0"),
        ({"validation": 0}, "must be a number of examples such as 1000, or a share .* got 0"),
        ({"validation": 1.5}, "got 1.5"),
        ({"validation": True}, "got True"),
        ({"validation": 10, "train_size": 31}, "at most 30, what the dataset has besides those for validation; got 31"),
    ],
)
def test_wrong_sizes(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        World(DATA, **fields).build()
