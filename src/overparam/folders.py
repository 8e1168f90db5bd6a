"""Folders of the user's machine."""

import os
from pathlib import Path

CACHE = "OVERPARAM_CACHE"


def cache_folder() -> Path:
    """Return where downloads, decoded images, compiled kernels and calibrations are kept.

    That is ``OVERPARAM_CACHE``, else the user's cache folder as the system names it.
    """
    named = os.environ.get(CACHE)
    if named:
        return Path(named).expanduser()
    import pooch

    return Path(pooch.os_cache("overparam"))
