"""A study as one file: a ZIP archive whose members are keys of a store, and the bytes that the store has under them.

::

    overparam-store.json                         the format, as in a store
    studies/NAME@REVISION/000001.json            the record, one
    steps/ab/ab12....json and .safetensors       the results, with the checksums that they have in a store
    probes/..., failures/...

Weights are stored as they are and all else is deflated. Nothing else is in it: no folders, no links, no other names.
What is read of an archive is only ever bytes under names of this form; no name becomes that of a file on the disk but
as the key of a result that was checked.
"""

from __future__ import annotations

import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path

from overparam.errors import StoreError, in_bytes
from overparam.files import why
from overparam.lab.blobs import Entry
from overparam.lab.record import FOLDER
from overparam.lab.store import MARKER, checksum

PRINT = "[0-9a-f]{32}"
KEYS = re.compile(
    rf"{re.escape(MARKER)}"
    r"|studies/[A-Za-z0-9][A-Za-z0-9._-]{0,99}@[0-9a-f]{12}/[0-9]{6}\.json"
    rf"|(steps|probes|failures)/(?P<start>[0-9a-f]{{2}})/(?P=start)[0-9a-f]{{30}}(\.json|\.{PRINT}\.safetensors)"
)
"""What the names of members look like."""
WEIGHTS = re.compile(rf"steps/.*\.({PRINT})\.safetensors")
LARGEST = 256_000_000  # bytes of numbers: they are unpacked in memory
BROKEN = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, NotImplementedError, RuntimeError, ValueError)
"""What reading an archive that is none, or that was tampered with, may raise."""


class Archive:
    """What a packed study holds, as blobs that can only be read.

    Args:
        path: the file.
        max_bytes: how large all members together may be, unpacked.

    Attributes:
        title: NAME@REVISION of the study.
        bytes: the size of all members, unpacked.

    Raises:
        StoreError: the file cannot be read, is no packed study, holds a member that may not be there (a link, an
            absolute path, one that leads up, a name twice, an encrypted one), or is larger than ``max_bytes``.
    """

    def __init__(self, path: str | Path, max_bytes: int) -> None:
        self.path = Path(path)
        try:
            self._zip = zipfile.ZipFile(self.path)
        except OSError as error:
            raise StoreError(f"{str(path)!r} cannot be read ({why(error, self.path)})") from None
        except BROKEN as error:
            raise StoreError(f"{str(path)!r} is no packed study, or is cut off ({error})") from None
        self._members: dict[str, zipfile.ZipInfo] = {}
        for member in self._zip.infolist():
            self._check(member)
            self._members[member.filename] = member
        self.bytes = sum(member.file_size for member in self._members.values())
        if self.bytes > max_bytes:
            raise self._refused(
                f"unpacks to {in_bytes(self.bytes)}, and {in_bytes(max_bytes)} are allowed; if you trust where it "
                "comes from, allow more (--max-bytes)"
            )
        records = [key for key in self._members if key.startswith(FOLDER)]
        if len(records) != 1 or MARKER not in self._members:
            raise self._refused(f"is no packed study: it has {len(records)} records")
        self.title = records[0].split("/")[1]

    def _check(self, member: zipfile.ZipInfo) -> None:
        name, mode = member.orig_filename, member.external_attr >> 16
        if stat.S_IFMT(mode) not in (0, stat.S_IFREG):
            raise self._refused(f"holds {name!r}, which is a link or another thing that is no file")
        if name != member.filename or not KEYS.fullmatch(name):
            raise self._refused(f"holds {name[:200]!r}, which is no name of a result")
        if name in self._members:
            raise self._refused(f"holds {name!r} twice")
        packed = zipfile.ZIP_STORED if name.endswith(".safetensors") else zipfile.ZIP_DEFLATED
        if member.flag_bits & 0x1 or member.compress_type not in (zipfile.ZIP_STORED, packed):
            raise self._refused(f"holds {name!r}, which is encrypted, or packed in a way that is not allowed")
        if name.endswith(".json") and member.file_size > LARGEST:
            raise self._refused(f"holds {name!r} of {in_bytes(member.file_size)}, which is too much for numbers")

    def _refused(self, what: str) -> StoreError:
        self.close()
        return StoreError(f"{str(self.path)!r} {what}; nothing was unpacked")

    def close(self) -> None:
        """Close the file."""
        self._zip.close()

    # Blobs

    def get(self, key: str) -> bytes:
        """Return the bytes of a member, no more than it said it has; those of weights fit their checksum."""
        if key not in self._members:
            raise FileNotFoundError(2, "no such member", key)
        try:
            with self._zip.open(self._members[key]) as member:
                content = member.read(self._members[key].file_size + 1)
        except BROKEN as error:
            raise OSError(5, f"it is damaged: {error}", key) from None
        if len(content) != self._members[key].file_size:
            raise OSError(5, "it is damaged: its size is not what the archive says", key)
        if (named := WEIGHTS.fullmatch(key)) and checksum(content) != named[1]:
            raise OSError(5, "it is damaged: its checksum does not match", key)
        return content

    def put_if_absent(self, key: str, content: bytes) -> bool:
        """Refuse: an archive is only read."""
        raise OSError(30, "an archive is only read", key)

    def list(self, prefix: str) -> list[str]:
        """Return the names of members that begin with ``prefix``."""
        return sorted(key for key in self._members if key.startswith(prefix))

    def entries(self, prefix: str) -> dict[str, Entry]:
        """Return them with their sizes; no times are kept."""
        return {key: Entry(self._members[key].file_size, 0) for key in self.list(prefix)}

    def delete(self, key: str) -> None:
        """Refuse: an archive is only read."""
        raise OSError(30, "an archive is only read", key)


def write_archive(path: Path, members: Iterable[tuple[str, bytes]]) -> None:
    """Write an archive, the same bytes for the same members; raises :class:`OSError`."""
    with zipfile.ZipFile(path, "x") as archive:
        for key, content in members:
            about = zipfile.ZipInfo(key)  # the time is the first of 1980
            about.compress_type = zipfile.ZIP_STORED if key.endswith(".safetensors") else zipfile.ZIP_DEFLATED
            about.external_attr = (stat.S_IFREG | 0o644) << 16
            about.create_system = 3  # Unix, whatever this is
            archive.writestr(about, content)
