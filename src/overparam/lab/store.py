"""The store: finished results by their fingerprint, as blobs with checksums.

::

    overparam-store.json                 the format
    steps/ab/ab12....json                numbers of a step's result
    steps/ab/ab12....CHECKSUM.safetensors    its weights, and those of points on the way; the numbers say which
    probes/cd/cd34....json               what a probe found
    failures/ef/ef56....json             a step that failed, with the reason
    KIND/ab/ab12....damaged              says that the result beside it was found damaged, and is to be made anew
    studies/NAME@REVISION/000001.json    what a study's table is made of; see overparam.lab.record
    journals/ab12.../, scratch/          of the folder alone: trainings under way, and blobs being written

All of it goes through the five verbs of :class:`overparam.lab.blobs.Blobs`, but for journals: they are replaced every
minute, and only the machine that trains needs them. A result is there when its numbers are, which are written last: a
kill at any moment leaves either the whole result or nothing. Numbers are JSON under a line with its checksum and
key; weights have their checksum in their key, so that two writers of one result cannot mix theirs.
"""

from __future__ import annotations

import errno
import json
import threading
import time
import uuid
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from shutil import rmtree
from types import MappingProxyType
from typing import Any

import xxhash

from overparam.errors import StoreError, suggest
from overparam.files import why
from overparam.lab.blobs import Blobs, Folder

FORMAT = 2
MARKER = "overparam-store.json"
KINDS = ("steps", "probes", "failures")
NUMBERS, WEIGHTS, DAMAGED = ".json", ".safetensors", ".damaged"
FOR_ALL = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ESTALE}  # what no other result can be spared
NOTHING: Mapping[str, bytes] = MappingProxyType({})


class DamagedError(StoreError):
    """What is stored is not what was written: missing, cut, or with other bytes."""


class UnwritableError(StoreError):
    """The store takes no results any more: its disk is full, read-only or broken, or it was removed."""


def checksum(data: bytes) -> str:
    """Return the checksum of ``data`` (XXH3, 128 bits, hexadecimal): finds damage, not malice."""
    return xxhash.xxh3_128_hexdigest(data)


def sealed(key: str, body: Mapping[str, Any]) -> bytes:
    """Return ``body`` as JSON under a line with its checksum and ``key``; for :func:`unsealed`."""
    rest = json.dumps(body).encode() + b"\n"
    return f"{checksum(rest)} {key}\n".encode() + rest


def unsealed(key: str, content: bytes) -> dict[str, Any]:
    """Return the body of what :func:`sealed` made for ``key``; raises :class:`ValueError` for anything else."""
    seal, _, rest = content.partition(b"\n")
    found, _, place = seal.decode(errors="replace").partition(" ")
    if found != checksum(rest):
        raise ValueError("is damaged: its checksum does not match")
    if place not in ("", key):  # markers of format 1 have none
        raise ValueError(f"is damaged: it belongs to {place}")
    body = json.loads(rest)
    if not isinstance(body, dict):
        raise ValueError("does not hold what overparam writes")
    return body


def is_store(root: Path) -> bool:
    """Tell whether a folder holds a store, even one that has lost its marker."""
    return (root / MARKER).exists() or (root / "steps").is_dir()


def _nearest(root: Path) -> str:
    """Return the name of the store beside ``root`` that was perhaps meant, in words."""
    try:
        return suggest(root.name, [path.name for path in root.absolute().parent.iterdir() if is_store(path)])
    except OSError:
        return ""


