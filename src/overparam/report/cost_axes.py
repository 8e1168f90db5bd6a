"""Costs as axes: sparsity, compression ratio, weights, multiply-adds, bytes, and time as measured."""

from overparam.report.axis import AXES, Axis
from overparam.report.costs import COSTS, Cost

GROWING = ("sparsity", "compression_ratio")
"""The more of these, the smaller is the network."""


def _axis(cost: Cost) -> Axis:
    share = cost.column == "sparsity"
    return Axis(
        cost.title,
        f"{cost.title} ({cost.says})",
        column=cost.column,
        scale="linear" if share else "log",
        phrase="{value} {word}" if cost.column in ("sparsity", "kept") else "{word} {value}",
        write=cost.write,
        form="~%" if share else "~s",
        size=cost.column not in GROWING,
        set_by=("density", "fraction"),
    )


COST_AXES = {cost.column: _axis(cost) for cost in COSTS if cost.column != "density"}
"""An axis for each cost but the density, by column."""

for _column, _of in COST_AXES.items():
    AXES.register(_column, _of)
