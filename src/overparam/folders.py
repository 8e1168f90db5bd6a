"""Folders of the user's machine."""

import os
import sys
import tempfile
from functools import cache
from pathlib import Path

CACHE = "OVERPARAM_CACHE"


def cache_folder() -> Path:
    """Return where downloads, decoded images, compiled kernels and calibrations are kept.

    That is ``OVERPARAM_CACHE``, else the user's cache folder as the system names it.
    """
    named = os.environ.get(CACHE)
    if named:
        return Path(os.path.expanduser(named))
    import pooch

    return Path(pooch.os_cache("overparam"))


def writable_cache_folder() -> Path:
    """Return :func:`cache_folder` if it can be written to, else a folder for this user among the temporary files.

    What is kept there can be made again, but not quickly; so the user is told, once.
    """
    return _writable(cache_folder())


@cache
def _writable(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError as error:
        user = os.getuid() if hasattr(os, "getuid") else os.environ.get("USERNAME", "user")
        other = Path(tempfile.gettempdir()) / f"overparam-{user}"
        print(
            f"overparam: cannot write to the cache folder {folder} ({error.strerror}); using {other} "
            f"(set {CACHE} to choose another)",
            file=sys.stderr,
            flush=True,
        )
        return other
