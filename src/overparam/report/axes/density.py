"""Density: the share of the weights that is kept, from the dense network to the sparsest."""

from overparam.report.axis import AXES, Axis
from overparam.report.words import density

DENSITY = Axis(
    "density",
    "density (share of weights kept)",
    column="density",
    scale="log",
    falling=True,
    size=True,
    phrase="{value} density",
    write=density,
    form="~%",
    set_by=("density", "fraction"),
    ticks=tuple(one * 10.0**-power for power in range(7) for one in (1, 0.5, 0.2)),
)
"""Density, the usual axis: from the dense network to the sparsest."""
AXES.register("density", DENSITY)
