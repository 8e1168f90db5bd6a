"""Which globals, attributes and imports a piece of code names."""

from __future__ import annotations

import dis
import types
from dataclasses import dataclass


@dataclass(frozen=True)
class Names:
    """The names that a piece of code uses."""

    globals: frozenset[str]
    attributes: frozenset[str]
    imports: frozenset[str]


def names_in(code: types.CodeType) -> Names:
    """Return the names that a code object uses, those of the code inside it included."""
    used: dict[str, set[str]] = {"GLOBAL": set(), "ATTR": set(), "IMPORT": set()}
    codes = [code]
    for each in codes:  # grows while it is walked
        codes += [inner for inner in each.co_consts if isinstance(inner, types.CodeType)]
        for instruction in dis.get_instructions(each):
            kind = _KINDS.get(instruction.opname)
            if kind is not None:
                used[kind].add(str(instruction.argval))
    return Names(frozenset(used["GLOBAL"]), frozenset(used["ATTR"]), frozenset(used["IMPORT"]))


_KINDS = {
    "LOAD_GLOBAL": "GLOBAL",
    "LOAD_NAME": "GLOBAL",
    "LOAD_FROM_DICT_OR_GLOBALS": "GLOBAL",
    "LOAD_ATTR": "ATTR",
    "LOAD_METHOD": "ATTR",
    "IMPORT_FROM": "ATTR",
    "IMPORT_NAME": "IMPORT",
}
