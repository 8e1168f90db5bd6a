"""Where code comes from: the user's own files, or libraries that are told by name and version."""

from __future__ import annotations

import functools
import hashlib
import importlib
import importlib.metadata
import importlib.util
import os
import sys
import sysconfig
import types
from collections.abc import Iterable
from pathlib import Path

import torch

import overparam

MAINS = ("__main__", "__mp_main__")
"""Names of the script that a process was started with; workers have another one than their parent."""


def is_users(module_name: str, filename: str | None = None) -> bool:
    """Say whether a module is the user's own: not of torch, overparam, Python or an installed package.

    ``filename`` helps where the module cannot be found by its name.
    """
    if module_name in MAINS:
        return True
    file = getattr(sys.modules.get(module_name), "__file__", None) or filename
    if file and os.path.exists(file):
        return not _in_library(file)
    top, _, below = module_name.partition(".")  # no file: built into Python, a part of a package, or from exec
    if below:
        return is_users(top)
    return top not in sys.stdlib_module_names


def source_digest(module_name: str) -> str | None:
    """Return the SHA-256 of a module's file, or None for a main script and for a module without a file."""
    file = getattr(sys.modules.get(module_name), "__file__", None)
    if module_name in MAINS or not file or not os.path.exists(file):
        return None
    return hashlib.sha256(Path(file).read_bytes()).hexdigest()


def neighbours(module_name: str) -> list[str]:
    """Return the names of the modules that the globals of a module are, or come from, sorted."""
    names = set()
    for value in list(vars(sys.modules[module_name]).values()):
        try:
            home = value.__name__ if isinstance(value, types.ModuleType) else value.__module__
        except Exception:  # noqa: BLE001  (plain data has no home, and a proxy may raise anything)
            continue
        if isinstance(home, str) and home in sys.modules and home != module_name:
            names.add(home)
    return sorted(names)


def imported_modules(names: Iterable[str], package: str) -> list[types.ModuleType]:
    """Return the user's modules that ``import`` statements inside functions of ``package`` mean by ``names``.

    Both readings of a name, absolute and relative to the package and its parents, are tried. Modules that the
    program has not come to yet are imported, so that the answer does not depend on what ran before.
    """
    parents = package.split(".") if package else []
    prefixes = [".".join(parents[:depth]) for depth in range(len(parents), -1, -1)]
    wanted = {".".join(filter(None, (prefix, name))) for prefix in prefixes for name in names}
    found = [sys.modules.get(name) or _import_users(name) for name in sorted(wanted) if name]
    return [module for module in found if module is not None and is_users(module.__name__)]


def package_version(module_name: str) -> str | None:
    """Return the version of a module's installed package; None for Python, torch and what has no version."""
    top = module_name.partition(".")[0]
    if top in sys.stdlib_module_names or top == "torch":
        return None
    version = getattr(sys.modules.get(top), "__version__", None)
    if isinstance(version, str):
        return version
    try:
        return importlib.metadata.version(top)
    except importlib.metadata.PackageNotFoundError:
        return None


def _import_users(name: str) -> types.ModuleType | None:
    try:
        found = importlib.util.find_spec(name)
        if found is None or found.origin is None or not os.path.exists(found.origin) or _in_library(found.origin):
            return None
        return importlib.import_module(name)
    except Exception:  # noqa: BLE001  (a name that means nothing, or a module that cannot be imported here)
        return None


@functools.cache
def _in_library(file: str) -> bool:
    path = os.path.realpath(file)
    parts = path.split(os.sep)
    if "site-packages" in parts or "dist-packages" in parts:
        return True
    return any(path.startswith(root + os.sep) for root in _library_roots())


@functools.cache
def _library_roots() -> tuple[str, ...]:
    known = [sysconfig.get_path(kind) for kind in ("stdlib", "platstdlib", "purelib", "platlib")]
    own = [os.path.dirname(str(package.__file__)) for package in (torch, overparam)]
    return tuple(os.path.realpath(root) for root in (*known, *own))
