"""Training: the loop that respects masks, its settings, and evaluation."""

from overparam.length import Length
from overparam.train.evaluate import evaluate, metrics
from overparam.train.loop import Fit, fit
from overparam.train.losses import LOSSES
from overparam.train.settings import StopAt, TrainSettings

__all__ = ["LOSSES", "Fit", "Length", "StopAt", "TrainSettings", "evaluate", "fit", "metrics"]
