"""Training: the loop that respects masks, its settings, and evaluation."""

from overparam.length import Length
from overparam.train.distill import Distill
from overparam.train.evaluate import evaluate, metrics
from overparam.train.loop import Fit, fit
from overparam.train.losses import LOSSES
from overparam.train.optimisers import OPTIMISERS, SGD, Adam, AdamW, Optimiser, RMSprop
from overparam.train.schedules import SCHEDULES, Constant, Cosine, Multistep, Schedule
from overparam.train.settings import StopAt, TrainSettings

__all__ = [
    "LOSSES",
    "OPTIMISERS",
    "SCHEDULES",
    "SGD",
    "Adam",
    "AdamW",
    "Constant",
    "Cosine",
    "Distill",
    "Fit",
    "Length",
    "Multistep",
    "Optimiser",
    "RMSprop",
    "Schedule",
    "StopAt",
    "TrainSettings",
    "evaluate",
    "fit",
    "metrics",
]
