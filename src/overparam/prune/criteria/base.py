"""What a criterion is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

from torch import Tensor

from overparam.errors import SpecError
from overparam.networks.units import Group
from overparam.prune.evidence import Evidence
from overparam.prune.masks import Masks
from overparam.registry import Registry


@dataclass(frozen=True)
class Scores:
    """Scores of weights, and what those that stay become, as in Optimal Brain Surgeon.

    Attributes:
        scores: for each tensor of the evidence, shaped like it.
        values: given the masks of those that stay, returns new values of whole tensors by name; None: they stay as they
            are. What it gives outside the masks does not count.
        units: returns the score of units that can only go together, for patterns that take these as a whole; None: it
            is the sum of the scores of their weights. It raises :class:`SpecError` where it can tell nothing.
        note: a sentence that the user should hear; empty for none.
    """

    scores: Mapping[str, Tensor]
    values: Callable[[Masks], Mapping[str, Tensor]] | None = None
    units: Callable[[Group], float] | None = None
    note: str = ""

    @classmethod
    def of(cls, found: Scores | Mapping[str, Tensor]) -> Scores:
        """Return what a criterion gave as scores."""
        return found if isinstance(found, Scores) else cls(found)

    def each(self) -> Mapping[str, Tensor]:
        """Return the scores of single weights; raises :class:`SpecError` if only whole units have some."""
        if self.units is not None and not self.scores:
            raise SpecError(
                "this criterion scores whole neurons and filters, not single weights; add pattern: units to a step "
                "'prune', which prune() by hand does not know"
            )
        return self.scores

    def alone(self) -> Mapping[str, Tensor]:
        """Return the scores where nobody can take new values; raises :class:`SpecError` if there are some."""
        if self.values is not None:
            raise SpecError("this criterion gives new values to what stays, which only a step that prunes can take")
        return self.each()

    def weights(self, masks: Masks, before: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the new values under ``masks`` of the tensors that get some, with zeros outside.

        Raises :class:`SpecError` for values of another shape than the weights ``before``, or that are not finite.
        """
        made = {} if self.values is None else self.values(masks)
        for name, value in made.items():
            if name not in masks or value.shape != before[name].shape or not bool(value.isfinite().all()):
                raise SpecError(f"the criterion's new values of {name!r} must be finite and shaped like the weights")
        return {
            n: value.detach().to(before[n]).masked_fill(~masks[n].to(before[n].device), 0) for n, value in made.items()
        }


class Later(Mapping[str, Tensor]):
    """Scores that take long, of tensors whose names are known: all are taken when the first is asked for."""

    def __init__(self, names: Iterable[str], take: Callable[[], Mapping[str, Tensor]]) -> None:
        self._names, self._take = tuple(names), take

    @cached_property
    def _taken(self) -> Mapping[str, Tensor]:
        return self._take()

    def __getitem__(self, name: str) -> Tensor:
        return self._taken[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __len__(self) -> int:
        return len(self._names)


class Criterion(Protocol):
    """Scores every weight it is shown; higher means "keep". A function or a small frozen object.

    It knows nothing of thresholds, tensors to skip or schedules. Only the order of the scores counts. They must be
    finite; those of tensors that are ranked together must be in the same unit. One that looks at the initial weights
    has a method ``references()`` that returns ``("init",)``.
    """

    def __call__(self, seen: Evidence) -> Mapping[str, Tensor] | Scores:
        """Return scores for each tensor of ``seen.weights``, shaped like it."""
        ...


CRITERIA: Registry[Criterion] = Registry("criterion", "a function or an object that maps Evidence to scores")
