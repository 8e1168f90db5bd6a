"""The step that turns to what other networks have left."""

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor

from overparam.checkpoint import Checkpoint
from overparam.errors import SpecError
from overparam.spec import spec
from overparam.steps.base import STEPS, Context, Outcome, Step


@STEPS.named("complement")
@spec
class Complement(Step):
    """Keep exactly the weights that none of the checkpoints named keeps, and prune all others.

    So a second ticket can be looked for in what the first has left. A tensor that one of them keeps whole, such as one
    that pruning excludes, stays whole. What comes back is zero until a ``rewind`` or ``reinit`` gives it a value, as
    one of them should after this.

    Args:
        of: references to checkpoints of the same shapes, such as labels; at least one.

    Example:
        {complement: {of: [first]}}
    """

    kind: ClassVar[str] = "complement"
    main: ClassVar[str | None] = "of"

    of: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.of:
            raise ValueError("of must name at least one checkpoint, such as a label, of whose masks this is the rest")

    def references(self) -> tuple[str, ...]:
        """Return the checkpoints named."""
        return self.of

    def check_after(self, before: Sequence[Step], given: Mapping[str, Sequence[Step]]) -> None:
        """Raise :class:`SpecError` for a checkpoint before which nothing has pruned."""
        for name in self.of:
            if all(step.keeps_counts for step in given[name]):
                raise SpecError(_nothing_left(name))

    def rehearse(self, start: Checkpoint, context: Context) -> Checkpoint:
        """Return ``start``: which weights are kept is not known before."""
        return start

    def run(self, start: Checkpoint, context: Context) -> Outcome:
        """Return ``start`` under the masks of the rest; refuses what leaves a layer empty, or all whole."""
        others = [context.given[name].checkpoint.masks for name in self.of]
        rest = {
            name: _rest([each[name] for each in others if name in each], mask) for name, mask in start.masks.items()
        }
        empty = next((name for name, mask in rest.items() if not bool(mask.any())), None)
        if empty is not None:
            raise SpecError(
                f"complement: {', '.join(self.of)} keep every weight of {empty!r}, so none is left to look in"
            )
        if all(bool(mask.all()) for mask in rest.values()):
            raise SpecError(_nothing_left(", ".join(self.of)))
        return Outcome(start.masked(rest).counted(self.kind))


def _nothing_left(names: str) -> str:
    return (
        f"complement: nothing is pruned in {names}, so there is no rest to turn to; name a checkpoint after a "
        "step that prunes"
    )


def _rest(masks: Sequence[Tensor], like: Tensor) -> Tensor:
    """Return where none of the masks is True; everywhere if one of them is."""
    whole = any(bool(mask.all()) for mask in masks)
    return torch.ones_like(like) if whole or not masks else ~torch.stack(list(masks)).any(0)
