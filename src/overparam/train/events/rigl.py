"""RigL: rewiring by gradients."""

from typing import Annotated, Any

from overparam.prune import CRITERIA
from overparam.spec import spec
from overparam.train.events.base import EVENTS
from overparam.train.events.rewire import Rewire


@EVENTS.named("rigl")
@spec
class RigL(Rewire):
    """The smallest weights go and those with the steepest gradients grow (Evci et al., ICML 2020).

    Reference: arXiv:1911.11134; the gradients are those of one mini-batch in training mode, of all weights, and the
    interval and the end that are usual there are the defaults.

    Example:
        {rigl: {every: 100it, fraction: 0.3}}
    """

    grow: Annotated[Any, CRITERIA] = "gradient-magnitude"
