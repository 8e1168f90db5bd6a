"""Logs that are files with a line for each row: what they hold of other studies stays, torn lines go."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO

from overparam.errors import SpecError
from overparam.files import check_writable, why, write_file


def check_log(path: str, option: str, ours: Callable[[str], bool]) -> None:
    """Raise :class:`SpecError` if a file cannot be written, or holds something else that would be lost."""
    check_writable(Path(path), option)
    first = next(iter(whole_lines(path)), None)
    if first is not None and not ours(first):
        raise SpecError(f"{option} {path!r} is there already and is no log of overparam's; name another file")


def whole_lines(path: str) -> list[str]:
    """Return the lines of a log that were written to their end; raises :class:`SpecError` if it cannot be read."""
    try:
        text = Path(path).read_bytes().decode() if Path(path).is_file() else ""
    except (OSError, UnicodeDecodeError) as error:
        reason = why(error, path) if isinstance(error, OSError) else "it is not text in UTF-8"
        raise SpecError(f"log {path!r} cannot be read ({reason})") from None
    return [line for line in text.splitlines(keepends=True) if line.endswith("\n")]


def begun(path: str, lines: Sequence[str]) -> BinaryIO:
    """Replace a log by ``lines`` at once, and return it open, so that each line that follows is on disk at once."""
    write_file(path, "".join(lines))
    return Path(path).open("ab", buffering=0)
