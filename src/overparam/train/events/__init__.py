"""Events: what changes masks while a network trains. Each is a small frozen object."""

from overparam.train.events.base import EVENTS, Event, Moment
from overparam.train.events.gradual import Gradual
from overparam.train.events.rewire import Rewire
from overparam.train.events.rigl import RigL
from overparam.train.events.set import SET

__all__ = ["EVENTS", "SET", "Event", "Gradual", "Moment", "Rewire", "RigL"]
