"""Training: the loop that respects masks, its settings, and evaluation."""

from overparam.length import Length
from overparam.train.evaluate import Score, evaluate
from overparam.train.loop import Fit, fit
from overparam.train.losses import LOSSES
from overparam.train.settings import StopAt, TrainSettings

__all__ = ["LOSSES", "Fit", "Length", "Score", "StopAt", "TrainSettings", "evaluate", "fit"]
