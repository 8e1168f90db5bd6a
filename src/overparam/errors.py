"""What can go wrong, as a user sees it: each message is one clear sentence that says what to do."""

from __future__ import annotations

import contextlib
import difflib
import sys
import warnings
from collections.abc import Iterable, Iterator
from typing import Any

Keys = tuple[str | int, ...]
"""Keys of mappings and places in lists that lead to a thing, outermost first."""


__all__ = [
    *(
        "CoverageWarning",
        "DataError",
        "IncompleteWarning",
        "LayerCollapseWarning",
        "OverparamError",
        "OverparamWarning",
    ),
    *("RunError", "SpecError", "StepError", "StoreError"),
]


def suggest(given: str, allowed: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` when one of ``allowed`` is close to ``given``, else an empty string."""
    close = difflib.get_close_matches(given, list(allowed), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def in_words(error: BaseException) -> str:
    """Return the kind of an error of somebody else's code and the first line of its message, without a full stop.

    >>> in_words(ValueError("The first line.\\nC++ frames"))
    'ValueError: The first line'
    """
    first = str(error).strip().partition("\n")[0].strip().rstrip(".")
    return f"{type(error).__name__}: {first}" if first else type(error).__name__


def counted(number: int, thing: str) -> str:
    """Return a number with the name of what is counted.

    >>> counted(1, "row"), counted(1200, "row")
    ('1 row', '1200 rows')
    """
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def in_bytes(number: int) -> str:
    """Return a number of bytes in words, with three digits.

    >>> in_bytes(999), in_bytes(1_145_000), in_bytes(132_264_561)
    ('999 bytes', '1.15 MB', '132 MB')
    """
    if number < 1000:
        return counted(number, "byte")
    power = next((power for power in (1, 2, 3) if number < 999.5 * 1000**power), 4)
    return f"{number / 1000**power:#.3g}".rstrip(".") + f" {'kMGT'[power - 1]}B"


class OverparamError(Exception):
    """Base of every error that overparam raises on purpose; the command line prints it without a traceback."""


class SpecError(OverparamError, ValueError):
    """A wrong argument or a wrong study file: names the field, what was given and what is allowed.

    Attributes:
        at: the keys that lead to it, in a study's mapping; empty where they are not known.
    """

    def __init__(self, message: str = "", at: Keys = ()) -> None:
        super().__init__(message)
        self.at = at


@contextlib.contextmanager
def within(*keys: str | int) -> Iterator[None]:
    """Let a :class:`SpecError` know that what is wrong lies at these keys of what is around it."""
    try:
        yield
    except SpecError as error:
        error.at = (*keys, *error.at)
        raise


class DataError(OverparamError):
    """A dataset is missing, damaged or of the wrong form."""


class StepError(OverparamError):
    """A step could not produce a checkpoint, e.g. because training diverged."""


class StoreError(OverparamError):
    """The store cannot be read or written."""


class RunError(OverparamError):
    """Nothing of a study could be computed.

    Attributes:
        results: the study's :class:`overparam.Results`: a table without rows, and a sentence on each failure.
    """

    def __init__(self, message: str, results: Any) -> None:
        super().__init__(message)
        self.results = results


class OverparamWarning(UserWarning):
    """Base of every warning of overparam, for :func:`warnings.filterwarnings`."""


class CoverageWarning(OverparamWarning):
    """Pruning leaves out parameters that are neither biases nor scales and shifts of norms."""


class LayerCollapseWarning(OverparamWarning):
    """Pruning left a layer with fewer weights than it has outputs or inputs."""


class TiedScoresWarning(OverparamWarning):
    """More than a few scores are equal where pruning decides, so that the position of weights does."""


class IncompleteWarning(OverparamWarning):
    """Some rows of a study are missing, because steps failed."""


def warn(message: str, category: type[OverparamWarning]) -> None:
    """Warn at the line, outside of overparam, that led here, so that Python tells each such line once."""
    level = 1
    while str(sys._getframe(level).f_globals.get("__name__", "")).partition(".")[0] == "overparam":
        level += 1
    warnings.warn(message, category, stacklevel=level + 1)
