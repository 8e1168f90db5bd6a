"""What a pattern is: it takes the scores of weights and decides what goes together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from torch import Tensor, nn

from overparam.networks.forward import Inputs
from overparam.prune.criteria import Scores
from overparam.prune.masks import Masks
from overparam.prune.rounds import Counting
from overparam.prune.scopes import Scope
from overparam.registry import Registry


@dataclass(frozen=True)
class Round:
    """One round of pruning as it was asked for; the fields are those of :func:`overparam.prune.new_masks`.

    ``look`` returns the module with its weights, and inputs of an example, for a pattern that depends on how layers
    are connected. ``tell`` takes a sentence that the user should hear.
    """

    roles: Mapping[str, str]
    look: Callable[[], tuple[nn.Module, Inputs]]
    names: Mapping[str, str] | None = None
    fraction: float | None = None
    density: float | None = None
    scope: str | Scope = "global"
    exclude: str | Iterable[str] = ()
    counting: Counting = "prunable"
    allow_empty: bool = False
    tell: Callable[[str], None] = lambda sentence: None


@runtime_checkable
class Pattern(Protocol):
    """Decides which weights stay.

    One that says how many these are, whatever is asked for, has ``decides_count = True``; one whose groups are of
    several layers ``across_layers = True``.
    """

    def masks(self, scores: Scores, masks: Masks, asked: Round) -> dict[str, Tensor]:
        """Return new masks of the same names and shapes, in which no weight is alive that was not.

        ``scores`` are finite, higher means "keep", and needed for tensors that are not excluded.
        """
        ...


def decides_count(pattern: Any) -> bool | None:
    """Tell whether a pattern says itself how many weights stay; None for an import path, which is followed later."""
    return _trait(pattern, "decides_count")


def across_layers(pattern: Any) -> bool:
    """Tell whether what goes as a whole is of several layers, so that none can be pruned alone."""
    return bool(_trait(pattern, "across_layers"))


def _trait(pattern: Any, name: str) -> bool | None:
    label = PATTERNS.label(pattern)
    thing = PATTERNS.get(label) if label in PATTERNS else pattern
    return None if isinstance(thing, str | Mapping) else bool(getattr(thing, name, False))


PATTERNS: Registry[Pattern] = Registry(
    "pattern", "an object with a method masks(scores, masks, asked)", lambda thing: isinstance(thing, Pattern)
)
