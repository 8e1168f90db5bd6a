"""Endless worlds: the same examples by number in any order, company and process; MNIST-1D is the first of them."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from overparam import Dataset, SpecError, World
from overparam.streams import indexed_uniforms
from overparam.worlds import EndlessSplit, load_dataset
from overparam.worlds.mnist_1d import TEMPLATES, stream

MNIST_1D = World("mnist-1d", endless=500, validation=30, test_size=50)
NUMBERS = st.lists(st.integers(0, 10**12), min_size=1, max_size=20)
DIGEST = """
import hashlib, torch
from overparam import World
from overparam.worlds import load_dataset
data = World("mnist-1d", endless=500).build()
batch = data.train.fetch(torch.tensor([5, 0, 10**9, 499, 77]))
both = batch.inputs.numpy().tobytes() + batch.targets.numpy().tobytes()
print(hashlib.sha256(both).hexdigest(), load_dataset("mnist-1d").digest(), World("mnist-1d", endless=500).identity())
"""


def train() -> EndlessSplit:
    found = MNIST_1D.build().train
    assert isinstance(found, EndlessSplit)
    return found


@given(NUMBERS, st.randoms())
def test_an_example_is_the_same_in_any_order_and_company(numbers: list[int], chance: Any) -> None:
    split = train()
    shuffled = chance.sample(range(len(numbers)), len(numbers))
    together = split.fetch(torch.tensor(numbers))
    others = split.fetch(torch.tensor([numbers[place] for place in shuffled]))
    alone = split.fetch(torch.tensor(numbers[:1]))
    assert torch.equal(others.inputs, together.inputs[shuffled])
    assert torch.equal(others.targets, together.targets[shuffled])
    assert torch.equal(alone.inputs, together.inputs[:1])


def test_two_processes_make_the_same_bytes() -> None:
    other = subprocess.run([sys.executable, "-c", DIGEST], capture_output=True, text=True, check=True).stdout
    data = World("mnist-1d", endless=500).build()
    batch = data.train.fetch(torch.tensor([5, 0, 10**9, 499, 77]))
    own = hashlib.sha256(batch.inputs.numpy().tobytes() + batch.targets.numpy().tobytes()).hexdigest()
    identity = World("mnist-1d", endless=500).identity()
    assert other == f"{own} {load_dataset('mnist-1d').digest()} {identity}\n"


def test_epochs_follow_each_other_and_workers_share_them() -> None:
    split, generator = train(), torch.Generator()
    assert split.epoch == 500
    assert torch.equal(split.order(0, generator), torch.arange(500))
    assert torch.equal(split.order(3, generator), torch.arange(1500, 2000))
    shares = [split.fetch(split.order(1, generator)[worker::3]) for worker in range(3)]
    whole = split.fetch(split.order(1, generator))
    assert torch.equal(torch.cat([share.indices for share in shares]).sort().values, whole.indices)
    assert all(torch.equal(share.inputs, whole.inputs[worker::3]) for worker, share in enumerate(shares))


def test_nothing_is_both_trained_on_and_measured() -> None:
    data = MNIST_1D.build()
    parts = [data.train.fetch(torch.arange(200)).inputs, data.train.examples().inputs, data.test.inputs]
    assert data.validation is not None
    parts.append(data.validation.inputs)
    assert [len(part) for part in parts] == [200, 50, 50, 30]
    rows = torch.cat(parts).flatten(1)
    assert len(torch.unique(rows, dim=0)) == len(rows)
    assert data.batch_count(64) == 8
    assert [len(batch) for batch in data.batches(200, torch.Generator(), epoch=1)] == [200, 200, 100]


def test_other_seeds_are_other_streams_and_identities_tell() -> None:
    worlds = [World("mnist-1d", endless=500, seed=seed) for seed in (0, 1)] + [World("mnist-1d", endless=501)]
    assert len({str(world.identity()) for world in [*worlds, World("mnist-1d"), MNIST_1D]}) == 5
    first, second = (world.build().train.fetch(torch.arange(5)).inputs for world in worlds[:2])
    assert not torch.equal(first, second)


def test_mnist_1d_is_what_the_paper_says() -> None:
    data = load_dataset("mnist-1d")
    assert data.train_inputs.shape == (4000, 1, 40)
    assert data.test_inputs.shape == (1000, 1, 40)
    assert torch.bincount(data.train_targets).tolist() == [400] * 10
    assert TEMPLATES.shape == (10, 12)
    inputs, targets = stream(3, torch.arange(20000))
    assert 1850 < int(torch.bincount(targets).min()) <= int(torch.bincount(targets).max()) < 2150
    seen = World("mnist-1d", endless=10).build().train.fetch(torch.arange(20000)).inputs
    assert float(seen.mean()) == pytest.approx(0, abs=0.02)
    assert float(seen.std()) == pytest.approx(1, abs=0.02)
    assert load_dataset({"mnist-1d": {"train": 30, "test": 12}}).train_inputs.shape[0] == 30
    assert inputs.dtype == torch.float32


def test_mnist_1d_can_be_learned_from_its_stream() -> None:
    """Nearest of the means of classes, an easy rule: above chance, and alike on the stream and the finite test set."""
    inputs, targets = stream(0, torch.arange(4000))
    means = torch.stack([inputs[targets == label].mean(0).flatten() for label in range(10)])
    data = load_dataset("mnist-1d")
    right = [
        float((torch.cdist(x.flatten(1), means).argmin(1) == y).double().mean())
        for x, y in (stream(0, torch.arange(10**6, 10**6 + 1000)), (data.test_inputs, data.test_targets))
    ]
    assert min(right) > 0.2
    assert right[0] == pytest.approx(right[1], abs=0.06)


@given(st.integers(0, 2**62), NUMBERS)
def test_uniforms_by_index(seed: int, numbers: list[int]) -> None:
    found = indexed_uniforms(seed, np.array(numbers), 7)
    assert found.shape == (len(numbers), 7)
    assert ((found > 0) & (found < 1)).all()
    assert np.array_equal(found[::-1], indexed_uniforms(seed, np.array(numbers[::-1]), 7))
    assert np.array_equal(found[:, :3], indexed_uniforms(seed, np.array(numbers), 3))


def test_uniforms_are_splitmix64_and_uniform() -> None:
    found = indexed_uniforms(5, np.arange(20000), 10)
    counts = np.histogram(found, 20, (0, 1))[0]
    assert abs(counts - 10000).max() < 500
    assert abs(np.corrcoef(found.T) - np.eye(10)).max() < 0.03
    state = [0]

    def splitmix(start: int) -> int:  # as published, one number after the other
        state[0] = (start + 0x9E3779B97F4A7C15) % 2**64
        z = state[0]
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB % 2**64
        return z ^ (z >> 31)

    begin = splitmix((5 + 7 * 0x9E3779B97F4A7C15) % 2**64)
    assert found[7, 0] == ((splitmix(begin) >> 11) + 0.5) / 2**53


def numbered(seed: int, indices: Tensor) -> tuple[Tensor, Tensor]:
    return indices[:, None].float(), indices % 3


def counted(seed: int, indices: Tensor) -> tuple[Tensor, Tensor]:
    return torch.arange(len(indices))[:, None].float(), indices % 3


def of_another_shape(seed: int, indices: Tensor) -> tuple[Tensor, Tensor]:
    return indices[:, None].float().expand(-1, 2), indices % 3


def failing(seed: int, indices: Tensor) -> tuple[Tensor, Tensor]:
    raise KeyError("weights")


def of(given: Any) -> Dataset:
    return Dataset.from_arrays([[0.0], [1.0], [2.0]], [0, 1, 2], [[4.0]], [1], stream=given)


def test_a_stream_of_one_s_own() -> None:
    data = World(of(numbered), endless=7).build()
    assert data.train.fetch(torch.tensor([3, 10])).targets.tolist() == [0, 1]
    assert World(of(numbered), endless=7).identity() != World(of(lambda s, i: numbered(s, i)), endless=7).identity()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"dataset": of(None), "endless": 5}, "has no stream of new examples; take one that has, such as 'mnist-1d'"),
        ({"dataset": of(counted), "endless": 5}, "gives another example 1000 alone than together with others"),
        ({"dataset": of(of_another_shape), "endless": 5}, r"must give 9 examples as its training set has"),
        ({"dataset": of(failing), "endless": 5}, "the stream of dataset 'arrays' failed with KeyError: 'weights'"),
        ({"dataset": "mnist-1d", "endless": 5, "train_size": 10}, "train_size belongs to a finite training set"),
        ({"dataset": "mnist-1d", "endless": 5, "validation": 0.1}, "validation must be a number of examples"),
        ({"dataset": "mnist-1d", "endless": 5, "label_noise": {"rate": 0.1}}, "label_noise has exact counts"),
        ({"dataset": "mnist-1d", "endless": 0}, "greater than or equal to 1"),
    ],
)
def test_worlds_that_cannot_be_endless(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        World(**fields).build()
