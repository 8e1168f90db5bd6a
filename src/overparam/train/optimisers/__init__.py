"""Optimisers: small frozen objects that say their torch form and, if they have one, their compiled form."""

from overparam.train.optimisers.adam import Adam
from overparam.train.optimisers.adamw import AdamW
from overparam.train.optimisers.base import OPTIMISERS, Compiled, Optimiser
from overparam.train.optimisers.behaviour import Behaviour, behaviour
from overparam.train.optimisers.of_torch import OfTorch
from overparam.train.optimisers.rmsprop import RMSprop
from overparam.train.optimisers.sgd import SGD

__all__ = [
    "OPTIMISERS",
    "SGD",
    "Adam",
    "AdamW",
    "Behaviour",
    "Compiled",
    "OfTorch",
    "Optimiser",
    "RMSprop",
    "behaviour",
]
