"""Bits that a weight takes."""

from overparam.report.axis import AXES, Axis

BITS = Axis("bits", "bits of a weight", scale="log2", size=True, phrase="{value} bits")
AXES.register("bits", BITS)
