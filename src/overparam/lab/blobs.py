"""Where results are kept: bytes by key, under five verbs. A folder is one such place; an object store can be one."""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
import time
import uuid
from pathlib import Path
from typing import NamedTuple, Protocol

ROOM = 4096  # bytes that must be free for a folder to be opened: on a full disk an empty file can still be made
LEFT_OVER = 24 * 3600.0  # seconds after which what is half written belongs to a run that was killed
NO_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}  # of file systems without hard links


class Entry(NamedTuple):
    """What is told of stored bytes without reading them: how many, and when they were written, in nanoseconds."""

    bytes: int
    written: int


class Blobs(Protocol):
    """Bytes by key, a key being words joined by ``/``. What is stored under a key never changes; it can be deleted.

    Each verb raises :class:`OSError` where the place cannot be read or written.
    """

    def get(self, key: str) -> bytes:
        """Return what is stored under ``key``; raises :class:`FileNotFoundError` if nothing is."""
        ...

    def put_if_absent(self, key: str, content: bytes) -> bool:
        """Store ``content`` whole or not at all; False if something was there already, which stays."""
        ...

    def list(self, prefix: str) -> list[str]:
        """Return the keys that begin with ``prefix``, in alphabetical order."""
        ...

    def entries(self, prefix: str) -> dict[str, Entry]:
        """Return what :meth:`list` does, in any order, with the size and the time of each."""
        ...

    def delete(self, key: str) -> None:
        """Remove what is stored under ``key``, if anything is."""
        ...


class Folder:
    """A folder of files: each is written in ``scratch/`` under the name of its writer and linked into its place.

    Files are not forced to disk one by one: after a power cut, torn ones are found by their checksums.
    """

    def __init__(self, root: Path, writer: str) -> None:
        self.root, self.writer = root, writer
        self.scratch = root / "scratch"

    def make(self) -> None:
        """Make the folder, if it is not there, and try that something can be written."""
        self.scratch.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=self.scratch) as probe:
            probe.write(bytes(ROOM))

    def get(self, key: str) -> bytes:
        """Return the content of a file."""
        return (self.root / key).read_bytes()

    def put_if_absent(self, key: str, content: bytes) -> bool:
        """Write a file whole or not at all; False if there is one already."""
        final = self.root / key
        partial = self.scratch / f"{self.writer}-{uuid.uuid4().hex}-{final.name}"
        try:
            partial.write_bytes(content)
            if not final.parent.is_dir():
                final.parent.mkdir(parents=True, exist_ok=True)
            return _placed(partial, final)
        finally:
            with contextlib.suppress(OSError):
                partial.unlink()

    def list(self, prefix: str) -> list[str]:
        """Return the files whose path below the root begins with ``prefix``."""
        folder, slash, start = prefix.rpartition("/")
        found: list[str] = []
        with contextlib.suppress(FileNotFoundError, NotADirectoryError), os.scandir(self.root / folder) as entries:
            for entry in entries:
                if entry.name.startswith(start):
                    key = f"{folder}{slash}{entry.name}"
                    found += self.list(f"{key}/") if entry.is_dir() else [key]
        return sorted(found)

    def entries(self, prefix: str) -> dict[str, Entry]:
        """Return the files whose path below the root begins with ``prefix``, with sizes and times."""
        folder, slash, start = prefix.rpartition("/")
        found: dict[str, Entry] = {}
        with contextlib.suppress(FileNotFoundError, NotADirectoryError), os.scandir(f"{self.root}/{folder}") as entries:
            for entry in entries:
                if not entry.name.startswith(start):
                    continue
                key = f"{folder}{slash}{entry.name}"
                if entry.is_dir():
                    found |= self.entries(f"{key}/")
                    continue
                with contextlib.suppress(FileNotFoundError):  # deleted meanwhile
                    told = entry.stat()
                    found[key] = Entry(told.st_size, told.st_mtime_ns)
        return found

    def delete(self, key: str) -> None:
        """Remove a file, if it is there."""
        (self.root / key).unlink(missing_ok=True)

    def sweep(self, writer: str) -> None:
        """Remove what ``writer``, who is gone, was in the middle of writing."""
        self._remove(writer, older=0.0)

    def tidy(self) -> None:
        """Remove what killed runs have left half written, yesterday or before."""
        self._remove("", older=LEFT_OVER)

    def _remove(self, start: str, older: float) -> None:
        for path in self.scratch.glob(f"{start}*"):
            with contextlib.suppress(OSError):
                if time.time() - path.stat().st_mtime >= older:
                    path.unlink()


def _placed(partial: Path, final: Path) -> bool:
    """Give a file its final name; False if that is taken."""
    try:
        os.link(partial, final)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        if final.exists():
            return False
        partial.rename(final)
    return True
