"""Width: units of a layer, or their multiple of the network's own."""

from overparam.report.axis import AXES, Axis

WIDTH = Axis("width", scale="log2", size=True)
AXES.register("width", WIDTH)
AXES.register("hidden", Axis("width", "width (units of the hidden layer)", scale="log2", size=True))
