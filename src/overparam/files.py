"""Writing files whole or not at all, and saying why one cannot be read or written."""

from __future__ import annotations

import contextlib
import math
import os
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from overparam.errors import SpecError


def why(error: OSError, path: str | os.PathLike[str]) -> str:
    """Return why ``path`` could not be read or written; a broken link on the way to it is named."""
    for place in (Path(path), *Path(path).parents):
        if os.path.islink(place) and not os.path.exists(place):
            return f"{place} is a link to {os.readlink(place)}, which is not there"
    return error.strerror or str(error)


def write_file(path: str | os.PathLike[str], content: str | bytes) -> None:
    """Write ``content``, text as UTF-8: an older file is replaced at once, and stays as it was if that fails.

    Raises:
        SpecError: it cannot be written; names the path and says why.
    """
    goal = Path(os.path.realpath(path))
    special = goal.exists() and not goal.is_file()  # such as /dev/stdout, whose place nothing may take
    partial = goal if special else goal.with_name(f".{uuid.uuid4().hex}")
    try:
        partial.write_bytes(content.encode() if isinstance(content, str) else content)
        if not special:
            partial.replace(goal)
    except BaseException as error:
        if not special:
            with contextlib.suppress(OSError):
                partial.unlink()
        if isinstance(error, OSError) and not isinstance(error, BrokenPipeError):
            raise SpecError(f"{str(path)!r} cannot be written ({why(error, path)})") from None
        raise


def check_writable(path: Path, option: str) -> None:
    """Raise :class:`SpecError`, naming ``option``, if ``path`` cannot be made a file; makes the folders above it."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        known = path.exists()
        with path.open("a"):
            pass
        if not known:
            path.unlink()
    except OSError as error:
        raise SpecError(f"{option} {str(path)!r} cannot be written ({why(error, path)})") from None


def finite(value: Any) -> Any:
    """Return mappings, lists and numbers with null (None) for what JSON has no number for, such as NaN."""
    if isinstance(value, Mapping):
        return {str(key): finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
