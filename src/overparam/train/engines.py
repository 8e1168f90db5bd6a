"""Which engine computes: torch's dense layers, or the sparse ones, layer by layer."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn
from torch.nn.parameter import is_lazy

from overparam.constraints import Constraint, Masked
from overparam.constraints.base import check_constraint
from overparam.errors import SpecError
from overparam.networks import first_names
from overparam.prune.modules import by_first_names
from overparam.registry import suggest
from overparam.train.constrained import ConstrainedTrainee
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
    module: nn.Module, data: WorldData, settings: TrainSettings, constraints: Mapping[str, Constraint], engine: str
) -> Trainee:
    """Return ``module`` in the form that the engine trains.

    ``auto`` takes sparse layers below the densities of :mod:`overparam.sparse.limits`, torch's dense ones above.
    ``sparse`` makes every layer with a mask sparse that can be, whatever it costs. Neither changes what is computed,
    but for the rounding of sums: see :mod:`overparam.sparse.networks.judge`. A constraint other than a plain mask needs
    dense layers, so ``sparse`` raises :class:`SpecError` there.
    """
    check_engine(engine)
    lazy = next((name for name, parameter in module.named_parameters() if is_lazy(parameter)), None)
    if lazy is not None:
        raise SpecError(f"module: {lazy!r} has no shape yet; call the module on a batch first")
    constraints = _by_first_names(module, constraints)
    trainee = _made(module, data, settings, constraints, engine)
    trainee.under = constraints
    return trainee


def _made(
    module: nn.Module, data: WorldData, settings: TrainSettings, constraints: Mapping[str, Constraint], engine: str
) -> Trainee:
    other = next((name for name, each in constraints.items() if not isinstance(each, Masked)), None)
    if other is not None:
        return _constrained(module, data, settings, constraints, engine, other)
    masks = {name: each.mask for name, each in constraints.items() if isinstance(each, Masked)}
    if engine == "dense":
        return ModuleTrainee(module, data, settings, masks)
    from overparam.train.sparse_trainees import sparse_trainee  # numba takes half a second to import

    return sparse_trainee(module, data, settings, masks, forced=engine == "sparse")


def _constrained(
    module: nn.Module,
    data: WorldData,
    settings: TrainSettings,
    constraints: Mapping[str, Constraint],
    engine: str,
    other: str,
) -> ConstrainedTrainee:
    """Return ``module`` as it is trained where ``other`` is under another constraint than a plain mask."""
    reason = f"{other!r} is under {type(constraints[other]).__name__}, and sparse layers know plain masks alone"
    if engine == "sparse":
        raise SpecError(f"engine: {reason}; take dense or auto")
    trainee = ConstrainedTrainee(module, data, settings, constraints)
    trainee.note = reason if engine == "auto" else trainee.note
    return trainee


def _by_first_names(module: nn.Module, constraints: Mapping[str, Constraint]) -> dict[str, Constraint]:
    """Return constraints by the first names of their parameters, which layers that share one have once."""
    by_first_names(module, {name: each.mask for name, each in constraints.items() if isinstance(each, Masked)})
    names, found = first_names(module), dict[str, Constraint]()
    for name, each in constraints.items():
        own = names.get(name)
        if own is None:
            raise SpecError(f"constraints: the module has no parameter {name!r}{suggest(name, names)}")
        if own in found and not isinstance(each, Masked):
            raise SpecError(f"constraints: {name!r} and {own!r} are one parameter; give one of them")
        check_constraint(name, each, module.get_parameter(own).detach(), values=False)
        found[own] = each
    return found
