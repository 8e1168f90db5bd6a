"""Iterations of a training: how many steps its optimiser has made."""

from overparam.report.axis import AXES, Axis

ITERATION = Axis("iteration", "iteration of the training", scale="log")
AXES.register("iteration", ITERATION)
