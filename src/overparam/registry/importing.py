"""Import paths: from ``package.module:name`` to what stands there."""

from __future__ import annotations

import importlib
import os
import re
import sys
from typing import Any

from overparam.errors import SpecError, in_words, suggest

FORM = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")


def check_form(given: str, kind: str) -> None:
    """Raise :class:`SpecError` unless ``given`` has the form ``package.module:name``; nothing is imported."""
    if not FORM.fullmatch(given):
        raise SpecError(f"{kind} {given!r}: an import path is written 'package.module:name'")


def import_path(given: str, kind: str) -> Any:
    """Return the object at ``package.module:name``; modules in the working directory are found too.

    As with ``python -m``, that directory joins the front of ``sys.path``, so a module there goes before an installed
    one of the same name. Raises :class:`SpecError`, naming ``kind`` (what the object was wanted for), where there is no
    such module or name, or the module cannot be imported.
    """
    check_form(given, kind)
    module_name, _, attribute = given.partition(":")
    if os.getcwd() not in sys.path and "" not in sys.path:
        sys.path.insert(0, os.getcwd())
    importlib.invalidate_caches()  # the file may be younger than Python's listing of its folder
    try:
        found: Any = importlib.import_module(module_name)
    except (Exception, SystemExit) as error:  # importing runs the user's own code, and a script may end itself
        if isinstance(error, ModuleNotFoundError) and f"{module_name}.".startswith(f"{error.name}."):
            raise SpecError(
                f"{kind} {given!r}: there is no module {error.name!r}, neither in the current folder nor installed; "
                "run from the folder that holds it, or install it"
            ) from None
        raise SpecError(f"{kind} {given!r}: importing {module_name!r} failed with {in_words(error)}") from error
    for part in attribute.split("."):
        if not hasattr(found, part):
            owner = getattr(found, "__name__", module_name)
            raise SpecError(f"{kind} {given!r}: {owner!r} has no {part!r}{suggest(part, dir(found))}")
        found = getattr(found, part)
    return found
