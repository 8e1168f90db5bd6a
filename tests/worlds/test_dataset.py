from __future__ import annotations

import dataclasses
import doctest
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import TensorDataset

from overparam.errors import DataError, OverparamError, SpecError
from overparam.worlds import DATASETS, Dataset, dataset, load_dataset, world
from overparam.worlds.embedded import digit_arrays

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (6, 2, 4, 3), np.uint8)
LABELS = np.array([0, 1, 2, 2, 1, 0])
FLOATS = IMAGES.astype(np.float32)
BROKEN = FLOATS.copy()
BROKEN[3, 0, 0, 0] = np.nan


def arrays(**others: Any) -> Dataset:
    given = {
        "train_inputs": IMAGES,
        "train_targets": LABELS,
        "test_inputs": IMAGES[:2],
        "test_targets": LABELS[:2],
    }
    return Dataset.from_arrays(**(given | others))


@pytest.mark.parametrize("module", [dataset, world])
def test_examples_in_docstrings(module: Any) -> None:
    found = doctest.testmod(module)
    assert found.attempted > 0
    assert found.failed == 0


def test_digits() -> None:
    digits = load_dataset("digits")
    assert digits.train_inputs.shape == (1297, 1, 8, 8)
    assert digits.test_inputs.shape == (500, 1, 8, 8)
    assert digits.classes == 10
    assert digits.mean == (round(float(digits.train_inputs.mean()), 4),)
    assert digits.std == (round(float(digits.train_inputs.std()), 4),)
    both = torch.cat([digits.train_inputs, digits.test_inputs])
    assert (float(both.min()), float(both.max())) == (0.0, 1.0)
    assert torch.bincount(digits.test_targets).min() > 35
    images, _ = digit_arrays()
    assert sorted(map(bytes, (both * 16).byte().numpy())) == sorted(map(bytes, images))


def test_every_registered_dataset_says_in_one_line_what_it_is() -> None:
    pictures = ["digits", "mnist", "fashion-mnist", "cifar-10", "cifar-100", "tiny-imagenet"]
    logic = ["xor", "monks-1", "monks-2", "monks-3"]
    assert list(DATASETS) == [*pictures, *logic, "mnist-1d", "diabetes", "teacher", "text"]
    for name in DATASETS:
        assert 20 < len(DATASETS.summary(name)) < 110


def test_what_arrays_become() -> None:
    data = arrays()
    assert data.train_inputs.dtype == torch.uint8
    assert data.train_targets.dtype == torch.int64
    assert repr(data) == "Dataset('arrays', 6 train, 2 test, torch.uint8 (2, 4, 3), 3 classes)"
    assert arrays(train_inputs=IMAGES[:, 0], test_inputs=IMAGES[:2, 0]).train_inputs.shape == (6, 1, 4, 3)
    for kind in (np.float64, np.float16):
        floats = arrays(train_inputs=IMAGES.astype(kind), test_inputs=IMAGES[:2].astype(kind))
        assert floats.train_inputs.dtype == torch.float32
        assert floats.statistics() is None
    assert arrays(train_targets=torch.tensor(LABELS, dtype=torch.int8)).train_targets.tolist() == LABELS.tolist()
    assert arrays(class_names=["a", "b", "c", "d"]).classes == 4


def test_arrays_are_copied() -> None:
    images = IMAGES.copy()
    for source in (images, torch.from_numpy(images)):
        data = arrays(train_inputs=source)
        images[:] = 7
        assert data.train_inputs.numpy().tobytes() == IMAGES.tobytes()
        images[:] = IMAGES


