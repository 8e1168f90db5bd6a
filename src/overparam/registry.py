"""Names for things: how a word in a study file finds the class or function it means."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator
from typing import Generic, TypeVar

from overparam.errors import SpecError

T = TypeVar("T")


def suggest(given: str, allowed: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` when one of ``allowed`` is close to ``given``, else an empty string."""
    close = difflib.get_close_matches(given, list(allowed), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


class Registry(Generic[T]):
    """A table of named things of one kind, in the order in which they were registered.

    >>> criteria = Registry("criterion")
    >>> criteria.register("magnitude", abs)
    >>> criteria.get("magnitud")
    Traceback (most recent call last):
    ...
    overparam.errors.SpecError: unknown criterion 'magnitud'; did you mean 'magnitude'? (known: magnitude)
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._things: dict[str, T] = {}

    def register(self, name: str, thing: T) -> None:
        """Add ``thing`` under ``name``; a name can be given once only."""
        if name in self._things:
            raise SpecError(f"{self.kind} {name!r} is registered already; choose another name")
        self._things[name] = thing

    def named(self, name: str) -> Callable[[T], T]:
        """Decorator form of :meth:`register`."""

        def add(thing: T) -> T:
            self.register(name, thing)
            return thing

        return add

    def get(self, name: str) -> T:
        """Return what is registered under ``name``; raises :class:`SpecError` with a suggestion if nothing is."""
        if name not in self._things:
            raise SpecError(
                f"unknown {self.kind} {name!r}{suggest(name, self._things)} (known: {', '.join(self._things)})"
            )
        return self._things[name]

    def summary(self, name: str) -> str:
        """Return one line on what ``name`` is: the first line of its docstring."""
        return (self.get(name).__doc__ or "").strip().split("\n")[0]

    def __contains__(self, name: object) -> bool:
        return name in self._things

    def __iter__(self) -> Iterator[str]:
        return iter(self._things)

    def __len__(self) -> int:
        return len(self._things)
