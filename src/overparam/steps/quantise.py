"""The step from which on weights have few values."""

from typing import Annotated, ClassVar

from pydantic import Field

from overparam.checkpoint import Checkpoint
from overparam.constraints import Constraint, Masked, Quantised, Uniform
from overparam.errors import SpecError
from overparam.spec import spec
from overparam.steps.base import STEPS, Context
from overparam.steps.constrain import Constrain


@STEPS.named("quantise")
@spec
class Quantise(Constrain):
    """Quantise weights to equal steps, a scale for each tensor; training goes on behind a straight-through estimator.

    What is pruned stays zero, and can be pruned on. See :class:`overparam.constraints.Quantised`.

    Args:
        bits: of each weight, from 2 to 16: ``2**bits - 1`` values, from minus the largest magnitude to plus it.

    Example:
        {quantise: {bits: 4, exclude: [output]}}
    """

    kind: ClassVar[str] = "quantise"
    quick: ClassVar[bool] = True
    main: ClassVar[str | None] = "bits"

    bits: Annotated[int, Field(ge=2, le=16)] = 8

    def constraint(self, name: str, start: Checkpoint, context: Context) -> Constraint:
        """Return the constraint over the present weight; over the latent one where it is quantised already."""
        before = start.constraints[name]
        if not isinstance(before, Masked | Quantised):
            kind = type(before).__name__
            raise SpecError(f"quantise: {name!r} is under {kind}; end that by the step 'hold: zero', or exclude it")
        return Quantised(before.beneath(start.state[name]), start.masks[name], Uniform(self.bits))
