"""Things of a user's, as they stand at an import path."""

from __future__ import annotations

from dataclasses import dataclass

from overparam.spec import spec

number = 7


@dataclass(frozen=True)
class Power:
    """Weights to a power."""

    exponent: float = 1.0

    def __call__(self, value: float) -> float:
        return value**self.exponent


@spec
class Strict:
    """A thing whose fields are checked."""

    rate: float = 0.5

    def __call__(self, value: float) -> float:
        return value * self.rate


class Needs:
    """A thing that has to be told something."""

    def __init__(self, size: int) -> None:
        if size < 0:
            raise ValueError("a size is not negative")
        self.size = size

    def __call__(self, value: float) -> float:
        return value + self.size


def scaled(value: float, by: float = 2.0) -> float:
    """A function with a keyword."""
    return value * by


made = Power(3.0)