class Store:
    """Results of steps and probes, by fingerprint.

    Args:
        root: a folder; made if it is not there.
        reading: the store is only read: nothing is written, and the folder must be there.
        writer: a name for this process, so that what it leaves half written can be found; None makes one up.
        blobs: where the bytes are, if not in that folder; then they are only read.

    Attributes:
        writing: held while a result is written: whoever ends this process at a moment of its choice can wait for it.

    Raises:
        StoreError: the folder cannot be made or written, is not there to be read, or has another format.
    """

    def __init__(
        self, root: str | Path, reading: bool = False, writer: str | None = None, blobs: Blobs | None = None
    ) -> None:
        self.root = Path(root)
        self.writer = writer or uuid.uuid4().hex
        self.folder = Folder(self.root, self.writer)
        self.blobs: Blobs = blobs or self.folder
        self.writing = threading.Lock()
        self.notes: list[str] = []  # damage found while opening, to be reported
        if not reading and blobs is None:
            self._make()
        elif blobs is None and not is_store(self.root):
            raise StoreError(
                f"there is no store {str(root)!r}{_nearest(self.root)}; run the study first, "
                "or name the folder of its results with --store"
            )
        self._check_format(reading or blobs is not None)

    def _make(self) -> None:
        try:
            self.folder.make()
        except OSError as error:
            raise StoreError(
                f"store {str(self.root)!r} cannot be written ({why(error, self.root)}); "
                "name another folder with --store"
            ) from None

    def _check_format(self, reading: bool) -> None:
        """Raise :class:`StoreError` for another format; note a marker that is missing or damaged, and write it."""
        try:
            found = self.get(MARKER).get("format")
            if not isinstance(found, int):
                raise DamagedError(f"{self.root / MARKER} does not hold what overparam writes")
        except DamagedError as damage:
            found = FORMAT
            if any(self.blobs.list(f"{kind}/") for kind in KINDS):
                self.notes.append(f"{damage}; {'a run writes it anew' if reading else 'it has been written anew'}")
            if not reading:
                self.delete(MARKER)
                self.put(MARKER, {"format": FORMAT})
        if found != FORMAT:
            raise StoreError(
                f"store {str(self.root)!r} has format {found}, and this overparam reads format {FORMAT} alone; name "
                f"another folder with --store, or {'use the version that made it' if found < FORMAT else 'update'}"
            )

    # Any key

    def read(self, key: str) -> bytes:
        """Return the bytes under a key; raises :class:`DamagedError` if there are none, or they cannot be read."""
        try:
            return self.blobs.get(key)
        except OSError as error:
            raise DamagedError(f"{self.root / key} cannot be read ({error.strerror})") from None

    def get(self, key: str) -> dict[str, Any]:
        """Return the sealed body under a key; raises :class:`DamagedError` if it is not there or not as written."""
        try:
            return unsealed(key, self.read(key))
        except ValueError as error:
            raise DamagedError(f"{self.root / key} {error}") from None

    def put(self, key: str, body: Mapping[str, Any]) -> bool:
        """Store a body under a key and seal it; False if there is something already. Raises :class:`StoreError`."""
        return self._put(key, sealed(key, body))

    def _put(self, key: str, content: bytes) -> bool:
        try:
            return self.blobs.put_if_absent(key, content)
        except OSError as error:
            raise self._refusal(error) from None

    def delete(self, *keys: str) -> None:
        """Delete what is stored under keys; raises :class:`StoreError`."""
        try:
            for key in keys:
                self.blobs.delete(key)
        except OSError as error:
            raise self._refusal(error) from None

    def _refusal(self, error: OSError) -> StoreError:
        """Return what to raise if something could not be written."""
        where = f"cannot write to store {str(self.root)!r}"
        if error.errno in FOR_ALL or not self.folder.scratch.is_dir():
            return UnwritableError(
                f"{where} ({error.strerror}), so nothing more is computed; what is in it stays: make room, or name "
                "another store, and run the same again"
            )
        return StoreError(f"{where}: {error}")

    # Results

    def key(self, kind: str, fingerprint: str, end: str = NUMBERS) -> str:
        """Return the key of the numbers of a result of a kind (``steps``, ``probes`` or ``failures``)."""
        return f"{kind}/{fingerprint[:2]}/{fingerprint}{end}"

    def keys(self, kind: str, fingerprint: str) -> list[str]:
        """Return the keys of all that is stored of a result."""
        return self.blobs.list(self.key(kind, fingerprint, "."))

    def has(self, kind: str, fingerprint: str) -> bool:
        """Tell whether there is a result that has not been found damaged."""
        keys = self.keys(kind, fingerprint)
        return self.key(kind, fingerprint) in keys and self.key(kind, fingerprint, DAMAGED) not in keys

    def numbers(self, kind: str, fingerprint: str) -> dict[str, Any]:
        """Return the numbers of a result; raises :class:`DamagedError` if they are not there or not as written."""
        return self.get(self.key(kind, fingerprint))

    def weights(self, fingerprint: str, name: str = "checkpoint") -> bytes:
        """Return weights of a step's result, checked byte by byte: its checkpoint, or a point on the way to it.

        Raises:
            DamagedError: they are not as written.
            StoreError: the result has none of that name.
        """
        known = self.numbers("steps", fingerprint)["tensors"]
        if name not in known:
            raise StoreError(f"result {fingerprint} has no weights {name!r} (it has: {', '.join(known)})")
        key, expected = self._weights_key("steps", fingerprint, known[name]["checksum"]), known[name]
        content = self.read(key)
        if len(content) != expected["bytes"]:
            raise DamagedError(
                f"{self.root / key} is damaged: it has {len(content)} bytes, {expected['bytes']} were written"
            )
        if checksum(content) != expected["checksum"]:
            raise DamagedError(f"{self.root / key} is damaged: its checksum does not match")
        return content

    def _weights_key(self, kind: str, fingerprint: str, sum_: str) -> str:
        return self.key(kind, fingerprint, f".{sum_}{WEIGHTS}")

    def write(
        self, kind: str, fingerprint: str, body: Mapping[str, Any], tensors: Mapping[str, bytes] = NOTHING
    ) -> None:
        """Store a result, weights first; one that is there already stays, unless it was found damaged.

        Raises:
            StoreError: it cannot be written; :class:`UnwritableError` if nothing can.
        """
        with self.writing:
            before = self.keys(kind, fingerprint)
            mark = self.key(kind, fingerprint, DAMAGED)
            if mark in before:
                self.delete(*(key for key in before if key != mark))
            self._write(kind, fingerprint, body, tensors)
            if mark in before:
                self.delete(mark)

    def _write(self, kind: str, fingerprint: str, body: Mapping[str, Any], tensors: Mapping[str, bytes]) -> None:
        about: dict[str, dict[str, Any]]
        about = {name: {"bytes": len(data), "checksum": checksum(data)} for name, data in tensors.items()}
        content = {**body, **({"tensors": about} if tensors else {})}
        for name, data in tensors.items():
            self._put(self._weights_key(kind, fingerprint, about[name]["checksum"]), data)
        if not self.put(self.key(kind, fingerprint), content) and tensors:
            about = self.numbers(kind, fingerprint)["tensors"]  # another process was first, and its result stays
        named = {self._weights_key(kind, fingerprint, entry["checksum"]) for entry in about.values()}
        stray = [key for key in self.keys(kind, fingerprint) if key.endswith(WEIGHTS) and key not in named]
        self.delete(*stray)

    def verify(self, kind: str, fingerprint: str, weights: bool = True) -> bool:
        """Check a result against its checksums, its ``weights`` too where asked; False if there is none.

        Raises:
            DamagedError: it is not as written, or was found damaged before.
        """
        keys = self.keys(kind, fingerprint)
        if (mark := self.key(kind, fingerprint, DAMAGED)) in keys:
            raise DamagedError(self.get(mark)["reason"])
        if self.key(kind, fingerprint) not in keys:
            return False
        body = self.numbers(kind, fingerprint)
        for name in body.get("tensors", {}) if weights else ():
            self.weights(fingerprint, name)
        return True

    def mark_damaged(self, kind: str, fingerprint: str, reason: str) -> None:
        """Note beside a result that it is damaged, so that it counts as missing; raises :class:`StoreError`."""
        self.put(self.key(kind, fingerprint, DAMAGED), {"reason": reason, "found": time.time()})

    def remove(self, kind: str, fingerprint: str) -> None:
        """Delete a result, its numbers first, without which it is none; raises :class:`StoreError`."""
        self.delete(self.key(kind, fingerprint), *self.keys(kind, fingerprint))

    def fingerprints(self, kind: str) -> list[str]:
        """Return the fingerprints of all results of a kind, whole or damaged."""
        keys = [key for key in self.blobs.list(f"{kind}/") if key.endswith((NUMBERS, DAMAGED))]
        return sorted({Path(key).stem for key in keys if key.count("/") == 2})

    # What is replaced

    def replace(self, name: str, body: Mapping[str, Any]) -> None:
        """Store ``body`` as the newest under ``name``; older ones go when it is there. Raises :class:`StoreError`."""
        older = self.versions(name)
        number = int(Path(older[-1]).stem) + 1 if older else 1
        while not self.put(f"{name}/{number:06}{NUMBERS}", body):
            number += 1  # another process was quicker
        self.delete(*older)

    def newest(self, name: str) -> dict[str, Any] | None:
        """Return what was stored last under ``name``, None if nothing was; raises :class:`DamagedError`."""
        while versions := self.versions(name):
            try:
                return self.get(versions[-1])
            except DamagedError:
                if versions[-1] in self.versions(name):  # and was not replaced meanwhile
                    raise
        return None

    def versions(self, name: str) -> Sequence[str]:
        """Return the keys of what is stored under ``name``, the newest last; there is one, but after a kill."""
        return [key for key in self.blobs.list(f"{name}/") if Path(key).stem.isdecimal()]

    # The folder

    def tidy(self, finished: Collection[str]) -> None:
        """Remove what killed runs have left behind: what is half written, and journals of finished steps."""
        self.folder.tidy()
        for journal in (self.root / "journals").glob("*"):
            if journal.name in finished:
                rmtree(journal, ignore_errors=True)

    def sweep(self, writer: str) -> None:
        """Remove what ``writer``, who is gone, was in the middle of writing."""
        self.folder.sweep(writer)

    def journal(self, fingerprint: str) -> Path:
        """Return the folder for the state of the step ``fingerprint`` while it is under way."""
        return self.root / "journals" / fingerprint
