"""The step that removes what pruning left dead."""

import contextlib
import dataclasses
from collections.abc import Iterable, Mapping
from typing import ClassVar

from torch import Tensor

from overparam.checkpoint import Checkpoint, state_of
from overparam.constraints import Constraint, Masked
from overparam.errors import SpecError
from overparam.networks.removal import Removal, removal
from overparam.networks.surgery import merged, operate
from overparam.prune import Scores
from overparam.prune.patterns import Round, Units
from overparam.spec import spec
from overparam.steps.base import STEPS, Context, Outcome, Step

EXAMPLES = 16  # on which equal outputs are verified


@STEPS.named("compact")
@spec
class Compact(Step):
    """Remove the neurons and filters that pruning left dead: a smaller network with the same outputs.

    A unit is dead if every weight that reads it is zero, or if all weights that it reads are zero and what it gives
    is nothing, or a constant that biases can hold. With it go its weights, bias, batch-norm channel, and the
    weights that read it. Weights left over keep their masks. Outputs are verified on test inputs before the result
    is kept, and the network is run in training mode, too; layers that cannot be made smaller stay, and a note says why.
    What was removed still counts as pruned in densities. Earlier weights no longer fit, so a chain cannot rewind
    beyond this step.
    """

    kind: ClassVar[str] = "compact"

    def run(self, start: Checkpoint, context: Context) -> Outcome:
        """Return the smaller network; its facts count the units removed by layer."""
        module = start.load_into(context.module())
        found = removal(module, context.world.test.inputs[:EXAMPLES])
        smaller = found.state(state_of(module))
        constraints = {name: _smaller(found, name, kept) for name, kept in start.constraints.items()}
        operate(module, found.surgery)
        gone = (_lost(start.constraints, start.state, smaller), _lost(start.roles, start.state, smaller))
        done = dataclasses.replace(
            start,
            state=smaller,
            constraints=constraints,
            surgery=merged(start.surgery, found.surgery),
            removed=(start.removed[0] + gone[0], start.removed[1] + gone[1]),
        )
        notes = [f"compact: dead units of {path!r} stay: {why}" for path, why in sorted(found.kept.items())]
        return Outcome(done, facts={"removed_units": dict(found.removed)}, notes=notes)

    def rehearse(self, start: Checkpoint, context: Context) -> Checkpoint:
        """Return ``start`` without half of its units, if it is pruned and any can go: which are dead is not known."""
        halved = start
        if start.kept < start.weights:
            half = Round(start.roles, lambda: (start.load_into(context.module()), context.world.test.inputs[:1]))
            with contextlib.suppress(SpecError):  # where no unit can go, none is removed
                sizes = Scores({name: start.state[name].abs() for name in start.masks})
                halved = start.masked(Units().masks(sizes, start.masks, dataclasses.replace(half, fraction=0.5)))
        return self.run(halved, context).checkpoint


def _lost(names: Iterable[str], before: Mapping[str, Tensor], after: Mapping[str, Tensor]) -> int:
    """Return how many elements fewer these tensors have."""
    return sum(before[name].numel() - after[name].numel() for name in names)


def _smaller(found: Removal, name: str, constraint: Constraint) -> Constraint:
    """Return what is left of a constraint of the tensor ``name``."""
    if name not in found.left:
        return constraint
    if not isinstance(constraint, Masked):
        raise SpecError(
            f"compact: {name!r} is under {type(constraint).__name__}; only what has a plain mask can be made smaller, "
            "which the step 'hold: zero' makes of it"
        )
    return Masked(found.smaller(name, constraint.mask))
