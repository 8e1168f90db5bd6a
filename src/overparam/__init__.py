"""overparam: how many parameters a network really needs, and how generalization changes on the way there.

Names are loaded when they are first used, so that importing the package (and the command line's help) stays quick.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from overparam import sparse as sparse
    from overparam.checkpoint import Checkpoint
    from overparam.errors import (
        DataError,
        IncompleteWarning,
        OverparamError,
        OverparamWarning,
        RunError,
        SpecError,
        StepError,
        StoreError,
    )
    from overparam.lab import Branch, Chain, Repeat, Results, Store, Study, load_results
    from overparam.length import Length
    from overparam.networks import Network
    from overparam.probes import (
        Accuracy,
        Cost,
        Density,
        EarlyStop,
        FilterNormalised,
        LearningDistance,
        LinearPath,
        MaskOverlap,
        Probe,
    )
    from overparam.scanning import Scan, scan
    from overparam.steps import (
        Compact,
        Complement,
        Hold,
        LrRewind,
        Measure,
        Prune,
        Quantise,
        Redense,
        Reinit,
        Restart,
        Rewind,
        Shuffle,
        SrSte,
        Step,
        Supermask,
        TicketSearch,
        Train,
    )
    from overparam.worlds import Augmentation, Dataset, ImageFolder, LabelNoise, World

    __version__: str

_HOMES = {
    "overparam.checkpoint": ("Checkpoint",),
    "overparam.errors": (
        *("DataError", "OverparamError", "RunError", "SpecError", "StepError", "StoreError"),
        *("IncompleteWarning", "OverparamWarning"),
    ),
    "overparam.lab": ("Branch", "Chain", "Repeat", "Results", "Store", "Study", "load_results"),
    "overparam.length": ("Length",),
    "overparam.networks": ("Network",),
    "overparam.probes": (
        *(
            "Accuracy",
            "Cost",
            "Density",
            "EarlyStop",
            "FilterNormalised",
            "LearningDistance",
            "LinearPath",
            "MaskOverlap",
        ),
        "Probe",
    ),
    "overparam.steps": (
        *("Compact", "Complement", "Hold", "LrRewind", "Measure", "Prune", "Quantise", "Redense", "Reinit", "Restart"),
        *("Rewind", "Shuffle", "SrSte", "Step", "Supermask", "TicketSearch", "Train"),
    ),
    "overparam.scanning": ("Scan", "scan"),
    "overparam.worlds": ("Augmentation", "Dataset", "ImageFolder", "LabelNoise", "World"),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "Accuracy",
    "Augmentation",
    "Branch",
    "Chain",
    "Checkpoint",
    "Compact",
    "Complement",
    "Cost",
    "DataError",
    "Dataset",
    "Density",
    "EarlyStop",
    "FilterNormalised",
    "Hold",
    "ImageFolder",
    "IncompleteWarning",
    "LabelNoise",
    "LearningDistance",
    "Length",
    "LinearPath",
    "LrRewind",
    "MaskOverlap",
    "Measure",
    "Network",
    "OverparamError",
    "OverparamWarning",
    "Probe",
    "Prune",
    "Quantise",
    "Redense",
    "Reinit",
    "Repeat",
    "Restart",
    "Results",
    "Rewind",
    "RunError",
    "Scan",
    "Shuffle",
    "SpecError",
    "SrSte",
    "Step",
    "StepError",
    "Store",
    "StoreError",
    "Study",
    "Supermask",
    "TicketSearch",
    "Train",
    "World",
    "load_results",
    "scan",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return globals().setdefault(name, version("overparam"))  # read once: each look costs a millisecond
    if name == "sparse":
        return import_module("overparam.sparse")
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'overparam' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, "sparse"])
