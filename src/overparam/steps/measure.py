"""The step that does nothing, and is measured."""

from typing import ClassVar

from overparam.checkpoint import Checkpoint
from overparam.spec import spec
from overparam.steps.base import STEPS, Context, Outcome, Step


@STEPS.named("measure")
@spec
class Measure(Step):
    """Measure the network as it is here: a row of the table without a training, as right after pruning."""

    kind: ClassVar[str] = "measure"
    quick: ClassVar[bool] = True
    keeps_counts: ClassVar[bool] = True

    @property
    def measured(self) -> bool:
        """Always."""
        return True

    def run(self, start: Checkpoint, context: Context) -> Outcome:
        """Return ``start``."""
        return Outcome(start)
