"""A small memory of results."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")


class Recent(Generic[K, T]):
    """The results of the last ``size`` different keys, in the order in which they were last asked for.

    >>> squares = Recent(2)
    >>> [squares.get(number, lambda: number**2) for number in (3, 4, 3, 5)]
    [9, 16, 9, 25]
    >>> list(squares)
    [3, 5]
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._kept: dict[K, T] = {}

    def get(self, key: K, make: Callable[[], T]) -> T:
        """Return what is kept under ``key``, else what ``make`` returns, and keep it."""
        found = self._kept.pop(key) if key in self._kept else make()
        self.keep(key, found)
        return found

    def keep(self, key: K, value: T) -> None:
        """Keep ``value`` under ``key``; the key asked for least recently goes, if there are too many."""
        self._kept.pop(key, None)
        self._kept[key] = value
        while len(self._kept) > self._size:
            del self._kept[next(iter(self._kept))]

    def forget(self, key: K) -> None:
        """Drop what is kept under ``key``, if anything is."""
        self._kept.pop(key, None)

    def __iter__(self) -> Iterator[K]:
        return iter(list(self._kept))
