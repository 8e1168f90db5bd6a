"""Which engine computes: torch's dense layers, or the sparse ones, layer by layer."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from overparam.errors import SpecError
from overparam.registry import suggest
from overparam.train.settings import TrainSettings
from overparam.train.trainees import ModuleTrainee, Trainee
from overparam.worlds import WorldData

ENGINES = ("auto", "dense", "sparse")


def check_engine(given: object) -> str:
    """Return ``given`` if it names an engine; raises :class:`SpecError` if not."""
    if not isinstance(given, str) or given not in ENGINES:
        raise SpecError(f"engine must be one of {', '.join(ENGINES)}, got {given!r}{suggest(str(given), ENGINES)}")
    return given


def trainee_for(
    module: nn.Module, data: WorldData, settings: TrainSettings, masks: Mapping[str, Tensor], engine: str
) -> Trainee:
    """Return ``module`` in the form that the engine trains.

    ``auto`` compares what this machine needs for each layer at its density (measured once, see
    :mod:`overparam.sparse.calibration`) and takes torch's dense layers where nothing is gained or where the network is
    none that the sparse engine knows. ``sparse`` makes every layer with a mask sparse, whatever it costs.
    """
    if check_engine(engine) == "dense":
        return ModuleTrainee(module, data, settings, masks)
    from overparam.train.sparse_trainees import sparse_trainee  # numba takes half a second to import

    return sparse_trainee(module, data, settings, masks, forced=engine == "sparse") or ModuleTrainee(
        module, data, settings, masks
    )
