"""Small problems of logic, made by their definitions: XOR and MONK's problems."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from overparam.streams import torch_stream
from overparam.worlds.builtin import DATASETS
from overparam.worlds.dataset import Dataset
from overparam.worlds.embedded import Array

VALUES = (3, 3, 2, 3, 4, 2)
"""How many values each of the six attributes of MONK's problems has."""

WRONG = 0.05
"""Share of the training labels of MONK-3 that are wrong."""


@DATASETS.named("xor")
def xor() -> Dataset:
    """XOR: the four pairs of bits, and whether they differ; the test examples are the training examples."""
    inputs = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], dtype=np.float32)
    labels = np.array([0, 1, 1, 0])
    return Dataset.from_arrays(inputs, labels, inputs, labels, name="xor", class_names=["same", "different"])


@DATASETS.named("monks-1")
def monks_1() -> Dataset:
    """MONK-1: attribute 1 equals attribute 2, or attribute 5 is 1; 124 train of 432, 17 one-hot inputs.

    The first of the three problems of Thrun et al. (1991). The definition is theirs, the training examples are drawn
    here; the test examples are all 432, as they do it.
    """
    return _monks(1, 124, lambda a: (a[0] == a[1]) | (a[4] == 1))


@DATASETS.named("monks-2")
def monks_2() -> Dataset:
    """MONK-2: exactly two of the six attributes have their first value; 169 train of 432, 17 one-hot inputs."""
    return _monks(2, 169, lambda a: (a == 1).sum(0) == 2)


@DATASETS.named("monks-3")
def monks_3() -> Dataset:
    """MONK-3: 5 is 3 and 4 is 1, or 5 is not 4 and 2 is not 3; 122 train of 432, 5 % of them wrong.

    Those are attributes; 17 one-hot inputs. The test labels are all as defined.
    """
    return _monks(3, 122, lambda a: ((a[4] == 3) & (a[3] == 1)) | ((a[4] != 4) & (a[1] != 3)), WRONG)


def _monks(number: int, train: int, rule: Callable[[Array], Array], wrong: float = 0.0) -> Dataset:
    attributes = np.stack([each.ravel() + 1 for each in np.indices(VALUES)])
    inputs = np.concatenate([np.eye(count)[each - 1] for count, each in zip(VALUES, attributes, strict=True)], axis=1)
    labels = rule(attributes).astype(np.int64)
    name = f"monks-{number}"
    chosen = torch.randperm(len(labels), generator=torch_stream(0, name))[:train].numpy()
    trained = labels[chosen]
    trained[: round(wrong * train)] ^= 1
    return Dataset.from_arrays(inputs[chosen], trained, inputs, labels, name=name, class_names=["no", "yes"])
