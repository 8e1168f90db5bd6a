"""Where data is found: folders the user names, places of the system, the cache, and at last a download."""

from __future__ import annotations

import gzip
import hashlib
import os
import uuid
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from overparam.errors import DataError
from overparam.folders import CACHE, cache_folder

DATA = "OVERPARAM_DATA"
MIRROR = "OVERPARAM_MIRROR"
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


def data_folders(folder: str | Path | None = None) -> list[Path]:
    """Return where data is looked for, in order: ``folder``, those in ``OVERPARAM_DATA``, the system's."""
    named = [str(folder)] if folder is not None else []
    named += [part for part in os.environ.get(DATA, "").split(os.pathsep) if part]
    return [*(Path(part).expanduser() for part in named), *SYSTEM_FOLDERS]


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
    return next((path for path in paths if path.exists()), None)


def read_content(path: Path) -> bytes:
    """Return the content of a file, unpacked if it is compressed by gzip and no tar archive."""
    try:
        content = path.read_bytes()
        packed = content[:2] == b"\x1f\x8b" and ".tar" not in path.suffixes
        return gzip.decompress(content) if packed else content
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: cannot be read ({error}); replace the file by an intact copy") from None


def obtain(dataset: str, files: Sequence[RemoteFile], folder: str | Path | None = None) -> list[Path]:
    """Return the files of a dataset, found or else downloaded into the cache and checked.

    Raises :class:`DataError` that says where was looked, what was tried and how to provide the files.
    """
    found = find(dataset, [[file.name for file in files]], folder)
    return found or [_download(dataset, file, folder) for file in files]


def _download(dataset: str, file: RemoteFile, folder: str | Path | None) -> Path:
    target = cache_folder() / dataset / file.name
    if target.exists():  # from a download that was cut short after this file
        return target
    mirror = os.environ.get(MIRROR)
    bases = (f"{mirror.rstrip('/')}/{dataset}/",) if mirror else file.folders
    failures = []
    for base in bases:
        failure = _fetch(base + file.name, file.sha256, target)
        if failure is None:
            return target
        failures.append(f"{base}{file.name} ({failure})")
    looked = ", ".join(dict.fromkeys(str(place) for place in places(dataset, folder)))
    raise DataError(
        f"cannot find {file.name} of the dataset {dataset!r}: looked in {looked}; tried to download "
        f"{', '.join(failures)}; put the files into a folder and name it in {DATA}, "
        f"or name a mirror in {MIRROR}"
    )


def _fetch(url: str, sha256: str, target: Path) -> str | None:
    """Download ``url`` to ``target``, where only a checked file gets; return why it failed, or None."""
    import pooch

    partial = target.with_name(f".{uuid.uuid4().hex}-{target.name}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        partial.touch()
    except OSError as error:
        raise DataError(
            f"cannot write to the cache folder {target.parent} ({error.strerror}); name another in {CACHE}"
        ) from None
    try:
        pooch.HTTPDownloader(timeout=15)(url, str(partial), None)
        found = hashlib.sha256(read_content(partial)).hexdigest()
        if found != sha256:
            return f"wrong checksum: SHA-256 {found} and not {sha256}"
        partial.replace(target)
    except OSError as error:  # those of requests are OSErrors too
        return _reason(error)
    except DataError:
        return "damaged on the way"
    finally:
        partial.unlink(missing_ok=True)
    return None


def _reason(error: OSError) -> str:
    """Say in few words why a download failed; the library's text names its own objects."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status is not None:
        return f"the server answered {status}"
    if type(error).__name__ == "ConnectionError":
        return "no connection"
    return error.strerror or type(error).__name__
