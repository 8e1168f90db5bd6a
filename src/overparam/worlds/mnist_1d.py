"""MNIST-1D: ten one-dimensional patterns, transformed at random; a generator, so there are as many as one likes."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from overparam.streams import FloatArray, indexed_uniforms, stream_seed
from overparam.worlds.builtin import DATASETS
from overparam.worlds.dataset import Dataset

TEMPLATES = np.array(
    [
        [5, 6, 6.5, 6.75, 7, 7, 7, 7, 6.75, 6.5, 6, 5],
        [5, 3, 3, 3.4, 3.8, 4.2, 4.6, 5, 5.4, 5.8, 5, 5],
        [5, 6, 6.5, 6.5, 6, 5.25, 4.75, 4, 3.5, 3.5, 4, 5],
        [5, 6, 6.5, 6.5, 6, 5, 5, 6, 6.5, 6.5, 6, 5],
        [5, 4.4, 3.8, 3.2, 2.6, 2.6, 5, 5, 5, 5, 5, 5],
        [5, 3, 3, 3, 3, 5, 6, 6.5, 6.5, 6, 4.5, 5],
        [5, 4, 3.5, 3.25, 3, 3, 3, 3, 3.25, 3.5, 4, 5],
        [5, 7, 7, 6.6, 6.2, 5.8, 5.4, 5, 4.6, 4.2, 5, 5],
        [5, 4, 3.5, 3.5, 4, 5, 5, 4, 3.5, 3.5, 4, 5],
        [5, 4, 3.5, 3.5, 4, 5, 5, 5, 5, 4.7, 4.3, 5],
    ]
)
"""The pattern of each class, at 12 points."""

PADDING = (36, 60)  # zeros behind a pattern, both ends included
LENGTH = TEMPLATES.shape[1] + PADDING[1]  # points while it is transformed
POINTS = 40  # points of an example
SCALE, SHIFT, SHEAR = 0.4, 48, 0.75  # how far amplitude, place and slope may differ
CORRELATED, WHITE, WIDTH = 0.25, 0.02, 2  # amplitudes of both kinds of noise; the first is smoothed over this width
MEAN, STD = -0.0060, 0.1548  # of 200,000 examples: fixed, so that no stream depends on its own statistics


@DATASETS.named("mnist-1d")
def mnist_1d(train: int = 4000, test: int = 1000) -> Dataset:
    """MNIST-1D: 40 points of one of ten patterns, 4,000 train and 1,000 test; needs no download, can be endless.

    As many as wanted (``{mnist-1d: {train: 4000, test: 12000}}``) of the examples that Greydanus (2020,
    arXiv:2011.14439) defines, ``(1, 40)`` float32: a pattern is padded, stretched, scaled, shifted, laid over smooth
    noise, sheared and sampled. They are drawn by our own generator, so they are others than the published ones, of the
    same distribution. The classes are balanced here as in the published set, and drawn at random in the endless stream.

    Args:
        train, test: examples to train on, and to test with.

    Example:
        {mnist-1d: {train: 4000, test: 12000}}
    """
    parts = []
    for name, count in (("train", train), ("test", test)):
        indices = torch.arange(count)
        parts += [_examples(stream_seed(0, "mnist-1d", name), indices, indices % 10), indices % 10]
    names = [str(digit) for digit in range(10)]
    return Dataset.from_arrays(*parts, name="mnist-1d", mean=[MEAN], std=[STD], class_names=names, stream=stream)


def stream(seed: int, indices: Tensor) -> tuple[Tensor, Tensor]:
    """Return the examples of an endless stream with these numbers: inputs ``(N, 1, 40)`` and classes ``(N,)``."""
    chances = indexed_uniforms(stream_seed(seed, "mnist-1d", "classes"), indices.numpy(), 1)
    classes = torch.from_numpy((chances[:, 0] * 10).astype(np.int64))
    return _examples(seed, indices, classes), classes


def _examples(seed: int, indices: Tensor, classes: Tensor) -> Tensor:
    """Return examples of the given classes, as the paper makes them, float32 ``(N, 1, 40)``."""
    from scipy.ndimage import gaussian_filter1d  # half a second to import, for the one dataset that needs it
    from scipy.special import ndtri

    chances = indexed_uniforms(seed, indices.numpy(), 4 + 2 * LENGTH)
    padding, scale, shift, shear = chances[:, :4].T
    smooth, white = ndtri(chances[:, 4:]).reshape(-1, 2, LENGTH).transpose(1, 0, 2)
    signal = _stretched(_patterns()[classes.numpy()], PADDING[0] + _below(padding, PADDING[1] - PADDING[0] + 1))
    signal = signal * (1 + SCALE * (scale - 0.5))[:, None]
    places = (np.arange(LENGTH) - _below(shift, SHIFT).astype(np.int64)[:, None]) % LENGTH
    signal = np.take_along_axis(signal, places, 1)
    signal = np.where(signal == 0, gaussian_filter1d(CORRELATED * smooth, WIDTH, axis=1), signal) + WHITE * white
    signal -= SHEAR * (shear - 0.5)[:, None] * np.linspace(-0.5, 0.5, LENGTH)
    places = np.arange(POINTS) * ((LENGTH - 1) / (POINTS - 1))
    return torch.from_numpy(_between(signal, np.broadcast_to(places, (len(signal), POINTS)))).float().unsqueeze(1)


def _patterns() -> FloatArray:
    """Return the templates, standardised, beginning at (nearly) 0: exactly 0 is where noise will be."""
    found = (TEMPLATES - TEMPLATES.mean(1, keepdims=True)) / TEMPLATES.std(1, keepdims=True)
    return np.asarray((found - found[:, :1]) / 6 + 1e-8)


def _stretched(patterns: FloatArray, padding: FloatArray) -> FloatArray:
    """Pad patterns with that many zeros each, and stretch the whole to one length."""
    padded = np.pad(patterns, ((0, 0), (0, PADDING[1])))
    ends = patterns.shape[1] + padding - 1
    return _between(padded, np.arange(LENGTH) * (ends / (LENGTH - 1))[:, None])


def _between(signals: FloatArray, places: FloatArray) -> FloatArray:
    """Interpolate each signal linearly at its places."""
    before = np.minimum(places.astype(np.int64), signals.shape[1] - 2)
    low, high = (np.take_along_axis(signals, before + step, 1) for step in (0, 1))
    return np.asarray(low + (places - before) * (high - low))


def _below(chances: FloatArray, end: int) -> FloatArray:
    return np.floor(chances * end)
