"""Members of tar archives, read in memory: nothing is unpacked to the disk."""

from __future__ import annotations

import io
import lzma
import tarfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

from overparam.errors import DataError


def read_members(
    source: str | Path, wanted: Callable[[str], bool], content: bytes | None = None
) -> Iterator[tuple[tarfile.TarInfo, bytes | None]]:
    """Yield the members of a tar archive (plain, gz, bz2 or xz), with content where it is a file that is ``wanted``.

    ``content`` is that of the archive; without it ``source``, which names the archive in errors, is opened. Raises
    :class:`DataError` if the archive is damaged or cut short, at the latest after the last member.
    """
    try:
        with tarfile.open(source, "r:*", None if content is None else io.BytesIO(content)) as archive:
            for member in archive:
                file = archive.extractfile(member) if member.isfile() and wanted(member.name) else None
                yield member, None if file is None else file.read()
            _check_end(archive)
    except (tarfile.TarError, EOFError, OSError, zlib.error, lzma.LZMAError) as error:
        why = str(error).partition("\n")[0].rstrip(":")
        raise DataError(f"{source}: cannot be read as a tar archive ({why}); replace it by an intact copy") from None


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
