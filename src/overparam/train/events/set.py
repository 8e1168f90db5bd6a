"""Sparse Evolutionary Training: rewiring at random."""

from overparam.spec import spec
from overparam.train.events.base import EVENTS
from overparam.train.events.rewire import Rewire


@EVENTS.named("set")
@spec
class SET(Rewire):
    """The smallest weights go and others grow at random (Mocanu et al., Nature Communications 2018).

    Reference: arXiv:1707.04780; there the share is constant, and weights are exchanged after each epoch.

    Example:
        {set: {every: 1ep}}
    """
