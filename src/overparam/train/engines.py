"""Which engine computes: torch's dense layers, or the sparse ones, layer by layer."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from overparam.errors import SpecError
from overparam.prune.modules import by_first_names
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

    ``auto`` takes sparse layers below the densities of :mod:`overparam.sparse.limits`, torch's dense ones above.
    ``sparse`` makes every layer with a mask sparse that can be, whatever it costs. Neither changes what is computed,
    but for the rounding of sums: see :mod:`overparam.sparse.networks.judge`.
    """
    check_engine(engine)
    lazy = next((name for name, parameter in module.named_parameters() if is_lazy(parameter)), None)
    if lazy is not None:
        raise SpecError(f"module: {lazy!r} has no shape yet; call the module on a batch first")
    masks = by_first_names(module, masks)
    if engine == "dense":
        return ModuleTrainee(module, data, settings, masks)
    from overparam.train.sparse_trainees import sparse_trainee  # numba takes half a second to import

    return sparse_trainee(module, data, settings, masks, forced=engine == "sparse")
