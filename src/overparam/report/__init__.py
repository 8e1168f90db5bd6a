"""From a results table to what it says: phases, statistics, claims, tables, charts and the page.

Every function takes a table (polars) and returns a thing; nothing here knows how the table came about. What draws is
loaded when it is first used, so that tables and claims do not wait for Altair.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from overparam.report.arms import arms, lacking
from overparam.report.claims import Verdict
from overparam.report.finding import finding
from overparam.report.phases import find_phases, phase_table, phases
from overparam.report.tables import export, level_table, rich_table

if TYPE_CHECKING:
    from overparam.report.figures import write_charts
    from overparam.report.page import write_page

_DRAWING = {"write_charts": "overparam.report.figures", "write_page": "overparam.report.page"}

__all__ = [
    "Verdict",
    "arms",
    "export",
    "find_phases",
    "finding",
    "lacking",
    "level_table",
    "phase_table",
    "phases",
    "rich_table",
    "write_charts",
    "write_page",
]


def __getattr__(name: str) -> Any:
    if name in _DRAWING:
        return getattr(import_module(_DRAWING[name]), name)
    raise AttributeError(f"module 'overparam.report' has no attribute {name!r}")
