"""Where in a study file a thing stands, so that what is wrong with it can be told by its line."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace

from overparam.errors import Keys, SpecError
from overparam.lab.dialect import lines_of


@dataclass(frozen=True)
class Source:
    """A study file.

    Args:
        path: where it is.
        text: what it holds.
        changed: dotted paths whose values are others by now, such as those of ``--set``: they stand in no line of it.
    """

    path: str
    text: str
    changed: frozenset[str] = frozenset()

    def without(self, changed: Collection[str]) -> Source:
        """Return it for a study in which further values are others."""
        return replace(self, changed=self.changed.union(changed))

    @contextlib.contextmanager
    def located(self) -> Iterator[None]:
        """Tell a :class:`SpecError` of a thing in this file by file and line."""
        try:
            yield
        except SpecError as error:
            told = error.at[1:] if error.at[:1] == ("sweep",) else error.at
            if not self.path or any(told[:1] == (path,) or concerns(path, told) for path in self.changed):
                raise
            line = self.line(error.at)
            raise SpecError(f"{self.path}{f', line {line}' if line else ''}: {error}") from None

    def line(self, at: Keys) -> int | None:
        """Return the line of what is at some keys, or else of the nearest that is around it; None: there is none."""
        lines = lines_of(self.text)
        ways = (at, _of_settings(at))
        around = (way[: len(way) - fewer] for fewer in range(len(at)) for way in ways)
        return next((lines[keys] for keys in around if keys in lines), None)


def _of_settings(at: Keys) -> Keys:
    """Return where a field of a step in a chain stands if the step has it from the study's settings."""
    places = [place for place, key in enumerate(at) if isinstance(key, int)]
    return at[places[-1] + 1 :] if at[:1] == ("chain",) and places else ()


NO_FILE = Source("", "")
"""What a study is from that was made in Python."""


def concerns(path: str, at: Keys) -> bool:
    """Tell whether a value at a dotted path is, holds or is part of what is at some keys of a study.

    >>> concerns("prune.criterion", ("chain", 1, "prune", "criterion")), concerns("prune.criterion", ("prune", "scope"))
    (True, False)
    """
    keys = tuple(path.split("."))
    ways = [at[place:] for place in range(len(at))] if at[:1] == ("chain",) else [at]
    return any(all(one == other for one, other in zip(keys, way, strict=False)) for way in ways)
