"""The verbs of a chain: each step takes a checkpoint and makes a checkpoint."""

from overparam.steps.base import STEPS, Context, Outcome, Step
from overparam.steps.compact import Compact
from overparam.steps.complement import Complement
from overparam.steps.constrain import Constrain
from overparam.steps.hold import Hold
from overparam.steps.measure import Measure
from overparam.steps.prune import Prune
from overparam.steps.quantise import Quantise
from overparam.steps.redense import Redense
from overparam.steps.reinit import Reinit
from overparam.steps.restart import Restart
from overparam.steps.rewind import LrRewind, Rewind
from overparam.steps.shuffle import Shuffle
from overparam.steps.sr_ste import SrSte
from overparam.steps.supermask import Supermask
from overparam.steps.ticket_search import TicketSearch
from overparam.steps.train import Train

__all__ = [
    "STEPS",
    "Compact",
    "Complement",
    "Constrain",
    "Context",
    "Hold",
    "LrRewind",
    "Measure",
    "Outcome",
    "Prune",
    "Quantise",
    "Redense",
    "Reinit",
    "Restart",
    "Rewind",
    "Shuffle",
    "SrSte",
    "Step",
    "Supermask",
    "TicketSearch",
    "Train",
]
