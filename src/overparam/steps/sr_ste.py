"""The step from which on training learns which N of each M weights are kept."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, cast

from pydantic import Field

from overparam.checkpoint import Checkpoint
from overparam.constraints import SRSTE, Constraint
from overparam.errors import SpecError
from overparam.prune import PATTERNS, NofM
from overparam.spec import spec
from overparam.steps.base import STEPS, Context, Outcome
from overparam.steps.constrain import Constrain


@STEPS.named("sr-ste")
@spec
class SrSte(Constrain):
    """Learn N:M sparsity: all weights train on, and of each M neighbours the N largest are in the network.

    Layers that the pattern does not fit stay as they are, and a note names them. The step ``hold: zero`` ends it and
    keeps the mask. See :class:`overparam.constraints.SRSTE`.

    Args:
        pattern: ``"2:4"``, or ``{n-of-m: {n: 2, m: 4, transposable: true}}``.
        decay: of the weights that are not in the network, besides the optimiser's own.

    Example:
        {sr-ste: {pattern: "2:4"}}
    """

    kind: ClassVar[str] = "sr-ste"
    main: ClassVar[str | None] = "pattern"
    quick: ClassVar[bool] = True

    pattern: Annotated[Any, PATTERNS] = "2:4"
    decay: Annotated[float, Field(ge=0)] = 2e-4

    def __post_init__(self) -> None:
        if not isinstance(PATTERNS.resolve(self.pattern), NofM):
            raise ValueError(f"pattern must be of the form '2:4', or n-of-m with its fields, got {self.pattern!r}")

    @property
    def _pattern(self) -> NofM:
        return cast(NofM, PATTERNS.resolve(self.pattern))

    def traits(self) -> Mapping[str, str]:
        """Return by what is pruned."""
        return {"criterion": self.kind}

    def constraint(self, name: str, start: Checkpoint, context: Context) -> Constraint:
        """Return the dense weight behind the mask that is found anew."""
        if not bool(start.masks[name].all()):
            raise SpecError(f"sr-ste: {name!r} is pruned already, and N of each M are chosen from all; redense first")
        return SRSTE(start.constraints[name].beneath(start.state[name]), self._pattern, self.decay)

    def run(self, start: Checkpoint, context: Context) -> Outcome:
        """Return ``start`` under the pattern."""
        spared = self.spared(context)
        wanted = {name: start.state[name] for name in start.masks if name not in spared}
        names, left = self._pattern.fitting(wanted, start.load_into(context.module()))
        found = {name: self.constraint(name, start, context) for name in names}
        done = start.constrained(found).counted(self.kind)
        return Outcome(done, notes=[f"sr-ste: {left}"] if left else [])
