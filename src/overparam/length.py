"""Lengths of training, in epochs or iterations: ``160ep`` or ``5000it``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from overparam.errors import SpecError

_FORM = re.compile(r"\s*(\d+(?:\.\d+)?(?:e\d+)?)\s*(ep|it)\s*", re.IGNORECASE)


@dataclass(frozen=True)
class Length:
    """A span of training: so many epochs (``ep``; passes over the training set) or iterations (``it``; batches).

    In a study file ``"160ep"`` or ``"5000it"``; a bare number means epochs.

    >>> Length.of("5000it").iterations(per_epoch=79), Length.of(2).iterations(per_epoch=79)
    (5000, 158)
    """

    value: float
    unit: Literal["ep", "it"]

    @classmethod
    def of(cls, given: Any) -> Length:
        """Read a length from ``"160ep"``, ``"5000it"``, a number of epochs or a :class:`Length`."""
        if isinstance(given, Length):
            return given
        if isinstance(given, int | float) and not isinstance(given, bool) and 0 <= given < float("inf"):
            return cls(float(given), "ep")
        if isinstance(given, str) and (found := _FORM.fullmatch(given)):
            value, unit = float(found[1]), found[2].lower()
            if unit == "it" and value != int(value):
                raise SpecError(f"a number of iterations must be whole, got {given!r}")
            return cls(value, "ep" if unit == "ep" else "it")
        raise SpecError(f"a length must be epochs such as '160ep' or iterations such as '5000it', got {given!r}")

    def iterations(self, per_epoch: int) -> int:
        """Return the number of iterations, where one epoch has ``per_epoch``."""
        return int(self.value) if self.unit == "it" else round(self.value * per_epoch)

    def plain(self) -> str:
        """Return the form used in study files."""
        return str(self)

    def __str__(self) -> str:
        return f"{int(self.value) if self.value == int(self.value) else self.value}{self.unit}"

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(cls.of)


def is_length(text: str) -> bool:
    """Tell whether a text is a point of training, such as ``500it``."""
    try:
        Length.of(text)
    except SpecError:
        return False
    return True


START = Length(0.0, "it")
