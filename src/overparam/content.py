"""What a user brings from outside: finding it by import path, and using it so that no use leaves a trace."""

from __future__ import annotations

import copy
import importlib
import os
import sys
from collections.abc import Iterable
from typing import Any, TypeVar

from overparam.errors import SpecError, in_words
from overparam.registry import suggest

T = TypeVar("T")


def for_one_use(thing: T, shared: Iterable[object] = ()) -> T:
    """Return a copy of an object, such as a loss, so that what it keeps as it works does not reach its next use.

    Functions, and what cannot be copied, are returned as they are; what it holds of ``shared`` is not copied.
    """
    try:
        return copy.deepcopy(thing, {id(each): each for each in shared})
    except Exception:  # noqa: BLE001  (an object of the user's may raise anything)
        return thing


def import_path(given: str, kind: str) -> Any:
    """Return the object at ``package.module:name``; modules in the working directory are found too.

    Raises :class:`SpecError`, naming ``kind`` (what the object was wanted for), where there is no such thing or the
    module cannot be imported.
    """
    module_name, _, attribute = given.partition(":")
    if not module_name or not attribute:
        raise SpecError(f"{kind} {given!r} must have the form 'package.module:name'")
    if os.getcwd() not in sys.path and "" not in sys.path:
        sys.path.insert(0, os.getcwd())
    importlib.invalidate_caches()  # the file may be younger than Python's listing of its folder
    try:
        found: Any = importlib.import_module(module_name)
    except (Exception, SystemExit) as error:  # importing runs the user's own code, and a script may end itself
        raise SpecError(f"{kind} {given!r}: cannot import {module_name!r} ({in_words(error)})") from error
    for part in attribute.split("."):
        if not hasattr(found, part):
            raise SpecError(f"{kind} {given!r}: module {module_name!r} has no {part!r}{suggest(part, dir(found))}")
        found = getattr(found, part)
    return found
