"""Probes of a user's: in a file of their own, since all that their file imports is part of what they are."""

from __future__ import annotations

from overparam import Checkpoint, Probe
from overparam.probes import Measurements, View


class Late(Probe):
    """Has a column of its own for pruned networks, which no table knows before."""

    def measure(self, checkpoint: Checkpoint, view: View) -> Measurements:
        return Measurements({"early": 1.0, **({"late, or not": 2.0} if checkpoint.level else {})})


class Picky(Probe):
    """Fails on one level."""

    def measure(self, checkpoint: Checkpoint, view: View) -> Measurements:
        if checkpoint.level == 1:
            raise ValueError("not this one")
        return Measurements({"fine": 1.0})
