"""The Python forms of CIFAR-10 and CIFAR-100: pickles, read so that nothing in them can be executed."""

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

TEST_BATCH = "test_batch"
PUBLISHED_MD5 = {
    "data_batch_1": "c99cafc152244af753f735de768cd75f",
    "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
    "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
    "data_batch_4": "634d18415352ddfa80567beed471001a",
    "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
    TEST_BATCH: "40351d587109b95175f43aff81a1287e",
}
PUBLISHED_MD5_100 = {
    "train": "16019d7e3df5f24257cddd939b257f8d",
    "test": "f0ef6b0ae62326f3e7ffdfab6717acfc",
    "meta": "7973b15100ade9c7d40fb424638fde48",
}
TRAIN_BATCHES = tuple(name for name in PUBLISHED_MD5 if name != TEST_BATCH)


class Form(NamedTuple):
    """How a dataset was published: its name, its archive's folder, its files, and the key under which labels are."""

    title: str
    folder: str
    files: tuple[str, ...]
    labels: str
    classes: int


CIFAR_10 = Form("CIFAR-10", "cifar-10-batches-py", tuple(PUBLISHED_MD5), "labels", 10)
CIFAR_100 = Form("CIFAR-100", "cifar-100-python", tuple(PUBLISHED_MD5_100), "fine_labels", 100)
_PIXELS = 3 * 32 * 32
SUPER_CLASSES = 20
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


def parse_batch(content: bytes, source: str, form: Form = CIFAR_10) -> Batch:
    """Return images and labels of one pickled batch; ``source`` names it in errors.

    Raises :class:`DataError` if it is damaged, asks for anything but arrays, or is no batch of this form.
    """
    fields = _fields(content, source, form)
    images = fields.get(b"data")
    if not (isinstance(images, np.ndarray) and images.dtype == np.uint8 and images.shape[1:] == (_PIXELS,)):
        raise DataError(f"{source}: no {form.title} batch, 'data' must be a uint8 array of shape (N, {_PIXELS})")
    labels = _labels(fields, form.labels, form.classes, source, form)
    if len(labels) != len(images):
        raise DataError(f"{source}: damaged {form.title} batch, {len(images)} images and {len(labels)} labels")
    return Batch(images.reshape(-1, 3, 32, 32), labels)


def parse_coarse(content: bytes, source: str) -> NDArray[np.int64]:
    """Return the super-classes ``(N,)``, 0 to 19, of a batch of CIFAR-100; raises :class:`DataError` without them."""
    return _labels(_fields(content, source, CIFAR_100), "coarse_labels", SUPER_CLASSES, source, CIFAR_100)


def parse_names(content: bytes, source: str) -> tuple[str, ...]:
    """Return the names of the 100 classes in CIFAR-100's ``meta``; raises :class:`DataError` if it is none."""
    names = _fields(content, source, CIFAR_100).get(b"fine_label_names")
    if not (isinstance(names, list) and len(names) == CIFAR_100.classes and all(isinstance(n, bytes) for n in names)):
        raise DataError(f"{source}: no meta file of CIFAR-100, 'fine_label_names' must be a list of 100 names")
    return tuple(name.decode("ascii", "replace") for name in names)


def confusions_within(fine: NDArray[np.int64], coarse: NDArray[np.int64]) -> dict[int, int]:
    """Return for each class the next one of its super-class, the last one's being the first.

    >>> confusions_within(np.array([0, 4, 7, 1, 2]), np.array([0, 0, 0, 1, 1]))
    {0: 4, 4: 7, 7: 0, 1: 2, 2: 1}
    """
    members = [sorted(set(fine[coarse == group].tolist())) for group in sorted(set(coarse.tolist()))]
    return {here: after for group in members for here, after in zip(group, [*group[1:], group[0]], strict=True)}


def _fields(content: bytes, source: str, form: Form) -> dict[bytes, Any]:
    try:
        batch = _ArraysOnly(io.BytesIO(content), encoding="bytes").load()
    except Exception as error:  # noqa: BLE001  a damaged pickle can raise nearly anything
        raise DataError(
            f"{source}: cannot be read as a {form.title} batch ({error}); replace it by an intact copy"
        ) from None
    return batch if isinstance(batch, dict) else {}


def _labels(fields: dict[bytes, Any], key: str, classes: int, source: str, form: Form) -> NDArray[np.int64]:
    labels = fields.get(key.encode())
    if not (isinstance(labels, list) and all(isinstance(label, int) and 0 <= label < classes for label in labels)):
        raise DataError(f"{source}: no {form.title} batch, {key!r} must be a list of integers from 0 to {classes - 1}")
    return np.array(labels, np.int64)


def read_batches(source: str, content: bytes | None = None, form: Form = CIFAR_10) -> dict[str, tuple[str, bytes]]:
    """Return where it was found, and the content, of each file: of a folder, or of a tar archive's ``content``.

    Raises :class:`DataError` if one is missing or cannot be read.
    """
    if content is None:
        folder = Path(source)
        there = [name for name in form.files if (folder / name).exists()]
        found = {name: (str(folder / name), read_content(folder / name)) for name in there}
    else:
        members = read_members(source, lambda name: Path(name).name in form.files, content)
        found = {Path(m.name).name: (f"{source}:{m.name}", batch) for m, batch in members if batch is not None}
    missing = [name for name in form.files if name not in found]
    if missing:
        raise DataError(f"{source}: lacks the {form.title} batches {', '.join(missing)}; replace it by an intact copy")
    return found


def join(batches: Iterable[Batch]) -> Batch:
    """Return the examples of several batches as one."""
    images, labels = zip(*batches, strict=True)
    return Batch(np.concatenate(images), np.concatenate(labels))
