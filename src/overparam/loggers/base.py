"""What a logger hears of a run: the rows of the study's table as they come in. It sees numbers and changes nothing."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, ClassVar

from overparam.errors import SpecError
from overparam.registry import Registry

Curve = Mapping[str, Sequence[Any]]


@dataclass(frozen=True)
class LoggedChain:
    """One chain of a study, which trackers call a run.

    Attributes:
        name: what tells it from the other chains, e.g. ``"random, rate 0.2, seed 3"``.
        settings: its variant, seed, swept values, and what else a table says of all of its rows.
        rows: how many rows it has when it is whole.
    """

    name: str
    settings: Mapping[str, Any]
    rows: int


@dataclass(frozen=True)
class Told:
    """The study of a run.

    Attributes:
        name, revision: of the study; what is logged of ``name@revision`` is one thing, whenever it was computed.
        spec: the study as YAML.
        chains: by their number in the table.
    """

    name: str
    revision: str
    spec: str
    chains: Mapping[int, LoggedChain]

    @property
    def title(self) -> str:
        """The name of the revision, ``NAME@REVISION``."""
        return f"{self.name}@{self.revision}"


@dataclass(frozen=True)
class Row:
    """One row of a study's table.

    Attributes:
        chain: the number of its chain.
        place: where it is on a chart of its chain: its level, or its step where levels do not tell rows apart.
        columns: all of it, as ``results.frame`` has it.
        numbers: what was measured, and density, kept weights and level.
        curve: the columns of its learning curve, as ``results.curves`` has them.
    """

    chain: int
    place: int
    columns: Mapping[str, Any]
    numbers: Mapping[str, float]
    curve: Curve


class Session:
    """One run as a logger hears it; each row and each point once. Subclasses override what they need."""

    def point(self, chain: int, iteration: int, numbers: Mapping[str, float]) -> None:
        """A training of a chain was evaluated; ``iteration`` counts on over the trainings of the chain."""

    def row(self, row: Row) -> None:
        """A row is whole; those of a chain come in order."""

    def end(self, complete: bool) -> None:
        """The run is over, with all rows or not."""


class Logger(ABC):
    """Base of all loggers: a frozen object of its settings, which opens a :class:`Session` for each run.

    A new logger is a ``@spec`` class that implements :meth:`begin`. What it raises never stops a run.
    """

    target: ClassVar[str]
    """The field that ``NAME:VALUE`` sets on the command line."""
    needs: ClassVar[str] = ""
    """The module that it imports; the extra that installs it has the logger's name."""

    def check(self) -> None:
        """Raise :class:`SpecError` if it cannot log on this machine; called before anything is run."""
        if self.needs and find_spec(self.needs) is None:
            name = LOGGERS.name_of(self)
            raise SpecError(f"logger {name}: needs the package {self.needs}; pip install 'overparam[{name}]'")

    @abstractmethod
    def begin(self, told: Told) -> Session:
        """Begin to hear a run. All rows of the study that the store has come first: what was logged of them goes."""


LOGGERS: Registry[Logger] = Registry("logger", "a Logger", lambda thing: isinstance(thing, Logger))


def _long(given: str) -> tuple[str, Mapping[str, Any]] | None:
    """Return which logger and field ``csv:rows.csv`` is short for."""
    name, colon, value = given.partition(":")
    return (name, {LOGGERS.get(name).target: value}) if colon and value and name in LOGGERS else None


LOGGERS.abbreviate(_long)
