"""The step that says at which values pruned weights are held."""

from dataclasses import replace
from typing import ClassVar, Literal

from overparam.checkpoint import Checkpoint
from overparam.constraints import Constraint, Frozen, Masked
from overparam.spec import spec
from overparam.steps.base import STEPS, Context, Outcome
from overparam.steps.constrain import Constrain


@STEPS.named("hold")
@spec
class Hold(Constrain):
    """Hold pruned weights, and those that later steps prune, at zero, at their initial or at their present values.

    They are not moved by anything that follows: training, rewinding or a new initialisation. Without this step they are
    held at zero.

    Reference: Zhou et al. 2019, "Deconstructing Lottery Tickets", arXiv:1905.01067.

    Args:
        at: ``zero``; ``initial`` (the values that the chain began with); ``present`` (those at this step). ``zero``
            also ends any other constraint: what is kept now, and no more, is trained as it is.
    """

    kind: ClassVar[str] = "hold"
    quick: ClassVar[bool] = True
    main: ClassVar[str | None] = "at"

    at: Literal["zero", "initial", "present"] = "initial"

    def references(self) -> tuple[str, ...]:
        """Return the initialisation where it is needed."""
        return ("init",) if self.at == "initial" else ()

    def run(self, start: Checkpoint, context: Context) -> Outcome:
        """Return ``start`` with pruned weights held; with ``zero``, what was frozen whole is free again."""
        if self.at == "zero":
            left = start.masks.keys() | self.spared(context)
            start = replace(start, constraints={n: each for n, each in start.constraints.items() if n in left})
        return super().run(start, context)

    def constraint(self, name: str, start: Checkpoint, context: Context) -> Constraint:
        """Return a plain mask, or one whose pruned weights are frozen."""
        if self.at == "zero":
            return Masked(start.masks[name])
        held = context.given["init"].checkpoint if self.at == "initial" else start
        return Frozen(start.masks[name], held.state[name])
