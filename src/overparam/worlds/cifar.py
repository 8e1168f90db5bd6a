"""The Python form of CIFAR-10: batches that are pickles, read so that nothing in them can be executed."""

from __future__ import annotations

import io
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from overparam.errors import DataError
from overparam.worlds.archives import read_members

FOLDER = "cifar-10-batches-py"
TRAIN_BATCHES = tuple(f"data_batch_{number}" for number in range(1, 6))
TEST_BATCH = "test_batch"
_PIXELS = 3 * 32 * 32
_reconstruct = np.empty(0).__reduce__()[0]  # the module it lives in has changed its name


class Batch(NamedTuple):
    """Images ``(N, 3, 32, 32)`` and labels ``(N,)``."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]


class _ArraysOnly(pickle.Unpickler):
    """Unpickles numbers, bytes, containers and NumPy arrays, and refuses every other class or function."""

    def find_class(self, module: str, name: str) -> Any:
        if module in ("numpy.core.multiarray", "numpy._core.multiarray") and name == "_reconstruct":
            return _reconstruct
        if module == "numpy" and name in ("ndarray", "dtype"):
            return getattr(np, name)
        if (module, name) == ("_codecs", "encode"):  # how Python 3 writes bytes in Python 2's format
            return _latin1
        raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no CIFAR batch needs")


def _latin1(text: str, encoding: str) -> bytes:
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"it has bytes in the encoding {encoding!r}")
    return text.encode("latin1")


def parse_batch(content: bytes, source: str) -> Batch:
    """Return images and labels of one pickled batch; ``source`` names it in errors.

    Raises :class:`DataError` if it is damaged, asks for anything but arrays, or is no CIFAR-10 batch.
    """
    try:
        batch = _ArraysOnly(io.BytesIO(content), encoding="bytes").load()
    except Exception as error:  # noqa: BLE001  a damaged pickle can raise nearly anything
        raise DataError(
            f"{source}: cannot be read as a CIFAR-10 batch ({error}); replace it by an intact copy"
        ) from None
    fields = batch if isinstance(batch, dict) else {}
    images, labels = fields.get(b"data"), fields.get(b"labels")
    if not (isinstance(images, np.ndarray) and images.dtype == np.uint8 and images.shape[1:] == (_PIXELS,)):
        raise DataError(f"{source}: no CIFAR-10 batch, 'data' must be a uint8 array of shape (N, {_PIXELS})")
    if not (isinstance(labels, list) and all(isinstance(label, int) and 0 <= label < 10 for label in labels)):
        raise DataError(f"{source}: no CIFAR-10 batch, 'labels' must be a list of integers from 0 to 9")
    if len(labels) != len(images):
        raise DataError(f"{source}: damaged CIFAR-10 batch, {len(images)} images and {len(labels)} labels")
    return Batch(images.reshape(-1, 3, 32, 32), np.array(labels, np.int64))


def read_cifar(path: Path) -> tuple[Batch, Batch]:
    """Return training and test examples from a folder of batches, or from a tar archive of it."""
    batches = dict(_batches(path))
    missing = [name for name in (*TRAIN_BATCHES, TEST_BATCH) if name not in batches]
    if missing:
        raise DataError(f"{path}: lacks the CIFAR-10 batches {', '.join(missing)}; replace it by an intact copy")
    train = [batches[name] for name in TRAIN_BATCHES]
    return (
        Batch(np.concatenate([b.images for b in train]), np.concatenate([b.labels for b in train])),
        batches[TEST_BATCH],
    )


def _batches(path: Path) -> Iterator[tuple[str, Batch]]:
    wanted = {*TRAIN_BATCHES, TEST_BATCH}
    if path.is_dir():
        for name in sorted(wanted):
            if (path / name).is_file():
                yield name, parse_batch((path / name).read_bytes(), str(path / name))
    else:
        for member, content in read_members(path, lambda name: Path(name).name in wanted):
            yield Path(member).name, parse_batch(content, f"{path}:{member}")
