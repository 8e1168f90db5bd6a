"""Datasets with real targets: one that was measured, and teachers that are drawn."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from overparam.errors import SpecError
from overparam.streams import FloatArray, indexed_uniforms, numpy_stream, stream_seed, torch_stream
from overparam.worlds.builtin import DATASETS
from overparam.worlds.dataset import Dataset
from overparam.worlds.embedded import diabetes_arrays
from overparam.worlds.task import Regression

DIABETES_TRAIN = 342


@DATASETS.named("diabetes")
def diabetes() -> Dataset:
    """Progress of diabetes from ten measurements, 342 train and 100 test; comes with overparam, needs no download.

    The 442 patients of :func:`overparam.worlds.embedded.diabetes_arrays`, shuffled once by the stream
    ``(0, "diabetes")``; the first 342 are for training. Inputs are normalised by the training set's means and
    deviations; so are the targets, always: a mean squared error of 1 is that of the mean.
    """
    features, target = diabetes_arrays()
    order = torch.randperm(len(target), generator=torch_stream(0, "diabetes")).numpy()
    inputs, targets = features[order], target[order]
    train, known = inputs[:DIABETES_TRAIN], targets[:DIABETES_TRAIN]
    targets = (targets - known.mean()) / known.std()
    return Dataset.from_arrays(
        train,
        targets[:DIABETES_TRAIN],
        inputs[DIABETES_TRAIN:],
        targets[DIABETES_TRAIN:],
        name="diabetes",
        mean=train.mean(0),
        std=train.std(0),
        task=Regression(1),
    )


@DATASETS.named("teacher")
def teacher(
    train: int = 200, test: int = 1000, inputs: int = 20, hidden: int = 0, noise: float = 0.1, seed: int = 0
) -> Dataset:
    """Outputs of a random teacher for Gaussian inputs, with noise; can be endless.

    Inputs ``(inputs,)`` are standard normal. The teacher is linear, ``x w`` with ``|w| = 1``, or with ``hidden`` units
    a network ``relu(x W) v`` with normal ``W`` and ``v`` of variance ``1 / inputs`` and ``2 / hidden``; its outputs
    have a mean square of about 1. Targets are ``(1,)``.

    Args:
        train, test: examples to train on, and to test with; >= 1.
        inputs: how many numbers an input has, >= 1.
        hidden: units of the teacher; 0: it is linear.
        noise: standard deviation of the Gaussian noise on the targets, those of the test set too: no student gets below
            a mean squared error of ``noise**2``.
        seed: of the teacher and the examples.

    Example:
        {teacher: {train: 100, hidden: 8, noise: 0.5}}
    """
    for name, value, least in (("train", train, 1), ("test", test, 1), ("inputs", inputs, 1), ("hidden", hidden, 0)):
        if not isinstance(value, int) or value < least:
            raise SpecError(f"dataset 'teacher': {name} must be a whole number from {least} on, got {value!r}")
    drawn = Teacher(inputs, hidden, float(noise), seed)
    parts = [
        each
        for name, count in (("train", train), ("test", test))
        for each in drawn(stream_seed(seed, "teacher", name), torch.arange(count))
    ]
    return Dataset.from_arrays(*parts, name="teacher", task=Regression(1), stream=drawn)


class Teacher:
    """A stream of examples of a random teacher; see :func:`teacher`."""

    def __init__(self, inputs: int, hidden: int, noise: float, seed: int) -> None:
        chance = numpy_stream(seed, "teacher", "weights", inputs, hidden)
        self.inputs, self.noise = inputs, noise
        self.first = chance.normal(size=(inputs, hidden or 1)) / np.sqrt(inputs)
        self.second = chance.normal(size=(hidden, 1)) * np.sqrt(2 / hidden) if hidden else None
        if self.second is None:
            self.first /= np.linalg.norm(self.first)

    def __call__(self, seed: int, indices: Tensor) -> tuple[Tensor, Tensor]:
        """Return inputs ``(N, inputs)`` and targets ``(N, 1)``, float32."""
        from scipy.special import ndtri

        drawn = ndtri(indexed_uniforms(seed, indices.numpy(), self.inputs + 1))
        outputs = _product(drawn[:, :-1], self.first)
        if self.second is not None:
            outputs = _product(np.maximum(outputs, 0), self.second)
        targets = outputs + self.noise * drawn[:, -1:]
        return torch.from_numpy(drawn[:, :-1]).float(), torch.from_numpy(targets).float()


def _product(left: FloatArray, right: FloatArray) -> FloatArray:
    """Return a matrix product that is summed in one order, however many rows there are, as BLAS does not promise."""
    total = np.zeros((len(left), right.shape[1]))
    for column, row in zip(left.T, right, strict=True):
        total += column[:, None] * row
    return total
