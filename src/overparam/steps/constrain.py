"""What the steps have in common that put constraints on tensors."""

from abc import abstractmethod
from dataclasses import field

from overparam.checkpoint import Checkpoint
from overparam.constraints import Constraint
from overparam.prune.selection import Named
from overparam.spec import spec
from overparam.steps.base import Context, Outcome, Step


@spec
class Constrain(Step):
    """Base of the steps that put a constraint on each tensor that can be pruned.

    Args:
        exclude: roles (``output``, ``conv``, ...) or name patterns of tensors that are left as they are.
    """

    exclude: tuple[str, ...] = field(default=(), kw_only=True)

    @abstractmethod
    def constraint(self, name: str, start: Checkpoint, context: Context) -> Constraint:
        """Return the constraint for the tensor ``name`` of ``start``; raises :class:`SpecError` where there is none."""

    def run(self, start: Checkpoint, context: Context) -> Outcome:
        """Return ``start`` under the constraints; its weights are what they make of them."""
        spared = self.spared(context)
        found = {name: self.constraint(name, start, context) for name in start.masks if name not in spared}
        return Outcome(start.constrained(found).counted(self.kind))

    def spared(self, context: Context) -> set[str]:
        """Return the names of what is excluded; raises :class:`SpecError` for an entry that means nothing."""
        if not self.exclude:
            return set()
        return Named.of(context.module(), context.world.test.inputs[:1]).meant(self.exclude, "exclude")
