"""Pictures in class folders, in a folder or a tar archive, decoded once and kept in the cache."""

import hashlib
import io
import json
import uuid
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field

from overparam.errors import DataError
from overparam.folders import CACHE, cache_folder
from overparam.spec import spec
from overparam.worlds.archives import read_members
from overparam.worlds.dataset import Dataset
from overparam.worlds.files import DATA, data_folders

SUFFIXES = (".jpg", ".jpeg", ".png")
_FORMAT = 1  # of the cached file; bump it when decoding changes
_FIELDS = ("train_inputs", "train_labels", "test_inputs", "test_labels", "class_names")
Arrays = dict[str, NDArray[np.generic]]
Side = Annotated[int, Field(ge=1)]


@spec
class ImageFolder:
    """Images ``train/<class>/<name>`` and ``test/<class>/<name>`` (jpg, png) in a folder or a tar archive.

    Args:
        path: the folder or archive; if not absolute, looked for in the data folders (``OVERPARAM_DATA``, the
            system's), the cache, and the current folder.
        size: height and width to which images are brought (bilinearly) that have another size.
        channels: 3 for colour, 1 for grey.

    Classes are numbered in the order of their names, examples ordered by class and file name.
    """

    path: str
    size: tuple[Side, Side]
    channels: Literal[1, 3] = 3

    def load(self, folder: str | Path | None = None) -> Dataset:
        """Return the decoded images, from the cache if there; ``path`` is looked for in ``folder`` first.

        Raises :class:`DataError` if the path is not found, holds no such images, or one of them is damaged.
        """
        path = self._find(folder)
        kept = cache_folder() / "images" / f"{self._key(path)}.npz"
        arrays = _read_cache(kept)
        if arrays is None:
            arrays = self._decode(path)
            _write_cache(kept, arrays)
        train_inputs, train_labels, test_inputs, test_labels, names = (arrays[field] for field in _FIELDS)
        return Dataset(
            path.name.split(".")[0],
            torch.from_numpy(train_inputs),
            torch.from_numpy(train_labels),
            torch.from_numpy(test_inputs),
            torch.from_numpy(test_labels),
            class_names=tuple(str(name) for name in names),
        )

    def _find(self, folder: str | Path | None) -> Path:
        path = Path(self.path).expanduser()
        looked = [place / path for place in (*data_folders(folder), cache_folder(), Path())]
        for candidate in looked:
            if candidate.exists():
                return candidate
        raise DataError(
            f"cannot find the images {self.path!r}: looked for {', '.join(dict.fromkeys(map(str, looked)))}; "
            f"give an absolute path or name the folder that holds them in {DATA}"
        )

    def _key(self, path: Path) -> str:
        """Hash what the result depends on: the files, the wanted form, and the decoder's version."""
        import PIL

        sha = hashlib.sha256(json.dumps([_FORMAT, PIL.__version__, self.size, self.channels]).encode())
        if path.is_dir():
            for file in _files(path):
                status = file.stat()
                line = [file.relative_to(path).as_posix(), status.st_size, status.st_mtime_ns]
                sha.update(json.dumps(line).encode())
        else:
            with path.open("rb") as opened:
                sha.update(hashlib.file_digest(opened, "sha256").digest())
        return sha.hexdigest()

    def _decode(self, path: Path) -> Arrays:
        if path.is_dir():
            contents: Iterable[tuple[str, bytes]] = (
                (file.relative_to(path).as_posix(), file.read_bytes()) for file in _files(path)
            )
        else:
            contents = read_members(path, lambda name: _place(name) is not None)
        pictures: dict[str, list[tuple[str, str, NDArray[np.uint8]]]] = {"train": [], "test": []}
        for name, content in contents:
            place = _place(name)
            if place is not None:
                pictures[place[0]].append((place[1], name, self._picture(content, f"{path}:{name}")))
        for split, found in pictures.items():
            if not found:
                raise DataError(f"{path}: holds no images {split}/<class>/<name> ({', '.join(SUFFIXES)})")
            found.sort(key=lambda picture: picture[:2])
        names = sorted({label for label, _, _ in pictures["train"]})
        unknown = sorted({label for label, _, _ in pictures["test"]} - set(names))
        if unknown:
            raise DataError(f"{path}: the test classes {', '.join(unknown)} have no folder under train")
        numbers = {name: number for number, name in enumerate(names)}
        arrays: Arrays = {"class_names": np.array(names)}
        for split, found in pictures.items():
            arrays[f"{split}_inputs"] = np.stack([image for _, _, image in found])
            arrays[f"{split}_labels"] = np.array([numbers[label] for label, _, _ in found], np.int64)
        return arrays

    def _picture(self, content: bytes, source: str) -> NDArray[np.uint8]:
        from PIL import Image

        height, width = self.size
        try:
            with Image.open(io.BytesIO(content)) as opened:
                image = opened.convert("RGB" if self.channels == 3 else "L")
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            raise DataError(f"{source}: cannot be read as an image ({error}); remove or replace it") from None
        if image.size != (width, height):
            image = image.resize((width, height), Image.Resampling.BILINEAR)
        return np.asarray(image).reshape(height, width, self.channels).transpose(2, 0, 1)


def _place(name: str) -> tuple[str, str] | None:
    """Return split and class of ``.../train/<class>/<name>.png``, None for any other name."""
    path = PurePosixPath(name)
    if len(path.parts) < 3 or path.suffix.lower() not in SUFFIXES or path.name.startswith("."):
        return None
    split, label = path.parts[-3:-1]
    return (split, label) if split in ("train", "test") else None


def _files(folder: Path) -> Iterator[Path]:
    for split in ("train", "test"):
        yield from (file for file in sorted(folder.glob(f"{split}/*/*")) if _place(file.as_posix()))


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


def _write_cache(path: Path, arrays: Arrays) -> None:
    partial = path.with_name(f".{uuid.uuid4().hex}-{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            np.savez(partial, **arrays)  # type: ignore[arg-type]  # mypy takes an array for its flag
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        warnings.warn(
            f"cannot write to the cache folder {path.parent} ({error.strerror}), so every process decodes "
            f"the images; name another folder in {CACHE}",
            stacklevel=3,
        )
