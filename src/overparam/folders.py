"""Folders of the user's machine."""

import contextlib
import os
import sys
import tempfile
from functools import cache
from pathlib import Path

CACHE = "OVERPARAM_CACHE"
"""Folder for what can be made anew: compiled kernels, downloaded and unpacked datasets; by default the user's cache."""
ROOM = 8_000_000  # bytes that must be free in the cache folder: about what all kernels take

telling = True  # workers do not: the process that starts them has told it


def cache_folder() -> Path:
    """Return where downloads, decoded images and compiled kernels are kept.

    That is ``OVERPARAM_CACHE``, else the user's cache folder as the system names it.
    """
    named = os.environ.get(CACHE)
    if named:
        return Path(os.path.expanduser(named))
    from platformdirs import user_cache_dir  # what pooch asks, at a third of its time

    return Path(user_cache_dir("overparam"))


def writable_cache_folder() -> Path:
    """Return :func:`cache_folder` if it takes what is kept there, else a folder for this user among the temporary ones.

    What is kept there can be made again, but not quickly; so the user is told, once.
    """
    return _writable(cache_folder())


@cache
def _writable(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(bytes(ROOM))
            return folder
    except OSError as error:
        other = _temporary()
        if telling:
            print(
                f"overparam: cannot write to the cache folder {folder} ({error.strerror}); using {other} "
                f"(set {CACHE} to choose another)",
                file=sys.stderr,
                flush=True,
            )
        return other


def _temporary() -> Path:
    user = os.getuid() if hasattr(os, "getuid") else os.environ.get("USERNAME", "user")
    folder = Path(tempfile.gettempdir()) / f"overparam-{user}"
    with contextlib.suppress(OSError):  # it is then found out by whoever writes
        folder.mkdir(mode=0o700, exist_ok=True)
        if folder.stat().st_uid != user:  # compiled code is loaded from there
            return Path(tempfile.mkdtemp(prefix="overparam-"))
    return folder
