"""Using what a user brings so that it is the same at its next use."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import TypeVar

T = TypeVar("T")


def for_one_use(thing: T, shared: Iterable[object] = ()) -> T:
    """Return a copy of an object, such as a loss, so that what it keeps as it works does not reach its next use.

    Functions, and what cannot be copied, are returned as they are; what it holds of ``shared`` is not copied.
    """
    try:
        return copy.deepcopy(thing, {id(each): each for each in shared})
    except Exception:  # noqa: BLE001  (an object of the user's may raise anything)
        return thing
