"""Rank of factorised layers."""

from overparam.report.axis import AXES, Axis

RANK = Axis("rank", scale="log2", size=True)
AXES.register("rank", RANK)
