"""Which globals, attributes and imports a piece of code names."""

from __future__ import annotations

import dis
import functools
import importlib.util
import types
from collections.abc import Iterable
from dataclasses import dataclass, field

_GLOBAL = ("LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS")
_ATTRIBUTE = ("LOAD_ATTR", "LOAD_METHOD", "IMPORT_FROM")


@dataclass(frozen=True)
class Names:
    """The names that a piece of code uses; ``imports`` are absolute and may be modules or what is in one."""

    globals: set[str] = field(default_factory=set)
    attributes: set[str] = field(default_factory=set)
    imports: set[str] = field(default_factory=set)


@functools.lru_cache(maxsize=1024)  # a study looks at the same functions before and after each step
def names_in(code: types.CodeType, package: str) -> Names:
    """Return the names that a code object of ``package`` uses, those of the code inside it too; do not change them."""
    found, codes = Names(), [code]
    for each in codes:  # grows while it is walked
        codes += [inner for inner in each.co_consts if isinstance(inner, types.CodeType)]
        steps = [step for step in dis.get_instructions(each) if step.opname != "EXTENDED_ARG"]
        for place, step in enumerate(steps):
            if step.opname in _GLOBAL:
                found.globals.add(step.argval)
            elif step.opname in _ATTRIBUTE:
                found.attributes.add(step.argval)
            elif step.opname == "IMPORT_NAME":
                found.imports.update(_meant(step.argval, steps[place - 2].argval, steps[place - 1].argval, package))
    return found


def _meant(name: str, level: int, members: Iterable[str] | None, package: str) -> list[str]:
    """Return what ``from {level dots}{name} import {members}`` may import, members being modules perhaps."""
    try:
        base = importlib.util.resolve_name("." * level + name, package)
    except ImportError:  # relative, and there is no package
        return []
    return [base, *(f"{base}.{member}" for member in members or ())]
