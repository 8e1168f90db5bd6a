"""The journal: the state of a long training under way, so that a killed one goes on with the same bits."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from torch import Tensor

from overparam.errors import SpecError
from overparam.lab.store import checksum
from overparam.lab.weights import tensors_from_bytes, tensors_to_bytes

JOURNAL_SECONDS = 60.0  # how often a long training keeps its state, unless the variable says otherwise
JOURNAL_VARIABLE = "OVERPARAM_JOURNAL_SECONDS"
"""Seconds after which a long training keeps its state again, so that it can go on there; 60 by default."""


def journal_seconds() -> float:
    """Return how often a long training keeps its state; raises :class:`SpecError` for a wrong environment variable."""
    given = os.environ.get(JOURNAL_VARIABLE) or JOURNAL_SECONDS
    try:
        seconds = float(given)
    except ValueError:
        seconds = -1.0
    if not seconds >= 0:
        raise SpecError(f"the environment variable {JOURNAL_VARIABLE} must be a number of seconds, got {given!r}")
    return seconds


class FileJournal:
    """State of a long step between its parts, in a folder of its own; see :class:`overparam.train.loop.Journal`.

    ``seconds`` is the least time between two saves.
    """

    def __init__(self, folder: Path, seconds: float | None = None) -> None:
        self.folder = folder
        self.seconds = journal_seconds() if seconds is None else seconds
        self.notes: list[str] = []
        self._last = time.monotonic()

    def due(self) -> bool:
        """Tell whether ``seconds`` have passed since the last save."""
        return time.monotonic() - self._last >= self.seconds

    def save(self, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        """Replace what was kept; the file's name is the checksum of its bytes."""
        self._last = time.monotonic()
        partial = self.folder / f"partial-{os.getpid()}"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            content = tensors_to_bytes(tensors, facts)
            partial.write_bytes(content)
            whole = partial.replace(self.folder / f"{checksum(content)}.safetensors")
            for old in self.folder.glob("*.safetensors"):
                if old != whole:
                    old.unlink(missing_ok=True)
        except (OSError, SafetensorError) as error:  # a full disk, or another process done with the same step
            with suppress(OSError):
                partial.unlink()
            self.notes.append(f"{self.folder} could not be written ({error}): a kill would have cost what was trained")

    def load(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """Return what was kept; None if nothing was, or if it is damaged (then the step starts over)."""
        if not self.folder.exists():
            return None
        for path in self.folder.glob("*.safetensors"):
            try:
                content = path.read_bytes()
                if checksum(content) == path.stem:
                    return tensors_from_bytes(content)
                self.notes.append(f"{path} is damaged")
                path.unlink(missing_ok=True)
            except OSError:  # another process is done with the same step and has cleared its journal
                continue
        self.notes.append(f"{self.folder} has no whole state of the training it belongs to, which starts over")
        return None

    def clear(self) -> None:
        """Throw away what was kept: the step is done."""
        if self.folder.exists():
            shutil.rmtree(self.folder, ignore_errors=True)