def test_the_same_values_in_another_layout_are_the_same_data(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", FLOATS)
    expected = arrays(train_inputs=FLOATS, test_inputs=FLOATS[:2]).digest()
    wide = np.zeros((6, 2, 4, 6), np.float32)
    wide[..., ::2] = FLOATS
    for same in (
        FLOATS.astype(">f4"),
        np.flip(np.flip(FLOATS, 3).copy(), 3),
        np.asfortranarray(FLOATS),
        wide[..., ::2],
        np.load(tmp_path / "x.npy", mmap_mode="r"),
        torch.from_numpy(FLOATS).to_sparse(),
        torch.from_numpy(FLOATS).requires_grad_(),
        FLOATS.tolist(),
    ):
        assert arrays(train_inputs=same, test_inputs=FLOATS[:2]).digest() == expected
    assert arrays(train_targets=LABELS.astype(">i2")[::-1]).train_targets.tolist() == LABELS[::-1].tolist()


def test_what_may_be_wrong_is_told() -> None:
    apart = RNG.integers(0, 256, (2, 2, 4, 3), np.uint8)
    every = [0, 1, 2]
    fine = arrays(test_inputs=RNG.integers(0, 256, (3, 2, 4, 3), np.uint8), test_targets=every)
    assert fine.notes() == ()
    assert arrays(test_inputs=IMAGES[[4, 1, 4]], test_targets=every).notes() == (
        "dataset 'arrays': 3 of 3 test examples with the same input as a training example",
    )
    assert arrays(train_targets=LABELS + 1, test_inputs=apart, test_targets=[1, 3], name="ones").notes() == (
        "dataset 'ones': 1 of 4 classes without training examples, such as 0",
        "dataset 'ones': 2 of 4 classes without test examples, such as 0",
    )
    named = arrays(test_inputs=apart, test_targets=[0, 2], class_names=["cat", "dog", "owl"], remarks=["one left out"])
    assert named.notes() == (
        "dataset 'arrays': one left out",
        "dataset 'arrays': 1 of 3 classes without test examples, such as 'dog'",
    )
    other = RNG.random((3, 2, 4, 3))
    assert arrays(train_inputs=RNG.random((6, 2, 4, 3)), test_inputs=other, test_targets=every).notes() == ()
    (note,) = arrays(train_inputs=RNG.random((6, 2, 4, 3)), test_inputs=other * 255, test_targets=every).notes()
    assert re.fullmatch(r".*train_inputs lie in \[0\.\d+, 0\.\d+\] and test_inputs in \[.*\]; scale both alike", note)


def test_pairs_agree_with_arrays() -> None:
    train = TensorDataset(torch.from_numpy(IMAGES), torch.from_numpy(LABELS))
    test = [(image, int(label)) for image, label in zip(IMAGES[:2], LABELS[:2], strict=True)]
    assert Dataset.from_pairs(train, test).digest() == arrays().digest()
    assert Dataset.from_pairs(train, test, mean=[0.5], std=[2]).mean == (0.5,)


class NotPairs:
    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> Any:
        return IMAGES[index]


def test_wrong_pairs() -> None:
    good = [(IMAGES[0], 0)]
    from PIL import Image

    cases: list[tuple[Any, str]] = [
        (NotPairs(), r"item 0 of the train set must be \(input, label\), got ndarray"),
        ([], r"train set is empty"),
        ([(IMAGES[0], 0), (IMAGES[0, :1], 0)], r"inputs of one shape .* \[\(1, 4, 3\), \(2, 4, 3\)\]"),
        ([(IMAGES[0], [0, 1])], r"one class number an example"),
        ([(IMAGES[0], 0.5)], r"label 0 of the train set must be integers"),
        ([(IMAGES[0], None)], r"label 0 of the train set must be"),
        ([(Image.new("RGB", (3, 4)), 0)], r"is a PIL image; give the dataset a transform"),
    ]
    for bad, message in cases:
        with pytest.raises(DataError, match=message):
            Dataset.from_pairs(bad, good)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"train_targets": LABELS[:5]}, "train_targets must be as many as the inputs, got 5 for 6"),
        ({"train_targets": LABELS.astype(float)}, "train_targets must be integers, got torch.float64"),
        ({"train_targets": LABELS > 1}, "train_targets must be integers, got torch.bool"),
        ({"train_targets": LABELS[:, None]}, r"one class number an example, .* got torch.int64 \(6, 1\)"),
        ({"test_targets": [0, -1]}, "test_targets must be class numbers from 0 on, got -1"),
        ({"class_names": ["a", "b"]}, r"labels must be in \[0, 2\) .* got 2"),
        ({"train_inputs": BROKEN, "test_inputs": FLOATS[:2]}, "train_inputs must be finite, .* example 3"),
        ({"train_inputs": FLOATS, "test_inputs": np.full_like(FLOATS[:2], -np.inf)}, "must be finite"),
        ({"train_inputs": IMAGES[:0], "train_targets": LABELS[:0]}, "must hold at least one value"),
        ({"test_inputs": IMAGES[:0], "test_targets": LABELS[:0]}, "test_inputs must hold at least one value"),
        ({"test_inputs": IMAGES[:2, :, :2]}, "must be alike, got"),
        ({"test_inputs": FLOATS[:2]}, "must be alike, got"),
        ({"train_inputs": IMAGES[:, 0, 0]}, r"must be \(N, C, H, W\) if uint8"),
        ({"train_inputs": FLOATS[:, 0, 0, 0]}, r"with two dimensions or more if float32"),
        ({"train_inputs": IMAGES.astype(np.int64)}, "uint8 images or float32 values, got torch.int64"),
        ({"train_inputs": np.zeros((6, 8, 8, 3), np.uint8)}, "channels before height and width"),
        ({"train_inputs": np.zeros((6, 8, 8, 3), np.float32)}, "channels before height and width"),
        ({"train_inputs": np.zeros((6, 28, 28, 1), np.float32)}, "channels before height and width"),
        ({"train_inputs": np.ma.masked_less(FLOATS, 5)}, "train_inputs has masked values"),
        ({"train_inputs": IMAGES.astype(np.uint16)}, "uint8 images or float32 values, got torch.uint16"),
        ({"train_inputs": FLOATS.astype(np.complex64)}, "uint8 images or float32 values, got torch.complex64"),
        ({"train_inputs": FLOATS.astype(float) * 1e300, "test_inputs": FLOATS[:2]}, "train_inputs must be finite"),
        ({"train_inputs": [["a"]]}, "train_inputs must be a tensor or an array of numbers"),
        ({"train_inputs": [[1.0], [1.0, 2.0]]}, "train_inputs must be a tensor or an array of numbers"),
        ({"train_inputs": None}, "train_inputs must be a tensor or an array of numbers"),
    ],
)
def test_wrong_contents(change: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        arrays(**change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mean": [0.5]}, "mean and std must be given both or neither"),
        ({"mean": [0.5, 0.5, 0.5], "std": [1]}, r"mean must be one finite number, or one a channel \(2\)"),
        ({"mean": [0.5], "std": [float("nan")]}, "std must be one finite number"),
        ({"mean": [0.5], "std": [0]}, "std must be above 0"),
        ({"mean": [125.3], "std": [63.0]}, r"mean must be in \[0, 1\] for uint8 images"),
        ({"asymmetric": {0: 3}}, r"must map classes in \[0, 3\) to other classes, got 0 -> 3"),
        ({"asymmetric": {1: 1}}, "got 1 -> 1"),
    ],
)
def test_wrong_arguments(change: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        arrays(**change)


def test_the_constructor_checks_too() -> None:
    data = arrays()
    with pytest.raises(DataError, match=r"must be tensors on the CPU; use Dataset\.from_arrays"):
        dataclasses.replace(data, train_inputs=IMAGES)  # type: ignore[arg-type]
    with pytest.raises(DataError, match="must be tensors on the CPU"):
        dataclasses.replace(data, train_inputs=data.train_inputs.to("meta"))
    with pytest.raises(DataError, match="int64"):
        dataclasses.replace(data, train_targets=data.train_targets.int())
    with pytest.raises(OverparamError, match=r"got torch\.float64"):
        dataclasses.replace(data, train_inputs=data.train_inputs.double())


@given(st.integers(1, 4), st.integers(1, 3), st.data())
def test_statistics_are_those_of_torch(count: int, channels: int, draws: st.DataObject) -> None:
    size = count * channels * 4
    values = draws.draw(st.lists(st.integers(0, 255), min_size=size, max_size=size))
    images = torch.tensor(values, dtype=torch.uint8).view(count, channels, 2, 2)
    data = Dataset("x", images, torch.zeros(count).long(), images, torch.zeros(count).long())
    statistics = data.statistics()
    assert statistics is not None
    scaled = images.double().transpose(0, 1).flatten(1) / 255
    std, mean = torch.std_mean(scaled, dim=1, correction=0)
    std[(scaled == scaled[:, :1]).all(1)] = 1  # a constant channel is only shifted
    torch.testing.assert_close(torch.tensor(statistics[0]).double(), mean, rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(torch.tensor(statistics[1]).double(), std, rtol=1e-6, atol=1e-7)


def test_the_digest_is_that_of_the_contents() -> None:
    data = arrays()
    assert data.digest() == arrays(name="other", mean=[0.1], std=[1.0]).digest()
    changed = IMAGES.copy()
    changed[5, 1, 3, 2] ^= 1
    others = [
        arrays(train_inputs=changed),
        arrays(train_targets=[0, 1, 2, 2, 1, 1]),
        arrays(test_targets=[0, 0]),
        arrays(class_names=["a", "b", "c", "d"]),
        arrays(train_inputs=IMAGES.reshape(6, 2, 3, 4), test_inputs=IMAGES[:2].reshape(2, 2, 3, 4)),
        arrays(train_inputs=FLOATS, test_inputs=FLOATS[:2]),
    ]
    assert len({each.digest() for each in (data, *others)}) == 7


def test_xor_and_monks_problems_are_as_they_are_defined() -> None:
    xor = load_dataset("xor")
    assert xor.train_targets.tolist() == [int(one != two) for one, two in xor.train_inputs.tolist()]
    sizes = {"monks-1": 124, "monks-2": 169, "monks-3": 122}
    positive = {"monks-1": 216, "monks-2": 142, "monks-3": 228}
    for name, train in sizes.items():
        data = load_dataset(name)
        assert (len(data.train_targets), len(data.test_targets)) == (train, 432)
        assert data.test_inputs.shape[1] == 17
        assert len(set(map(tuple, data.test_inputs.tolist()))) == 432
        assert bool((data.test_inputs.sum(1) == 6).all()), "one value of each of six attributes"
        assert int(data.test_targets.sum()) == positive[name], "as often as in the published test sets"
        known = dict(zip(map(tuple, data.test_inputs.tolist()), data.test_targets.tolist(), strict=True))
        pairs = zip(map(tuple, data.train_inputs.tolist()), data.train_targets.tolist(), strict=True)
        wrong = sum(known[inputs] != label for inputs, label in pairs)
        assert wrong == (6 if name == "monks-3" else 0)
    first = load_dataset("monks-1")
    heads = {(0, 3, 6, 8, 11, 15): 1, (0, 4, 6, 8, 11, 15): 1, (0, 4, 6, 8, 12, 15): 0}
    pairs = zip(first.test_inputs, first.test_targets.tolist(), strict=True)
    places = {tuple(each.nonzero()[:, 0].tolist()): label for each, label in pairs}
    assert {key: places[key] for key in heads} == heads, "a1 = a2; a5 = 1; neither"
