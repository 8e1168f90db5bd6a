"""Where things are described: the links from fields and docstrings to the entries of the reference."""

from __future__ import annotations

import posixpath
from functools import lru_cache
from typing import Any

from overparam.length import Length
from overparam.networks import Network
from overparam.reference.kinds import KINDS, Thing, things
from overparam.reference.names import homes, modules, public
from overparam.registry import Registry
from overparam.report.axis import AXES
from overparam.train.settings import StopAt
from overparam.worlds import Augmentation, ImageFolder, LabelNoise, World

SETTINGS: tuple[type, ...] = (World, LabelNoise, Augmentation, ImageFolder, Network, StopAt, Length)
"""Parts of a study that are no registered things, in the order of their page."""


class Links:
    """The links from one page to entries.

    Args:
        page: the path of the page, such as ``reference/steps.md``.
    """

    def __init__(self, page: str) -> None:
        self.page = page

    def to(self, path: str, anchor: str = "") -> str:
        """Return the link from here to an entry of another page."""
        relative = "" if path == self.page else posixpath.relpath(path, posixpath.dirname(self.page))
        return f"{relative}#{anchor}" if anchor else relative

    def thing(self, thing: Any) -> str | None:
        """Return a link in words to what a field may be: a registry's things, or a class."""
        if isinstance(thing, Registry):
            kind = next((kind for kind in KINDS.values() if kind.registry is thing), None)
            return f"[{thing.kind}]({self.to(f'reference/{kind.word}.md')})" if kind else None
        if isinstance(thing, type) and (target := self.entry(thing)):
            return f"[{'length' if thing is Length else thing.__name__}]({target})"
        return None

    def entry(self, thing: Any) -> str | None:
        """Return the link to where a thing is described: as one of its kind, as a part of a study, or as a name."""
        if thing in SETTINGS:
            return self.to("reference/study.md", thing.__name__.lower())
        each = _things().get(id(thing))
        return self.to(f"reference/{each.kind.word}.md", each.name) if each else self.name(thing)

    def name(self, thing: Any) -> str | None:
        """Return the link to the public name of a thing."""
        home = homes().get(id(thing))
        return self.to(page_of(home.module), home.path) if home else None

    def dotted(self, path: str) -> str | None:
        """Return the link to what a dotted name in a docstring means, if that has a public name."""
        if path in modules():
            return self.to(page_of(path))
        owner, _, last = path.rpartition(".")
        name = _by_name().get(last) or _by_name().get(".".join([owner.rpartition(".")[2], last]))
        return self.to(page_of(name[0]), name[1]) if name else None


@lru_cache
def _things() -> dict[int, Thing]:
    """Return registered things by identity; what has two names by the first."""
    return {id(each.thing): each for each in reversed(things())}


@lru_cache
def _by_name() -> dict[str, tuple[str, str]]:
    """Return module and anchor of each public name, and of each member as ``Class.member``."""
    found = {
        f"{name.name}.{member}": (name.module, f"{name.path}.{member}")
        for name in public()
        for member, _ in name.members()
    }
    return found | {name.name: (name.module, name.path) for name in reversed(public())}


def page_of(module: str) -> str:
    """Return the path of the page of a module's names."""
    return f"reference/python/{module}.md"


def axes() -> list[tuple[str, Any]]:
    """Return the registered axes by name."""
    return [(name, AXES.get(name)) for name in AXES]
