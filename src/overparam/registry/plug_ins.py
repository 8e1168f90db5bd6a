"""Plug-ins: things that installed packages offer by name, as entry points of the groups ``overparam.<kind>``."""

from __future__ import annotations

import functools
import importlib.metadata
import sys
from dataclasses import dataclass

from overparam.errors import SpecError


@dataclass(frozen=True)
class PlugIn:
    """A thing that an installed package offers.

    Attributes:
        name: by which a study file means it.
        path: where it is, ``package.module:name``.
        package: the distribution that offers it, with its version, e.g. ``"my-things 1.2"``.
    """

    name: str
    path: str
    package: str


def plug_ins(kind: str) -> tuple[PlugIn, ...]:
    """Return what the installed packages offer of ``kind``, by name; no package is imported."""
    return _offered(kind, tuple(sys.path))


def plug_in(kind: str, name: str) -> PlugIn | None:
    """Return the plug-in of that name, or None; raises :class:`SpecError` if several packages offer one.

    Packages that were installed since the last look are found too.
    """
    found = [each for each in plug_ins(kind) if each.name == name]
    if not found:
        _offered.cache_clear()
        found = [each for each in plug_ins(kind) if each.name == name]
    if len(found) > 1:
        each = " and ".join(f"{one.package} ({one.path})" for one in found)
        raise SpecError(f"{kind} {name!r} is offered by {each}; say which with its import path")
    return found[0] if found else None


@functools.lru_cache(maxsize=64)
def _offered(kind: str, path: tuple[str, ...]) -> tuple[PlugIn, ...]:
    """Return the plug-ins of ``kind`` of the packages on ``path``, as importing finds them, by name."""
    found: dict[PlugIn, None] = {}
    for entry in importlib.metadata.entry_points(group=f"overparam.{kind}"):
        package = f"{entry.dist.name} {entry.dist.version}" if entry.dist else "an unknown package"
        found[PlugIn(entry.name, entry.value, package)] = None
    return tuple(sorted(found, key=lambda one: one.name))
