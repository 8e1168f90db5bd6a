"""The store: finished results in folders named by their fingerprint, each file with a checksum.

::

    runs/
      overparam-store.json     format version
      steps/ab/ab12.../        one folder a result: result.json and its data files
      probes/cd/cd34.../       likewise
      failures/ef/ef56.../     steps that failed, with the reason
      studies/NAME@REVISION.json   what a study's table is made of; see overparam.lab.record
      journals/ab12.../        state of a long training under way
      set-aside/               results found damaged, kept for inspection
      scratch/                 results being written, each named by who writes it; may be deleted when nothing runs

A result is written in ``scratch`` and renamed into place, so a kill at any moment leaves either the whole result or
nothing. ``result.json`` is written last; its first line is the checksum of the rest, which lists the checksums of the
other files. Files are not forced to disk one by one: after a power cut, torn files are found by their checksums.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import xxhash

from overparam.errors import StoreError
from overparam.files import why

FORMAT = 1
MARKER = "overparam-store.json"
MANIFEST = "result.json"
ROOM = 4096  # bytes that must be free for a store to be opened: on a full disk an empty file can still be made
FOR_ALL = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ESTALE}  # what no other result can be spared
LEFT_OVER = 24 * 3600.0  # seconds after which what is half written belongs to a run that was killed


class DamagedError(StoreError):
    """A stored file is not what was written: missing, cut, or with other bytes."""


class UnwritableError(StoreError):
    """The store takes no results any more: its disk is full, read-only or broken, or it was removed."""


def checksum(data: bytes) -> str:
    """Return the checksum of ``data`` (XXH3, 128 bits, hexadecimal): finds damage, not malice."""
    return xxhash.xxh3_128_hexdigest(data)


def read_sealed(path: Path) -> dict[str, Any]:
    """Read a JSON file whose first line is the checksum of the rest; raises :class:`DamagedError`."""
    try:
        seal, _, rest = path.read_bytes().partition(b"\n")
    except OSError as error:
        raise DamagedError(f"{path} cannot be read ({error.strerror})") from None
    if seal.decode("ascii", "replace") != checksum(rest):
        raise DamagedError(f"{path} is damaged: its checksum does not match")
    body = json.loads(rest)
    if not isinstance(body, dict):
        raise DamagedError(f"{path} does not hold what overparam writes")
    return body


def write_sealed(path: Path, body: Mapping[str, Any]) -> None:
    """Write a JSON file for :func:`read_sealed`, replacing an old one at once; raises :class:`StoreError`."""
    rest = json.dumps(body, indent=1).encode() + b"\n"
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        partial.write_bytes(checksum(rest).encode() + b"\n" + rest)
        partial.replace(path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            partial.unlink()
        if not isinstance(error, OSError):
            raise
        raise StoreError(f"{path} cannot be written ({error.strerror}); make room or name another --store") from None


class Store:
    """A folder of results.

    Args:
        root: the folder; made if it is not there.
        reading: only look: the folder must be there, and nothing in it is changed.
        writer: a name for what this object has in ``scratch``, by which :meth:`sweep` finds it; None: a new one.

    Attributes:
        writing: held while a result is written, so that another thread can end the process between two results.

    Raises:
        StoreError: the folder cannot be made or written, or was written by a later version of overparam.
    """

    def __init__(self, root: str | os.PathLike[str], *, reading: bool = False, writer: str | None = None) -> None:
        self.root = Path(root)
        self.writer = writer or uuid.uuid4().hex
        self.writing = threading.Lock()
        self.notes: list[str] = []  # damage found while opening, to be reported
        if not reading:
            self._make()
        elif not (self.root / "steps").is_dir():
            raise StoreError(
                f"there is no store {str(root)!r}; run the study first, or name the folder of its results with --store"
            )
        version = self._version("a run writes it anew" if reading else "it has been written anew")
        if version == 0 and not reading:
            write_sealed(self.root / MARKER, {"format": FORMAT})
        if version > FORMAT:
            raise StoreError(
                f"store {str(root)!r} has format {version}, this overparam reads up to {FORMAT}; update overparam"
            )

    def _make(self) -> None:
        try:
            for part in ("steps", "probes", "studies", "scratch"):
                (self.root / part).mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.root / "scratch") as probe:
                probe.write(bytes(ROOM))
        except OSError as error:
            raise StoreError(
                f"store {str(self.root)!r} cannot be written ({why(error, self.root)}); "
                "name another folder with --store"
            ) from None

    def _version(self, mended: str) -> int:
        """Return the format that the marker names; 0 if it is missing or damaged, which is noted."""
        marker = self.root / MARKER
        try:
            if marker.exists():
                found = read_sealed(marker).get("format")
                if not isinstance(found, int):
                    raise DamagedError(f"{marker} does not hold what overparam writes")
                return found
            if any((self.root / "steps").iterdir()):
                self.notes.append(f"{marker} is missing; {mended}")
        except DamagedError as damage:
            self.notes.append(f"{damage}; {mended}")
        return 0

    def folder(self, kind: str, fingerprint: str) -> Path:
        """Return where the result of ``kind`` (``steps`` or ``probes``) is or would be."""
        return self.root / kind / fingerprint[:2] / fingerprint

    def has(self, kind: str, fingerprint: str) -> bool:
        """Tell whether there is a result, whole or damaged."""
        return self.folder(kind, fingerprint).is_dir()

    def write(
        self, kind: str, fingerprint: str, body: Mapping[str, Any], fill: Callable[[Path], None] | None = None
    ) -> None:
        """Store a result at once: ``fill`` writes data files into the folder it is given, ``body`` is its manifest."""
        with self.writing:
            self._write(kind, fingerprint, body, fill)

    def _write(self, kind: str, fingerprint: str, body: Mapping[str, Any], fill: Callable[[Path], None] | None) -> None:
        scratch = self.root / "scratch" / f"{self.writer}-{uuid.uuid4().hex}"
        try:
            scratch.mkdir()
            if fill is not None:
                fill(scratch)
            files = {}
            for path in sorted(p for p in scratch.rglob("*") if p.is_file()):
                data = path.read_bytes()
                files[str(path.relative_to(scratch))] = {"bytes": len(data), "checksum": checksum(data)}
            write_sealed(scratch / MANIFEST, {"fingerprint": fingerprint, **body, "files": files})
            final = self.folder(kind, fingerprint)
            if not final.parent.is_dir():
                final.parent.mkdir(parents=True, exist_ok=True)
            try:
                scratch.rename(final)
            except OSError:
                if not final.is_dir():
                    raise
                # Another process finished the same result first; they are equal, so its result stays.
        except OSError as error:
            raise self._refusal(error) from None
        finally:
            shutil.rmtree(scratch, ignore_errors=True)

    def _refusal(self, error: OSError) -> StoreError:
        """Return what to raise if a result could not be written."""
        where = f"cannot write to store {str(self.root)!r}"
        if error.errno in FOR_ALL or not (self.root / "scratch").is_dir():
            return UnwritableError(
                f"{where} ({error.strerror}), so nothing more is computed; what is in it stays: make room, or name "
                "another store, and run the same again"
            )
        return StoreError(f"{where}: {error}")

    def manifest(self, kind: str, fingerprint: str) -> dict[str, Any]:
        """Return the manifest of a result; raises :class:`DamagedError` if it is not there or not as written."""
        path = self.folder(kind, fingerprint) / MANIFEST
        body = read_sealed(path)
        if body.get("fingerprint") != fingerprint or not isinstance(body.get("files"), dict):
            raise DamagedError(f"{path} belongs to another result, {body.get('fingerprint')}")
        return body

    def verify(self, kind: str, fingerprint: str) -> dict[str, Any]:
        """Check every file of a result against its checksum and return the manifest; raises :class:`DamagedError`."""
        body = self.manifest(kind, fingerprint)
        for name in body["files"]:
            self._read(kind, fingerprint, body, name)
        return body

    def file(self, kind: str, fingerprint: str, name: str) -> Path:
        """Return the path of a data file after checking its bytes; raises :class:`DamagedError`."""
        body = self.manifest(kind, fingerprint)
        if name not in body["files"]:
            raise StoreError(f"result {fingerprint} has no file {name!r} (it has: {', '.join(body['files'])})")
        self._read(kind, fingerprint, body, name)
        return self.folder(kind, fingerprint) / name

    def _read(self, kind: str, fingerprint: str, body: Mapping[str, Any], name: str) -> None:
        path, expected = self.folder(kind, fingerprint) / name, body["files"][name]
        try:
            data = path.read_bytes()
        except OSError as error:
            raise DamagedError(f"{path} cannot be read ({error.strerror})") from None
        if len(data) != expected["bytes"]:
            raise DamagedError(f"{path} is damaged: it has {len(data)} bytes, {expected['bytes']} were written")
        if checksum(data) != expected["checksum"]:
            raise DamagedError(f"{path} is damaged: its checksum does not match")

    def set_aside(self, kind: str, fingerprint: str) -> Path:
        """Move a damaged result out of the way, so that it is computed again; return where it went."""
        aside = self.root / "set-aside"
        goal = aside / f"{kind}-{fingerprint}-{uuid.uuid4().hex[:8]}"
        try:
            aside.mkdir(exist_ok=True)
            self.folder(kind, fingerprint).rename(goal)
        except FileNotFoundError:
            pass  # another process found the same damage first
        except OSError as error:
            raise StoreError(f"cannot move a damaged result to {str(goal)!r} ({error.strerror})") from None
        return goal

    def sweep(self, writer: str) -> None:
        """Remove what ``writer``, who is gone, was in the middle of writing."""
        for path in (self.root / "scratch").glob(f"{writer}-*"):
            shutil.rmtree(path, ignore_errors=True)

    def tidy(self, finished: Collection[str]) -> None:
        """Remove what killed runs left behind: half-written files of yesterday, and journals of finished steps."""
        for path in [*(self.root / "scratch").iterdir(), *(self.root / "studies").glob(".*")]:
            with contextlib.suppress(OSError):
                if time.time() - path.stat().st_mtime > LEFT_OVER:
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
        for journal in (self.root / "journals").glob("*"):
            if journal.name in finished:
                shutil.rmtree(journal, ignore_errors=True)

    def journal(self, fingerprint: str) -> Path:
        """Return the folder for the state of the step ``fingerprint`` while it is under way."""
        return self.root / "journals" / fingerprint

    def study(self, name: str, revision: str | None = None) -> Path:
        """Return the path of the record of a revision of study ``name``; without one that of an earlier version."""
        return self.root / "studies" / (f"{name}@{revision}.json" if revision else f"{name}.json")

    def records(self, name: str) -> list[Path]:
        """Return the paths of the records of study ``name``, one for each of its revisions."""
        folder = self.root / "studies"
        return [path for path in sorted(folder.glob("[!.]*.json")) if path.stem.partition("@")[0] == name]

    def studies(self) -> list[str]:
        """Return the names of the studies that have a record here."""
        return sorted({path.stem.partition("@")[0] for path in (self.root / "studies").glob("[!.]*.json")})
