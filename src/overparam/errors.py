"""What can go wrong, as a user sees it: each message is one clear sentence that says what to do."""

from __future__ import annotations


class OverparamError(Exception):
    """Base of every error that overparam raises on purpose; the command line prints it without a traceback."""


class SpecError(OverparamError, ValueError):
    """A wrong argument or a wrong study file: names the field, what was given and what is allowed."""


class DataError(OverparamError):
    """A dataset is missing, damaged or of the wrong form."""


class StepError(OverparamError):
    """A step could not produce a checkpoint, e.g. because training diverged."""


class StoreError(OverparamError):
    """The store cannot be read or written."""
