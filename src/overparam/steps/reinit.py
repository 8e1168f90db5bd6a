"""The step that draws a new initialisation."""

import dataclasses
from collections.abc import Mapping
from typing import ClassVar

from overparam.checkpoint import Checkpoint, state_of
from overparam.length import START
from overparam.spec import spec
from overparam.steps.base import STEPS, Context, Outcome, Step


@STEPS.named("reinit")
@spec
class Reinit(Step):
    """Draw a new random initialisation under the same mask: the control of the Lottery Ticket Hypothesis.

    Every ``reinit`` of a chain draws anew; all parameters and buffers are fresh. Weights are drawn for the layer as it
    is: under masks, whole units pruned or not, that is the dense one; after ``compact`` it is the smaller one.
    """

    kind: ClassVar[str] = "reinit"
    quick: ClassVar[bool] = True
    keeps_counts: ClassVar[bool] = True

    def traits(self) -> Mapping[str, str]:
        """Return how is retrained from here on."""
        return {"retraining": "reinit"}

    def run(self, start: Checkpoint, context: Context) -> Outcome:
        """Return ``start``'s masks over newly initialised weights."""
        counted = start.counted("reinit")
        fresh = state_of(context.fresh(f"reinit-{counted.count('reinit')}", surgery=start.surgery))
        return Outcome(dataclasses.replace(counted.with_state(fresh), position=START))
