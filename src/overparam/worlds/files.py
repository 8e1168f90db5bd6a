"""Where data is found: folders the user names, places of the system, the cache, and at last a download."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import uuid
import warnings
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, BinaryIO, NamedTuple

from pydantic import Field

from overparam.errors import DataError
from overparam.folders import CACHE, cache_folder

DATA = "OVERPARAM_DATA"
"""Folders in which datasets are looked for, joined as in PATH; ``--data`` goes before it."""
MIRROR = "OVERPARAM_MIRROR"
"""Address under which each public dataset has a folder with its files, in place of its publisher's."""
Folder = Annotated[
    str | Path | None,
    Field(description="where its files are looked for before ``OVERPARAM_DATA``, the system's places and the cache."),
]
SYSTEM_FOLDERS = (Path("/usr/share/datasets"), Path("/usr/local/share/datasets"))


@dataclass(frozen=True)
class RemoteFile:
    """A file of a public dataset, and the addresses of the folders that have it.

    ``sha256`` is that of the content: of a ``.gz`` file that of what it unpacks to, because mirrors differ in
    how they compress; of a tar archive that of the file.
    """

    name: str
    sha256: str
    folders: tuple[str, ...]


class Found(NamedTuple):
    """A file that was found or downloaded: where, and its content, unpacked if it is a ``.gz`` file."""

    source: str
    content: bytes


def data_folders(folder: str | Path | None = None) -> list[Path]:
    """Return where data is looked for, in order: ``folder``, those in ``OVERPARAM_DATA``, the system's."""
    named = [str(folder)] if folder is not None else []
    named += [part for part in os.environ.get(DATA, "").split(os.pathsep) if part]
    return [*(Path(os.path.expanduser(part)) for part in named), *SYSTEM_FOLDERS]


def located(path: str, folder: str | Path | None, what: str) -> Path:
    """Return where a file or folder of the user's is: absolute, in a data folder, the cache or the current folder.

    Raises :class:`DataError`, naming ``what`` was wanted, if it is nowhere.
    """
    given = Path(os.path.expanduser(path))
    looked = [place / given for place in (*data_folders(folder), cache_folder(), Path())]
    for candidate in looked:
        if os.path.exists(candidate):
            return candidate
    raise DataError(
        f"cannot find the {what} {path!r}: looked for {', '.join(dict.fromkeys(map(str, looked)))}; "
        f"give an absolute path or name the folder that holds them in {DATA}"
    )


def places(dataset: str, folder: str | Path | None = None) -> list[Path]:
    """Return the folders in which a dataset's files may lie, in order; the last one is in the cache."""
    return [
        *(place for parent in data_folders(folder) for place in (parent / dataset, parent)),
        cache_folder() / dataset,
    ]


def find(dataset: str, alternatives: Sequence[Sequence[str]], folder: str | Path | None = None) -> list[Path] | None:
    """Return the files of the first alternative that one place holds in full; ``x`` will do for ``x.gz``."""
    for place in places(dataset, folder):
        for names in alternatives:
            found = [_present(place, name) for name in names]
            if all(found):
                return [path for path in found if path]
    return None


def _present(place: Path, name: str) -> Path | None:
    paths = (place / name, place / name.removesuffix(".gz"))
    return next((path for path in paths if os.path.isfile(path)), None)


def read_content(path: Path) -> bytes:
    """Return the content of a file, unpacked if it is compressed by gzip and no tar archive."""
    try:
        return _unpacked(path.read_bytes(), path.name)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: cannot be read ({error}); replace the file by an intact copy") from None


def _unpacked(content: bytes, name: str) -> bytes:
    packed = content[:2] == b"\x1f\x8b" and ".tar" not in Path(name).suffixes
    return gzip.decompress(content) if packed else content


def obtain(dataset: str, files: Sequence[RemoteFile], folder: str | Path | None = None) -> list[Found]:
    """Return the files of a dataset, found or else downloaded, checked, and kept in the cache.

    Raises :class:`DataError` that says where was looked, what was tried and how to provide the files.
    """
    found = find(dataset, [[file.name for file in files]], folder)
    if found:
        return [Found(str(path), read_content(path)) for path in found]
    return [_kept(dataset, file) or _downloaded(dataset, file, folder) for file in files]


def _kept(dataset: str, file: RemoteFile) -> Found | None:
    """Return the file if the cache has it, whole, from a download that was cut short after it."""
    target = cache_folder() / dataset / file.name
    try:
        found = Found(str(target), read_content(target))
    except DataError:
        return None
    return found if hashlib.sha256(found.content).hexdigest() == file.sha256 else None


def _downloaded(dataset: str, file: RemoteFile, folder: str | Path | None) -> Found:
    mirror = os.environ.get(MIRROR)
    bases = (f"{mirror.rstrip('/')}/{dataset}/",) if mirror else file.folders
    failures = []
    for base in bases:
        try:
            return _fetch(base + file.name, file, cache_folder() / dataset / file.name)
        except (OSError, EOFError, zlib.error, DataError) as error:  # those of requests are OSErrors too
            failures.append(f"{base}{file.name} ({_reason(error)})")
    looked = ", ".join(dict.fromkeys(str(place) for place in places(dataset, folder)))
    raise DataError(
        f"cannot find {file.name} of the dataset {dataset!r}: looked in {looked}; tried to download "
        f"{', '.join(failures)}; put the files into a folder and name it in {DATA}, "
        f"or name a mirror in {MIRROR}"
    )


def _fetch(url: str, file: RemoteFile, target: Path) -> Found:
    """Download a file and keep it at ``target`` once it is checked."""
    import pooch

    memory = io.BytesIO()
    pooch.HTTPDownloader(timeout=15)(url, memory, None)
    packed = memory.getvalue()
    content = _unpacked(packed, file.name)
    found = hashlib.sha256(content).hexdigest()
    if found != file.sha256:
        raise DataError(f"wrong checksum: SHA-256 {found} and not {file.sha256}")
    keep(target, lambda goal: goal.write(packed), "every process downloads the file")
    return Found(url, content)


def keep(path: Path, write: Callable[[BinaryIO], object], otherwise: str) -> None:
    """Write a file of the cache, whole or not at all.

    A cache that cannot be written, or is full, costs time and nothing else: a warning says that ``otherwise``.
    """
    partial = path.with_name(f".{uuid.uuid4().hex}-{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with partial.open("wb") as goal:
                write(goal)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        warnings.warn(
            f"cannot write to the cache folder {path.parent} ({error.strerror}), so {otherwise}; "
            f"name another folder in {CACHE}",
            stacklevel=3,
        )


def _reason(error: Exception) -> str:
    """Say in few words why a download failed; the library's text names its own objects."""
    if isinstance(error, DataError):
        return str(error)
    if isinstance(error, EOFError | zlib.error | gzip.BadGzipFile):
        return "damaged on the way"
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status is not None:
        return f"the server answered {status}"
    if type(error).__name__ == "ConnectionError":
        return "no connection"
    return getattr(error, "strerror", None) or type(error).__name__
