"""Steps of a chain, from 0 on: where along it a network was measured."""

from overparam.report.axis import AXES, Axis

STEP = Axis("step", "step of the chain", scale="linear")
AXES.register("step", STEP)
