"""Named streams of randomness: every use of chance has a generator of its own.

A stream is derived from ``(seed, purpose, names...)`` through SHA-256, so it is the same in every process and
on every machine, and changing one use of chance never shifts the numbers another one draws.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt
import torch

IndexArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]


def stream_seed(seed: int, purpose: str, *names: str | int) -> int:
    """Return the 63-bit seed of the stream ``(seed, purpose, names...)``.

    >>> stream_seed(0, "order", 3) == stream_seed(0, "order", 3)
    True
    >>> stream_seed(0, "order", 3) == stream_seed(0, "order", 4)
    False
    """
    text = "\x1f".join([str(int(seed)), purpose, *(str(name) for name in names)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def torch_stream(seed: int, purpose: str, *names: str | int) -> torch.Generator:
    """Return a CPU :class:`torch.Generator` for the stream."""
    return torch.Generator().manual_seed(stream_seed(seed, purpose, *names))


def numpy_stream(seed: int, purpose: str, *names: str | int) -> np.random.Generator:
    """Return a NumPy generator (PCG64) for the stream."""
    return np.random.default_rng(stream_seed(seed, purpose, *names))


def indexed_uniforms(seed: int, indices: IndexArray, count: int) -> FloatArray:
    """Return ``count`` numbers in (0, 1) for each index: float64 ``(N, count)``, a pure function of seed and index.

    Each index has a SplitMix64 stream of its own (Steele, Lea & Flood 2014, "Fast splittable pseudorandom number
    generators"), computed for all at once in whole numbers: what one index gets depends on no other, nor on the
    machine.
    """
    start = _mixed(np.uint64(seed & _WORD) + _GAMMA * (np.asarray(indices).astype(np.uint64) + _ONE))
    words = _mixed(start[:, None] + _GAMMA * (np.arange(count, dtype=np.uint64) + _ONE))
    return ((words >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53


_WORD = 2**64 - 1
_ONE, _GAMMA = np.uint64(1), np.uint64(0x9E3779B97F4A7C15)


def _mixed(words: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Return SplitMix64's finaliser of each word."""
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))


@contextmanager
def global_stream(seed: int, purpose: str, *names: str | int) -> Iterator[None]:
    """Run a block with the global generators of torch, Python and NumPy set to the stream, then put them back.

    Those of torch are the one of the CPU and, once CUDA is in use, those of its cards.
    For code that cannot be handed a generator: constructors of modules, dropout, whatever users write.
    """
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002
    try:
        cards = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()  # type: ignore[no-untyped-call]
        with torch.random.fork_rng(devices=cards):
            # torch.manual_seed would also keep a stack trace for every kind of device that is not there
            torch.default_generator.manual_seed(stream_seed(seed, purpose, *names))
            if cards:
                torch.cuda.manual_seed_all(stream_seed(seed, purpose, *names))
            random.seed(stream_seed(seed, purpose, *names, "random"))
            np.random.seed(stream_seed(seed, purpose, *names, "numpy") % 2**32)  # noqa: NPY002
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002
