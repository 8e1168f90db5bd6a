"""The step that gives pruned weights back."""

from typing import ClassVar

import torch

from overparam.checkpoint import Checkpoint
from overparam.spec import spec
from overparam.steps.base import STEPS, Context, Outcome, Step


@STEPS.named("redense")
@spec
class Redense(Step):
    """Give pruned weights back at zero, free to train on in the steps that follow (He et al. 2022, section 5)."""

    kind: ClassVar[str] = "redense"
    quick: ClassVar[bool] = True

    def run(self, start: Checkpoint, context: Context) -> Outcome:
        """Return ``start`` with the same weights and masks of ones."""
        return Outcome(start.masked({name: torch.ones_like(mask) for name, mask in start.masks.items()}))
