"""The store: finished results in folders named by their fingerprint, each file with a checksum.

::

    runs/
      overparam-store.json     format version
      steps/ab/ab12.../        one folder a result: result.json and its data files
      probes/cd/cd34.../       likewise
      failures/ef/ef56.../     steps that failed, with the reason
      studies/NAME.json        what a study's table is made of
      journals/ab12.../        state of a long training under way
      set-aside/               results found damaged, kept for inspection
      scratch/                 results being written; may be deleted when nothing runs

A result is written in ``scratch`` and renamed into place, so a kill at any moment leaves either the whole result or
nothing. ``result.json`` is written last; its first line is the checksum of the rest, which lists the checksums of the
other files. Files are not forced to disk one by one: after a power cut, torn files are found by their checksums.
"""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import xxhash

from overparam.errors import StoreError

FORMAT = 1
MANIFEST = "result.json"


class DamagedError(StoreError):
    """A stored file is not what was written: missing, cut, or with other bytes."""


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
    body: dict[str, Any] = json.loads(rest)
    return body


def write_sealed(path: Path, body: Mapping[str, Any]) -> None:
    """Write a JSON file for :func:`read_sealed`, replacing an old one at once."""
    rest = json.dumps(body, indent=1).encode() + b"\n"
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    partial.write_bytes(checksum(rest).encode() + b"\n" + rest)
    partial.replace(path)


class Store:
    """A folder of results.

    Args:
        root: the folder; made if it is not there.

    Raises:
        StoreError: the folder cannot be made or written, or was written by a later version of overparam.
    """

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.root = Path(root)
        self.notes: list[str] = []  # damage found and mended while opening, to be reported
        marker = self.root / "overparam-store.json"
        try:
            for part in ("steps", "probes", "studies", "scratch"):
                (self.root / part).mkdir(parents=True, exist_ok=True)
            probe = self.root / "scratch" / f"writable-{uuid.uuid4().hex}"
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise StoreError(
                f"store {str(root)!r} cannot be written ({error.strerror}); name another folder with --store"
            ) from None
        try:
            version = read_sealed(marker)["format"] if marker.exists() else 0
        except DamagedError as damage:
            self.notes.append(f"{damage}; it has been written anew")
            version = 0
        if version == 0:
            if any((self.root / "steps").iterdir()) and not self.notes:
                self.notes.append(f"{marker} was missing; it has been written anew")
            write_sealed(marker, {"format": FORMAT})
        if version > FORMAT:
            raise StoreError(
                f"store {str(root)!r} has format {version}, this overparam reads up to {FORMAT}; update it"
            )

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
        scratch = self.root / "scratch" / uuid.uuid4().hex
        scratch.mkdir()
        try:
            if fill is not None:
                fill(scratch)
            files = {}
            for path in sorted(p for p in scratch.rglob("*") if p.is_file()):
                data = path.read_bytes()
                files[str(path.relative_to(scratch))] = {"bytes": len(data), "checksum": checksum(data)}
            write_sealed(scratch / MANIFEST, {"fingerprint": fingerprint, **body, "files": files})
            final = self.folder(kind, fingerprint)
            final.parent.mkdir(parents=True, exist_ok=True)
            try:
                scratch.rename(final)
            except OSError:
                if not final.is_dir():
                    raise
                # Another process finished the same result first; they are equal, so its result stays.
        except OSError as error:
            raise StoreError(f"cannot write to store {str(self.root)!r}: {error}") from None
        finally:
            shutil.rmtree(scratch, ignore_errors=True)

    def manifest(self, kind: str, fingerprint: str) -> dict[str, Any]:
        """Return the manifest of a result; raises :class:`DamagedError` if it is not there or not as written."""
        path = self.folder(kind, fingerprint) / MANIFEST
        body = read_sealed(path)
        if body.get("fingerprint") != fingerprint:
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
        aside.mkdir(exist_ok=True)
        goal = aside / f"{kind}-{fingerprint}-{uuid.uuid4().hex[:8]}"
        self.folder(kind, fingerprint).rename(goal)
        return goal

    def journal(self, fingerprint: str) -> Path:
        """Return the folder for the state of the step ``fingerprint`` while it is under way."""
        return self.root / "journals" / fingerprint

    def study(self, name: str) -> Path:
        """Return the path of the record of study ``name``."""
        return self.root / "studies" / f"{name}.json"

    def studies(self) -> list[str]:
        """Return the names of the studies that have a record here."""
        return sorted(path.stem for path in (self.root / "studies").glob("[!.]*.json"))
