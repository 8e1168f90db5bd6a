"""Learning curves: rows as a training makes them, columns as they are stored, one table of all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def columns_of(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Return rows as columns, None where a row lacks one.

    >>> columns_of([{"iteration": 1, "loss": 0.5}, {"iteration": 2}])
    {'iteration': [1, 2], 'loss': [0.5, None]}
    """
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [row.get(name) for row in rows] for name in names}
