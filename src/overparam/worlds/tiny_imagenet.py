"""Tiny-ImageNet as it was published (Stanford's CS231N, 2015): a zip archive, or the folder that it unpacks to.

``train/<id>/images/*.JPEG`` are the training pictures of a class; those under ``val`` have their classes in
``val_annotations.txt`` and are the test set, since the labels of ``test`` were never published.
"""

from __future__ import annotations

import hashlib
import os
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from overparam.errors import DataError
from overparam.worlds.files import DATA, find, places
from overparam.worlds.images import Arrays, decoded_once, digest_of
from overparam.worlds.pictures import decode

FOLDER = "tiny-imagenet-200"
ARCHIVE = f"{FOLDER}.zip"
ADDRESS = f"http://cs231n.stanford.edu/{ARCHIVE}"
SIDE = 64
_FORMAT = 1  # of the cached file; bump it when its contents change


class Files(NamedTuple):
    """What lies in the folder or archive: where that is, names relative to it, a way to read one, and a digest."""

    where: str
    names: frozenset[str]
    read: Callable[[str], bytes]
    digest: Callable[[], bytes]


class Listed(NamedTuple):
    """Classes in order, with their names, and the pictures of both splits as name and class."""

    classes: tuple[str, ...]
    train: list[tuple[str, int]]
    test: list[tuple[str, int]]


def arrays_of(folder: str | Path | None) -> Arrays:
    """Return the decoded pictures and labels, from the cache if they are there.

    Raises :class:`DataError` if it is nowhere, saying where to get it, or if something in it is missing or damaged.
    """
    alternatives = [[f"{FOLDER}/wnids.txt"], ["wnids.txt"], [ARCHIVE]]
    found = find("tiny-imagenet", alternatives, folder)
    if not found:
        looked = ", ".join(dict.fromkeys(str(place) for place in places("tiny-imagenet", folder)))
        raise DataError(
            f"cannot find {ARCHIVE} or the folder {FOLDER} of the dataset 'tiny-imagenet': looked in {looked}; "
            f"get it from {ADDRESS}, put it into a folder and name that in {DATA}"
        )
    (path,) = found
    files = _of_archive(path) if path.name == ARCHIVE else _of_folder(path.parent)
    key = hashlib.sha256(f"tiny-imagenet {_FORMAT}".encode() + files.digest()).hexdigest()
    return decoded_once(key, lambda: _decoded(files, listed(files)))


def listed(files: Files) -> Listed:
    """Return what the lists say; raises :class:`DataError` for a class without pictures, or a picture without class."""
    ids = sorted(line.strip() for line in _lines(files, "wnids.txt"))
    numbers = {name: number for number, name in enumerate(ids)}
    words = dict(line.split("\t", 1) for line in _lines(files, "words.txt") if "\t" in line)
    train = sorted((name, numbers[parts[1]]) for name, parts in _pictures(files) if parts[1] in numbers)
    empty = [ids[number] for number in sorted(set(numbers.values()) - {label for _, label in train})]
    if empty:
        raise DataError(
            f"{files.where}: the classes {', '.join(empty[:5])} have no pictures; replace it by a whole copy"
        )
    test = sorted(_annotated(files, line, numbers) for line in _lines(files, "val/val_annotations.txt"))
    return Listed(tuple(words.get(name, name).strip() for name in ids), train, test)


def _pictures(files: Files) -> Iterator[tuple[str, list[str]]]:
    """Yield the training pictures with the parts of their names, the second of which is the class."""
    for name in files.names:
        parts = name.split("/")
        if len(parts) == 4 and (parts[0], parts[2]) == ("train", "images") and name.lower().endswith(".jpeg"):
            yield name, parts


def _annotated(files: Files, line: str, numbers: dict[str, int]) -> tuple[str, int]:
    name, label, *_ = [*line.split("\t"), "", ""]
    picture = f"val/images/{name}"
    if label not in numbers or picture not in files.names:
        what = f"a picture {picture!r}" if label in numbers else f"a class {label!r}"
        raise DataError(f"{files.where}: val_annotations.txt names {what}, which there is not")
    return picture, numbers[label]


def _lines(files: Files, name: str) -> list[str]:
    if name not in files.names:
        raise DataError(f"{files.where}: lacks {name}; replace it by a whole copy")
    return [line for line in files.read(name).decode("utf-8", "replace").splitlines() if line.strip()]


def _decoded(files: Files, found: Listed) -> Arrays:
    arrays: Arrays = {"class_names": np.array(found.classes), "remarks": np.array([], np.str_)}
    for split, pictures in (("train", found.train), ("test", found.test)):
        made = np.empty((len(pictures), 3, SIDE, SIDE), np.uint8)
        for place, (name, _) in enumerate(pictures):
            made[place] = decode(files.read(name), (SIDE, SIDE), 3, f"{files.where}/{name}")
        arrays[f"{split}_inputs"] = made
        arrays[f"{split}_targets"] = np.array([label for _, label in pictures], np.int64)
    return arrays


def _of_folder(folder: Path) -> Files:
    names = sorted(_below(folder))

    def read(name: str) -> bytes:
        try:
            return (folder / name).read_bytes()
        except OSError as error:
            raise DataError(f"{folder / name}: cannot be read ({error.strerror})") from None

    def digest() -> bytes:
        parts: Sequence[bytes] = [name.encode() + digest_of(folder / name) for name in names]
        return hashlib.sha256(b"".join(parts)).digest()

    return Files(str(folder), frozenset(names), read, digest)


def _below(folder: Path) -> Iterator[str]:
    for above, _, names in os.walk(folder):
        inside = Path(above).relative_to(folder)
        if inside.parts[:1] != ("test",):
            yield from ((inside / name).as_posix() for name in names if not name.startswith("."))


def _of_archive(path: Path) -> Files:
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError) as error:
        raise DataError(f"{path}: cannot be read as a zip archive ({error}); replace it by an intact copy") from None
    start = f"{FOLDER}/"
    names = (name.removeprefix(start) for name in archive.namelist() if name.startswith(start))

    def read(name: str) -> bytes:
        try:
            return archive.read(start + name)
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError) as error:
            raise DataError(f"{path}:{name}: cannot be read ({error}); replace the archive by an intact copy") from None

    return Files(str(path), frozenset(names), read, lambda: digest_of(path))
