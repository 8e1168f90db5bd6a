"""The laboratory: chains, studies, the plan, the store and the workers. It knows files and no science.

Names are loaded when they are first used: what only reads a store needs no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from overparam.lab.chain import Branch, Chain, Repeat
    from overparam.lab.contents import Contents
    from overparam.lab.dialect import parse_yaml
    from overparam.lab.differing import Difference, Side, difference
    from overparam.lab.loading import load_checkpoint, load_module
    from overparam.lab.packing import Packed, pack
    from overparam.lab.progress import LogReporter, PlainReporter, Reporter
    from overparam.lab.removing import Removal, removal, remove
    from overparam.lab.results import Results, load_results
    from overparam.lab.showing import reporter_for
    from overparam.lab.store import Store
    from overparam.lab.study import Study
    from overparam.lab.study_files import built_in_studies
    from overparam.lab.unpacking import Unpacked, unpack

_HOMES = {
    "contents": ("Contents",),
    "differing": ("Difference", "Side", "difference"),
    "packing": ("Packed", "pack"),
    "removing": ("Removal", "removal", "remove"),
    "unpacking": ("Unpacked", "unpack"),
    "chain": ("Branch", "Chain", "Repeat"),
    "dialect": ("parse_yaml",),
    "loading": ("load_checkpoint", "load_module"),
    "progress": ("LogReporter", "PlainReporter", "Reporter"),
    "showing": ("reporter_for",),
    "results": ("Results", "load_results"),
    "store": ("Store",),
    "study": ("Study",),
    "study_files": ("built_in_studies",),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "Branch",
    "Chain",
    "Contents",
    "Difference",
    "LogReporter",
    "Packed",
    "PlainReporter",
    "Removal",
    "Repeat",
    "Reporter",
    "Results",
    "Side",
    "Store",
    "Study",
    "Unpacked",
    "built_in_studies",
    "difference",
    "load_checkpoint",
    "load_module",
    "load_results",
    "pack",
    "parse_yaml",
    "removal",
    "remove",
    "reporter_for",
    "unpack",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return globals().setdefault(name, getattr(import_module(f"overparam.lab.{_HOME[name]}"), name))
    raise AttributeError(f"module 'overparam.lab' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
