"""Training examples."""

from overparam.report.axis import AXES, Axis

TRAIN_SIZE = Axis("training set", "training examples", scale="log", phrase="{value} training examples", form="~s")
AXES.register("train_size", TRAIN_SIZE)
