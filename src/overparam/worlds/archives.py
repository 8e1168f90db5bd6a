"""Members of tar archives, read in memory: nothing is unpacked to the disk."""

from __future__ import annotations

import lzma
import tarfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

from overparam.errors import DataError


def read_members(path: Path, wanted: Callable[[str], bool]) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of the files in a tar archive (plain, gz, bz2 or xz) whose name is ``wanted``.

    Raises :class:`DataError` if the archive is damaged or cut short, at the latest after the last member.
    """
    try:
        with tarfile.open(path, "r:*") as archive:
            for member in archive:
                if member.isfile() and wanted(member.name):
                    file = archive.extractfile(member)
                    yield member.name, b"" if file is None else file.read()
            _check_end(archive)
    except (tarfile.TarError, EOFError, OSError, zlib.error, lzma.LZMAError) as error:
        raise DataError(f"{path}: cannot be read as a tar archive ({error}); replace it by an intact copy") from None


def _check_end(archive: tarfile.TarFile) -> None:
    """Raise unless the archive ends in zeros: tarfile takes a damaged header for the end of the archive.

    Reading on to the end of the file also has the checksums of the compression checked.
    """
    stream = archive.fileobj
    if stream is None or stream.tell() - archive.offset < tarfile.BLOCKSIZE:
        raise tarfile.ReadError("it ends too early")
    while rest := stream.read(1 << 20):
        if rest.strip(b"\0"):
            raise tarfile.ReadError("it has a damaged header")
