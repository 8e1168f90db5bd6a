"""Learning-rate schedules: pure functions of the iteration, each a small frozen object."""

from overparam.train.schedules.base import SCHEDULES, Schedule, learning_rate
from overparam.train.schedules.constant import Constant
from overparam.train.schedules.cosine import Cosine
from overparam.train.schedules.multistep import Multistep

__all__ = ["SCHEDULES", "Constant", "Cosine", "Multistep", "Schedule", "learning_rate"]
