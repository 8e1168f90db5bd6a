"""The Python form of CIFAR-10: batches that are pickles, read so that nothing in them can be executed."""

from __future__ import annotations

import io
import pickle
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from overparam.errors import DataError
from overparam.worlds.archives import read_members
from overparam.worlds.files import read_content

FOLDER = "cifar-10-batches-py"
TEST_BATCH = "test_batch"
PUBLISHED_MD5 = {
    "data_batch_1": "c99cafc152244af753f735de768cd75f",
    "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
    "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
    "data_batch_4": "634d18415352ddfa80567beed471001a",
    "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
    TEST_BATCH: "40351d587109b95175f43aff81a1287e",
}
TRAIN_BATCHES = tuple(name for name in PUBLISHED_MD5 if name != TEST_BATCH)
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


def read_batches(source: str, content: bytes | None = None) -> dict[str, tuple[str, bytes]]:
    """Return where it was found, and the content, of each batch: of a folder, or of a tar archive's ``content``.

    Raises :class:`DataError` if one is missing or cannot be read.
    """
    names = (*TRAIN_BATCHES, TEST_BATCH)
    if content is None:
        folder = Path(source)
        found = {name: (str(folder / name), read_content(folder / name)) for name in names if (folder / name).exists()}
    else:
        members = read_members(source, lambda name: Path(name).name in names, content)
        found = {Path(m.name).name: (f"{source}:{m.name}", batch) for m, batch in members if batch is not None}
    missing = [name for name in names if name not in found]
    if missing:
        raise DataError(f"{source}: lacks the CIFAR-10 batches {', '.join(missing)}; replace it by an intact copy")
    return found


def join(batches: Iterable[Batch]) -> Batch:
    """Return the examples of several batches as one."""
    images, labels = zip(*batches, strict=True)
    return Batch(np.concatenate(images), np.concatenate(labels))
