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
import warnings
from collections.abc import Iterable
from pathlib import Path

import torch

import overparam
from overparam.identity.names import names_in

MAINS = ("__main__", "__mp_main__")
"""Names of the script that a process was started with; workers have another one than their parent."""


def is_users(module_name: str, filename: str | None = None) -> bool:
    """Tell whether a module is the user's own: not of torch, overparam, Python or an installed package.

    ``filename`` helps where the module cannot be found by its name.
    """
    if module_name in MAINS:
        return True
    file = getattr(sys.modules.get(module_name), "__file__", None) or filename
    if file and os.path.exists(file):
        return not _in_library(file)
    top, _, below = module_name.partition(".")  # no file: built into Python, a part of a package, or from exec
    return is_users(top) if below else top not in sys.stdlib_module_names


def users_module(name: str) -> types.ModuleType | None:
    """Return the user's module of this name, None if there is none.

    It is imported if the program has not come to it yet, so that the answer does not depend on what ran before.
    """
    if name not in sys.modules and _users_file(name):
        try:
            importlib.import_module(name)
        except Exception:  # noqa: BLE001  (the user's own code may raise anything)
            return None
    return sys.modules.get(name) if is_users(name) else None


def sources(homes: Iterable[str]) -> dict[str, str]:
    """Return the SHA-256 of the files of those modules that are the user's, and of all that they import, by name.

    Imports count wherever in a file they stand; no module is imported for it but packages around others.
    """
    found: dict[str, str] = {}
    files: dict[str, str | None] = {}
    names = sorted(homes)
    for name in names:  # grows while it is walked
        file = None if name in files else _users_file(name)
        files.setdefault(name, file)
        if file:
            source = Path(file).read_bytes()
            found[name] = hashlib.sha256(source).hexdigest()
            around = name.rpartition(".")[0]
            names += [around, *_imports(source, name if Path(file).stem == "__init__" else around)]
    return dict(sorted(found.items()))


def packages(homes: Iterable[str]) -> dict[str, str]:
    """Return the versions of the installed packages that modules belong to, but for Python, torch and NumPy."""
    tops = {home.partition(".")[0] for home in homes if not is_users(home)} - sys.stdlib_module_names
    versions = {top: _version(top) for top in sorted(tops - {"torch", "numpy"})}
    return {top: version for top, version in versions.items() if version is not None}


def _version(package: str) -> str | None:
    version = getattr(sys.modules.get(package), "__version__", None)
    if isinstance(version, str):
        return version
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _users_file(name: str) -> str | None:
    """Return the file of the user's module of this name, loaded or not; None for a script and where there is none."""
    top = name.partition(".")[0]
    if name in MAINS or top in sys.stdlib_module_names:
        return None
    try:
        file = _file(top)
        if file is None or not _in_library(file):  # what is around a module is imported to find it
            file = _file(name)
    except Exception:  # noqa: BLE001  (a name that means nothing, or a package that cannot be imported here)
        return None
    return file if file and os.path.exists(file) and not _in_library(file) else None


def _file(name: str) -> str | None:
    found = sys.modules.get(name) or importlib.util.find_spec(name)
    return getattr(found, "__file__", None) or getattr(found, "origin", None)


@functools.lru_cache(maxsize=256)
def _imports(source: bytes, package: str) -> list[str]:
    """Return what a file may import, sorted; nothing for one that is no Python, such as an extension."""
    try:
        with warnings.catch_warnings(action="ignore"):
            return sorted(names_in(compile(source, "<source>", "exec"), package).imports)
    except (SyntaxError, ValueError):
        return []


@functools.cache
def _in_library(file: str) -> bool:
    path = os.path.realpath(file)
    inside = {"site-packages", "dist-packages"}.intersection(path.split(os.sep))
    return bool(inside) or path.startswith(_library_roots())


@functools.cache
def _library_roots() -> tuple[str, ...]:
    known = [sysconfig.get_path(kind) for kind in ("stdlib", "platstdlib", "purelib", "platlib")]
    own = [os.path.dirname(str(package.__file__)) for package in (torch, overparam)]
    return tuple(os.path.realpath(root) + os.sep for root in (*known, *own))
