"""Pictures in class folders, in a folder or a tar archive, decoded once and kept in the cache."""

import hashlib
import json
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field

from overparam.errors import DataError
from overparam.folders import cache_folder
from overparam.spec import spec
from overparam.worlds.archives import read_members
from overparam.worlds.class_folders import SPLITS, Arrangement, Entry, Parts, arrange, entries
from overparam.worlds.dataset import Dataset
from overparam.worlds.files import keep, located
from overparam.worlds.pictures import decode

_FORMAT = 3  # of the cached file; bump it when decoding or its fields change
_FIELDS = ("train_inputs", "train_targets", "test_inputs", "test_targets", "class_names", "remarks")
Arrays = dict[str, NDArray[np.generic]]
Side = Annotated[int, Field(ge=1)]


@spec
class ImageFolder:
    """Images ``train/<class>/<name>`` and ``test/<class>/<name>`` in a folder or a tar archive.

    Read are jpg, png, bmp, webp, tiff, ppm and pgm, turned as their EXIF orientation says. Hidden files and folders are
    no images and no classes; what is left out is told by :meth:`Dataset.notes`.

    Args:
        path: the folder or archive; if not absolute, looked for in the data folders (``OVERPARAM_DATA``, the
            system's), the cache, and the current folder.
        size: height and width to which images are brought (bilinearly) that have another size.
        channels: 3 for colour, 1 for grey.

    Classes are numbered in the order of their names, examples ordered by class and file name.

    Example:
        {path: images.tar.xz, size: [32, 32]}
    """

    path: str
    size: tuple[Side, Side]
    channels: Literal[1, 3] = 3

    def load(self, folder: str | Path | None = None) -> Dataset:
        """Return the decoded images, from the cache if there; ``path`` is looked for in ``folder`` first.

        Raises :class:`DataError` if the path is not found, holds no such images, or one of them is damaged.
        """
        path = located(self.path, folder, "images")
        arranged = arrange(path, entries(path)) if path.is_dir() else None
        arrays = decoded_once(
            self._key(path, arranged),
            lambda: self._decode_archive(path) if arranged is None else self._decode_folder(path, arranged),
        )
        return as_dataset(path.name.split(".")[0], arrays)

    def _key(self, path: Path, arranged: Arrangement | None) -> str:
        """Hash what the result depends on: the files' contents, the wanted form, and the decoder's version."""
        import PIL

        sha = hashlib.sha256(json.dumps([_FORMAT, PIL.__version__, self.size, self.channels]).encode())
        if arranged is None:
            sha.update(digest_of(path))
        else:
            sha.update(json.dumps([arranged.pictures, arranged.remarks]).encode())
            for parts in _parts(arranged):
                sha.update(digest_of(path.joinpath(*parts)))
        return sha.hexdigest()

    def _decode_folder(self, path: Path, arranged: Arrangement) -> Arrays:
        decoded = {}
        for parts in _parts(arranged):
            file = path.joinpath(*parts)
            decoded[parts] = decode(_read(file), self.size, self.channels, str(file))
        return _arrays(arranged, decoded)

    def _decode_archive(self, path: Path) -> Arrays:
        found, decoded = [], {}
        for member, content in read_members(path, lambda name: Entry(_split(name), "file").picture):
            parts = _split(member.name)
            if member.isfile():
                found.append(Entry(parts, "file"))
            elif not member.isdir():
                found.append(Entry(parts, "link"))
            elif len(parts) > 1 and parts[-2] in SPLITS:  # all that matters of folders is which classes there are
                found.append(Entry(parts, "folder"))
            if content is not None:
                decoded[parts] = decode(content, self.size, self.channels, f"{path}:{member.name}")
        return _arrays(arrange(path, found), decoded)


def decoded_once(key: str, decoded: Callable[[], Arrays]) -> Arrays:
    """Return decoded pictures: those that the cache has under ``key``, or else what is made now, to be kept there."""
    kept = cache_folder() / "images" / f"{key}.npz"
    arrays = _read_cache(kept)
    if arrays is not None:
        return arrays
    made = decoded()
    keep(kept, lambda goal: np.savez(goal, **made), "every process decodes the images")  # type: ignore[arg-type]
    return made


def as_dataset(name: str, arrays: Arrays, **more: Any) -> Dataset:
    """Return a dataset of decoded pictures, with ``more`` of its fields."""
    train_inputs, train_targets, test_inputs, test_targets, names, remarks = (arrays[field] for field in _FIELDS)
    return Dataset(
        name,
        torch.from_numpy(train_inputs),
        torch.from_numpy(train_targets),
        torch.from_numpy(test_inputs),
        torch.from_numpy(test_targets),
        class_names=tuple(str(name) for name in names),
        remarks=tuple(str(remark) for remark in remarks),
        **more,
    )


def _split(name: str) -> Parts:
    return PurePosixPath(name).parts


def _parts(arranged: Arrangement) -> Iterable[Parts]:
    return (parts for pictures in arranged.pictures.values() for _, parts in pictures)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None


def digest_of(path: Path) -> bytes:
    """Return the SHA-256 of a file; raises :class:`DataError` if it cannot be read."""
    try:
        with path.open("rb") as opened:
            return hashlib.file_digest(opened, "sha256").digest()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None


def _arrays(arranged: Arrangement, decoded: dict[Parts, NDArray[np.uint8]]) -> Arrays:
    numbers = {name: number for number, name in enumerate(arranged.classes)}
    arrays: Arrays = {"class_names": np.array(arranged.classes), "remarks": np.array(arranged.remarks, np.str_)}
    for split, pictures in arranged.pictures.items():
        arrays[f"{split}_inputs"] = np.stack([decoded[parts] for _, parts in pictures])
        arrays[f"{split}_targets"] = np.array([numbers[label] for label, _ in pictures], np.int64)
    return arrays


def _read_cache(path: Path) -> Arrays | None:
    """Return the arrays of a cached file; None if there is none, or a damaged one (zip has checksums)."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as kept:
            return {field: kept[field] for field in _FIELDS}
    except (FileNotFoundError, NotADirectoryError):
        return None
    except Exception as error:  # noqa: BLE001  a damaged file can raise nearly anything
        warnings.warn(f"{path} is damaged ({error}); the images are decoded again", stacklevel=3)
        return None
