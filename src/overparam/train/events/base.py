"""What an event is: inside a training, now and then, it makes new masks of masks and evidence."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from overparam.errors import SpecError
from overparam.length import Length
from overparam.prune import Evidence
from overparam.prune.masks import Masks
from overparam.registry import Registry
from overparam.spec import spec


@dataclass(frozen=True)
class Moment:
    """When an event happens.

    Attributes:
        iteration: how many iterations were run before.
        first, last: the event's first iteration and the one after which it never happens.
        roles: of the tensors that have masks.
    """

    iteration: int
    first: int
    last: int
    roles: Mapping[str, str]

    @property
    def progress(self) -> float:
        """How far the event is from its first to its last iteration, in [0, 1]."""
        return (self.iteration - self.first) / max(1, self.last - self.first)


@spec
class Event:
    """Base of all events: a frozen object of its parameters.

    A new event is a ``@spec`` class that implements :meth:`masks` as a pure function.
    It happens before iteration ``start``, and every ``every`` after that, ``until`` included but never before the first
    iteration of a training nor after its last. What it prunes becomes zero, what it brings back starts from zero, and
    both have an optimiser's state of zeros; the number of steps that Adam counts is the tensor's.

    Args:
        every: the interval; in epochs or iterations.
        start: when it happens first.
        until: when at the latest; None: three quarters of the training.
        exclude: roles or name patterns of tensors whose masks stay.
    """

    every: Length = Length(100, "it")
    start: Length | None = None
    until: Length | None = None
    exclude: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.every.value <= 0:
            raise ValueError(f"every must be longer than nothing, got '{self.every}'")

    @abstractmethod
    def masks(self, seen: Evidence, masks: Masks, moment: Moment) -> dict[str, Tensor]:
        """Return new masks of the same names and shapes."""
        raise NotImplementedError

    def times(self, per_epoch: int, total: int) -> range:
        """Return the iterations before which it happens, in a training of ``total``.

        Raises :class:`SpecError` where there are none.
        """
        every = max(1, self.every.iterations(per_epoch))
        first = every if self.start is None else self.start.iterations(per_epoch)
        last = self.last(per_epoch, total)
        found = range(max(first, 1), last + 1, every)
        if not found:
            raise SpecError(
                f"event {type(self).__name__} never happens: it starts before iteration {first} and ends with {last} "
                f"of {total}; lower every or start, or raise until"
            )
        return found

    def last(self, per_epoch: int, total: int) -> int:
        """Return the iteration with which it ends."""
        given = total * 3 // 4 if self.until is None else self.until.iterations(per_epoch)
        return min(given, total - 1)


EVENTS: Registry[Event] = Registry("event", "an Event", lambda thing: isinstance(thing, Event))
