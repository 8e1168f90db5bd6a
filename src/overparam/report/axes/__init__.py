"""Axes that are scaled and told in their own way, one file each; any other number is an axis in plain words."""

from overparam.report.axes.bits import BITS
from overparam.report.axes.density import DENSITY
from overparam.report.axes.iteration import ITERATION
from overparam.report.axes.label_noise import LABEL_NOISE
from overparam.report.axes.rank import RANK
from overparam.report.axes.step import STEP
from overparam.report.axes.train_size import TRAIN_SIZE
from overparam.report.axes.width import WIDTH
from overparam.report.cost_axes import COST_AXES

__all__ = ["BITS", "COST_AXES", "DENSITY", "ITERATION", "LABEL_NOISE", "RANK", "STEP", "TRAIN_SIZE", "WIDTH"]
