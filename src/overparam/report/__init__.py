"""From a results table to what it says: arms, curves, statistics, claims, and pages made of sections.

Every function takes a table (polars) and returns a thing; nothing here knows how the table came about, or any paper.
What draws is loaded when it is first used, so that tables and claims do not wait for Altair.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from overparam.report.arms import Arm, arms, lacking
from overparam.report.axes import DENSITY
from overparam.report.axis import AXES, Axis
from overparam.report.claims import Verdict
from overparam.report.curves import curve, curves
from overparam.report.sections import Material, Section
from overparam.report.tables import export, level_table, printed, rich_table

if TYPE_CHECKING:
    from overparam.report.figures import write_charts
    from overparam.report.general import general_sections
    from overparam.report.page import write_page

_LATER = {
    "general_sections": "overparam.report.general",
    "write_charts": "overparam.report.figures",
    "write_page": "overparam.report.page",
}

__all__ = [
    "AXES",
    "DENSITY",
    "Arm",
    "Axis",
    "Material",
    "Section",
    "Verdict",
    "arms",
    "curve",
    "curves",
    "export",
    "general_sections",
    "lacking",
    "level_table",
    "printed",
    "rich_table",
    "write_charts",
    "write_page",
]


def __getattr__(name: str) -> Any:
    if name in _LATER:
        return getattr(import_module(_LATER[name]), name)
    raise AttributeError(f"module 'overparam.report' has no attribute {name!r}")
