"""Running a study twice: once through, once stopped in the middle of its trainings and taken up."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor

from overparam import Results, Store, Study
from overparam.lab.journal import JOURNAL_VARIABLE, FileJournal

MEASURED = ("seconds", "seconds_before", "peak_memory_bytes", "dense_seconds", "sparse_seconds", "latency")


def stopped_and_taken_up(
    study: Study, folder: Path, monkeypatch: pytest.MonkeyPatch, stops: int = 1, **options: Any
) -> tuple[Results, Store]:
    """Return the results, and the store, of a study that was stopped so often; they are those of one run through."""
    monkeypatch.setenv(JOURNAL_VARIABLE, "1e9")
    whole = study.run(folder / "whole", jobs=1, threads=1, **options)
    monkeypatch.setenv(JOURNAL_VARIABLE, "0")
    saves: list[int] = []

    class Dying(FileJournal):
        def save(self, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
            super().save(tensors, facts)
            saves.append(facts["iteration"])
            if len(saves) % 3 == 2 and len(saves) < 3 * stops:
                raise KeyboardInterrupt

    monkeypatch.setattr("overparam.lab.execute.FileJournal", Dying)
    for _ in range(stops):
        with pytest.raises(KeyboardInterrupt):
            study.run(folder / "stopped", jobs=1, threads=1, **options)
    again = study.run(folder / "stopped", jobs=1, threads=1, **options)
    assert len(saves) >= 3 * stops
    one, other = (each.frame.drop(*MEASURED, strict=False) for each in (whole, again))
    assert one.equals(other)
    stores = [Store(folder / name) for name in ("whole", "stopped")]
    for node in study.plan.steps:
        assert stores[0].weights(node) == stores[1].weights(node), "the same bits"
    return again, stores[1]
