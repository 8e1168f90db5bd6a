"""Label noise: the share of the training labels that was drawn anew."""

from overparam.report.axis import AXES, Axis
from overparam.report.words import percent

LABEL_NOISE = Axis(
    "label noise",
    "label noise (rate)",
    scale="linear",
    phrase="{value} label noise",
    write=lambda value: percent(value, 0),
    form="~%",
)
AXES.register("world.label_noise.rate", LABEL_NOISE)
