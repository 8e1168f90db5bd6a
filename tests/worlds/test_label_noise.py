from __future__ import annotations

import math
from decimal import ROUND_CEILING, ROUND_HALF_EVEN, Decimal
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from overparam.errors import SpecError
from overparam.worlds import LabelNoise
from overparam.worlds.builtin import CIFAR10_CONFUSIONS, DIGIT_CONFUSIONS

rates = st.decimals(0, 1, places=3).map(float) | st.floats(0, 1)
seeds = st.integers(0, 1000)
KINDS = ("symmetric", "random-labels", "asymmetric", "pair-flip")


@st.composite
def labelled(draw: st.DrawFn) -> tuple[Tensor, int]:
    classes = draw(st.integers(2, 12))
    labels = draw(st.lists(st.integers(0, classes - 1), min_size=1, max_size=80))
    return torch.tensor(labels), classes


def decimal_count(rate: float, size: int, rounding: str) -> int:
    return int((Decimal(repr(rate)) * size).to_integral_value(rounding))


@given(labelled(), rates, seeds)
def test_symmetric_changes_exactly_the_rounded_count(data: tuple[Tensor, int], rate: float, seed: int) -> None:
    labels, classes = data
    noisy = LabelNoise("symmetric", rate).apply(labels, classes, seed)
    assert int((noisy != labels).sum()) == decimal_count(rate, len(labels), ROUND_HALF_EVEN)
    assert 0 <= int(noisy.min()) <= int(noisy.max()) < classes


@given(labelled(), rates, seeds)
def test_random_labels_touch_at_most_the_ceiling(data: tuple[Tensor, int], rate: float, seed: int) -> None:
    labels, classes = data
    noisy = LabelNoise("random-labels", rate).apply(labels, classes, seed)
    assert int((noisy != labels).sum()) <= decimal_count(rate, len(labels), ROUND_CEILING)
    assert 0 <= int(noisy.min()) <= int(noisy.max()) < classes


@given(labelled(), rates, seeds)
def test_pair_flip_moves_an_exact_count_of_each_class_to_the_next(
    data: tuple[Tensor, int], rate: float, seed: int
) -> None:
    labels, classes = data
    noisy = LabelNoise("pair-flip", rate).apply(labels, classes, seed)
    for i in range(classes):
        members = noisy[labels == i]
        moved = decimal_count(rate, len(members), ROUND_CEILING)
        assert int((members == (i + 1) % classes).sum()) == moved
        assert int((members == i).sum()) == len(members) - moved


@given(st.lists(st.integers(0, 9), min_size=1, max_size=80).map(torch.tensor), rates, seeds)
def test_asymmetric_moves_an_exact_count_of_each_source_class(labels: Tensor, rate: float, seed: int) -> None:
    for confusions in (DIGIT_CONFUSIONS, CIFAR10_CONFUSIONS):
        noisy = LabelNoise("asymmetric", rate).apply(labels, 10, seed, confusions)
        for i in range(10):
            members = noisy[labels == i]
            moved = decimal_count(rate, len(members), ROUND_CEILING) if i in confusions else 0
            assert int((members != i).sum()) == moved
            assert int((members == confusions.get(i, -1)).sum()) == moved


@given(labelled(), rates, rates, seeds, st.sampled_from(KINDS))
def test_a_higher_rate_contains_the_lower_one(
    data: tuple[Tensor, int], one: float, other: float, seed: int, kind: Any
) -> None:
    labels, classes = data
    low, high = (LabelNoise(kind, rate).apply(labels, classes, seed, {0: 1}) for rate in sorted((one, other)))
    changed = low != labels
    assert torch.equal(high[changed], low[changed])


@given(labelled(), rates, seeds, st.sampled_from(KINDS))
def test_the_same_seed_gives_the_same_noise_and_leaves_the_labels_alone(
    data: tuple[Tensor, int], rate: float, seed: int, kind: Any
) -> None:
    labels, classes = data
    before = labels.clone()
    once, again = (LabelNoise(kind, rate).apply(labels, classes, seed, {0: 1}) for _ in range(2))
    assert torch.equal(once, again)
    assert torch.equal(labels, before)


@pytest.mark.parametrize(
    ("rate", "size", "changed"),
    [(0.2, 5, 1), (0.07, 100, 7), (0.1, 30, 3), (0.55, 100, 55), (0.2, 6, 2), (0.001, 10, 1), (0.0, 9, 0)],
)
def test_ceilings_are_those_of_the_written_decimal(rate: float, size: int, changed: int) -> None:
    # in floats 0.07 * 100 = 7.000000000000001 and 0.55 * 100 = 55.00000000000001
    noisy = LabelNoise("pair-flip", rate).apply(torch.zeros(size, dtype=torch.int64), 2, 0)
    assert int(noisy.sum()) == changed


def test_floats_would_have_miscounted() -> None:
    assert math.ceil(0.07 * 100) == 8
    assert math.ceil(0.55 * 100) == 56


def spread(counts: Tensor) -> float:
    """Chi-square statistic of counts against equal ones."""
    expected = counts.sum() / len(counts)
    return float(((counts - expected) ** 2 / expected).sum())


def test_symmetric_is_uniform_over_the_other_classes() -> None:
    labels = torch.full((90_000,), 3)
    noisy = LabelNoise("symmetric", 1.0).apply(labels, 10, 0)
    counts = torch.bincount(noisy, minlength=10).double()
    assert counts[3] == 0
    assert spread(counts[torch.arange(10) != 3]) < 26.1  # 0.1 % point of chi-square, 8 degrees of freedom


def test_random_labels_are_uniform_over_all_classes_and_flip_18_of_20_percent() -> None:
    labels = torch.arange(100_000) % 10
    everything = LabelNoise("random-labels", 1.0).apply(labels, 10, 0)
    assert spread(torch.bincount(everything, minlength=10).double()) < 27.9  # 0.1 % point, 9 degrees
    fifth = LabelNoise("random-labels", 0.2).apply(labels, 10, 0)
    realised = float((fifth != labels).double().mean())
    assert abs(realised - 0.18) < 4 * math.sqrt(0.2 * 0.9 * 0.1 / 100_000)


def test_seeds_differ() -> None:
    labels = torch.arange(1000) % 10
    one, other = (LabelNoise("symmetric", 0.2).apply(labels, 10, seed) for seed in (0, 1))
    assert not torch.equal(one, other)


def test_wrong_arguments() -> None:
    with pytest.raises(SpecError, match=r"LabelNoise.rate: input should be less than or equal to 1, got 1.5"):
        LabelNoise(rate=1.5)
    with pytest.raises(SpecError, match=r"LabelNoise.rate: .* greater than or equal to 0"):
        LabelNoise(rate=-0.1)
    with pytest.raises(SpecError, match=r"LabelNoise.kind: .*'asymmetric'.*got 'gaussian'"):
        LabelNoise(kind="gaussian")  # type: ignore[arg-type]
    with pytest.raises(SpecError, match="needs a map"):
        LabelNoise("asymmetric", 0.2).apply(torch.tensor([0, 1]), 2, 0)
    with pytest.raises(SpecError, match="two classes"):
        LabelNoise("symmetric", 0.2).apply(torch.tensor([0, 0]), 1, 0)
