"""Which engine computes: torch's dense layers, or the sparse ones, layer by layer."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from overparam.constraints import Constraint, Masked
from overparam.constraints.base import check_constraint
from overparam.errors import SpecError
from overparam.networks import first_names
from overparam.prune.modules import by_first_names
from overparam.registry import suggest
from overparam.train.constrained import ConstrainedTrainee
from overparam.train.place import Place
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
    module: nn.Module,
    data: WorldData,
    settings: TrainSettings,
    constraints: Mapping[str, Constraint],
    engine: str,
    place: Place | None = None,
) -> Trainee:
    """Return ``module`` in the form that the engine trains.

    ``auto`` takes sparse layers below the densities of :mod:`overparam.sparse.limits`, torch's dense ones above.
    ``sparse`` makes every layer with a mask sparse that can be, whatever it costs. Neither changes what is computed,
    but for the rounding of sums: see :mod:`overparam.sparse.networks.judge`. A constraint other than a plain mask needs
    dense layers, so ``sparse`` raises :class:`SpecError` there; so does another device or precision than the usual.
    """
    check_engine(engine)
    lazy = next((name for name, parameter in module.named_parameters() if is_lazy(parameter)), None)
    if lazy is not None:
        raise SpecError(f"module: {lazy!r} has no shape yet; call the module on a batch first")
    place = place or Place(module, None, "float32")
    moved = {n: each if isinstance(each, Masked) else place.under(each) for n, each in constraints.items()}
    names = first_names(module)  # before layers become sparse ones, whose values have other names
    trainee = _made(module, data, settings, _by_first_names(module, moved), engine, place)
    trainee.under = {names[name]: each for name, each in constraints.items()}
    return trainee


def _made(
    module: nn.Module,
    data: WorldData,
    settings: TrainSettings,
    constraints: Mapping[str, Constraint],
    engine: str,
    place: Place,
) -> Trainee:
    reason = _only_dense(constraints, place)
    if reason and engine == "sparse":
        raise SpecError(f"engine: {reason}; take dense or auto")
    if reason or engine == "dense":
        trainee = _dense(module, data, settings, constraints, place)
        trainee.note = reason if engine == "auto" else trainee.note
        return trainee
    masks = _masks(constraints)
    from overparam.train.sparse_trainees import sparse_trainee  # numba takes half a second to import

    return sparse_trainee(module, data, settings, masks, forced=engine == "sparse")


def _masks(constraints: Mapping[str, Constraint]) -> dict[str, Tensor]:
    return {name: each.mask for name, each in constraints.items() if isinstance(each, Masked)}


def _only_dense(constraints: Mapping[str, Constraint], place: Place) -> str:
    """Say why dense layers alone can do a training; empty if sparse ones can."""
    other = next((name for name, each in constraints.items() if not isinstance(each, Masked)), None)
    if other is not None:
        return f"{other!r} is under {type(constraints[other]).__name__}, and sparse layers know plain masks alone"
    return "" if place.plain else f"sparse layers compute in float32 on the CPU, and this is {place}"


def _dense(
    module: nn.Module, data: WorldData, settings: TrainSettings, constraints: Mapping[str, Constraint], place: Place
) -> ModuleTrainee:
    masks = _masks(constraints)
    if len(masks) < len(constraints):
        return ConstrainedTrainee(module, data, settings, constraints, place)
    return ModuleTrainee(module, data, settings, masks, place)


def _by_first_names(module: nn.Module, constraints: Mapping[str, Constraint]) -> dict[str, Constraint]:
    """Return constraints by the first names of their parameters, which layers that share one have once."""
    by_first_names(module, _masks(constraints))
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
