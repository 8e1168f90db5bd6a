"""An experiment: one chain in one world, with one network and one seed; and how a study's document becomes some."""

from __future__ import annotations

import copy
import dataclasses
import itertools
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from overparam.errors import Keys, SpecError, within
from overparam.lab.chain import Chain, chain_from, with_field
from overparam.lab.source import concerns
from overparam.networks import Network
from overparam.registry import suggest
from overparam.spec import check_field, field_names
from overparam.steps import STEPS
from overparam.worlds import World

Document = dict[str, Any]

OF_STUDY = {
    **dict.fromkeys(("device", "engine"), "there is an option of its own for it, such as --device cpu"),
    **dict.fromkeys(
        ("name", "description", "probes", "axis", "paper", "edition", "laptop_minutes", "sweep", "variants"),
        "write it in the study file, or give it to Study",
    ),
}
"""Fields of a study that are no part of its chains, and where they are given."""
NO_STEPS = ("world", "network", "seed", "chain")  # all else in a document are settings of steps


@dataclasses.dataclass(frozen=True)
class Experiment:
    """One chain with everything it needs, and the coordinates that tell it from the study's other chains."""

    world: World
    network: Network
    seed: int
    chain: Chain
    variant: str
    coordinates: Mapping[str, Any]
    begins: int = 0  # of a branch: how many of its steps are those of its trunk, which are not measured again
    trunk: int = 0  # and which experiment that is


def experiments(
    document: Document, variants: Mapping[str, Any], sweep: Mapping[str, Sequence[Any]]
) -> list[Experiment]:
    """Return one experiment for each variant and each combination of swept values, in that order.

    A variant's own ``sweep`` goes before the study's, path by path; one of None is not swept in it.
    """
    made = []
    for variant, given in (variants or {"": {}}).items():
        changes = {path: value for path, value in (given or {}).items() if path != "sweep"}
        own = {**sweep, **(given or {}).get("sweep", {})}
        swept = {path: values for path, values in own.items() if values is not None}
        for values in itertools.product(*swept.values()):
            coordinates = dict(zip(swept, values, strict=True))
            places = {path: ("variants", variant, path) for path in changes}
            places |= {path: _swept_at(path, variant, given or {}) for path in coordinates}
            made.append(_changed(document, {**changes, **coordinates}, places, variant, coordinates))
    for path in sweep:
        _check_sweep(path, made)
    return with_branches(made, variants)


def _swept_at(path: str, variant: str, given: Mapping[str, Any]) -> Keys:
    """Return where the study has the values of a sweep: in the variant's own, or in that of all."""
    return ("variants", variant, "sweep", path) if path in given.get("sweep", {}) else ("sweep", path)


def _changed(
    document: Document, values: Mapping[str, Any], places: Mapping[str, Keys], variant: str, at: Mapping[str, Any]
) -> Experiment:
    """Return the experiment of a document with other values by path; what is wrong with one stands at its place."""
    here = copy.copy(document)
    try:
        for path in sorted(values, key=lambda path: path.count(".")):  # a whole before its parts
            with within(path):
                here = with_value(here, path, values[path])
        return _experiment(here, variant, at)
    except SpecError as error:
        blamed = [place for path, place in places.items() if error.at[:1] == (path,) or concerns(path, error.at)]
        error.at = blamed[-1] if blamed and error.at else error.at
        raise


def with_branches(trunks: Sequence[Experiment], variants: Collection[str]) -> list[Experiment]:
    """Return experiments with one for each branch of their chains behind each: a variant of the branch's name."""
    made: list[Experiment] = []
    for experiment in trunks:
        trunk = len(made)
        made.append(experiment)
        for name, chain, begins in experiment.chain.branches():
            variant = f"{experiment.variant}, {name}" if experiment.variant else name
            if variant in variants:
                raise SpecError(f"branch {name!r} would be called as variant {variant!r} is; give it another name")
            made.append(dataclasses.replace(experiment, chain=chain, variant=variant, begins=begins, trunk=trunk))
    return made


def _check_sweep(path: str, made: Sequence[Experiment]) -> None:
    """Raise :class:`SpecError` if no experiment depends on the swept value at ``path``."""
    alike: dict[str, list[Experiment]] = {}
    for experiment in (each for each in made if path in each.coordinates):
        others = {name: value for name, value in experiment.coordinates.items() if name != path}
        alike.setdefault(f"{experiment.variant} {others}", []).append(experiment)
    if alike and all(
        len(group) > 1 and all(_what(experiment) == _what(group[0]) for experiment in group) for group in alike.values()
    ):
        said = f"sweep.{path} changes nothing: no chain has a step that it could change"
        raise SpecError(said, ("sweep", path))


def _what(experiment: Experiment) -> tuple[Any, ...]:
    return experiment.world, experiment.network, experiment.seed, experiment.chain


def _experiment(document: Document, variant: str, coordinates: Mapping[str, Any]) -> Experiment:
    seed = document.get("seed", 0)
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise SpecError(f"seed must be a whole number, 0 or more, got {seed!r}", ("seed",))
    settings = {name: given for name, given in document.items() if name not in NO_STEPS and given}
    return Experiment(
        world=world_from(document["world"]),
        network=network_from(document["network"]),
        seed=seed,
        chain=chain_from(document["chain"], settings),
        variant=variant,
        coordinates=coordinates,
    )


def world_from(given: Any) -> World:
    """Read a world as a study file writes it: a dataset's name, a mapping of fields, or a world object."""
    if isinstance(given, World):
        return given
    with within("world"):
        fields = {str(key): value for key, value in given.items()} if isinstance(given, Mapping) else {"dataset": given}
        return World(**fields)


def network_from(given: Any) -> Network:
    """Read a network as a study file writes it.

    That is a name, a mapping ``{name, init, **options}``, ``{name: {options}}``, or an object.
    """
    with within("network"):
        return _network(given)


def _network(given: Any) -> Network:
    if isinstance(given, Network):
        return given
    if isinstance(given, Mapping) and len(given) == 1 and isinstance(next(iter(given.values())), Mapping):
        ((name, options),) = given.items()
        return Network(name, {str(key): value for key, value in options.items()})
    if isinstance(given, Mapping):
        if "name" not in given:
            raise SpecError(f"network.name: is required, got the keys {', '.join(map(str, given))}")
        options = {str(key): value for key, value in given.items() if key not in ("name", "init", "options")}
        return Network(given["name"], {**given.get("options", {}), **options}, given.get("init"))
    return Network(given)


def with_value(document: Document, path: str, value: Any) -> Document:
    """Return ``document`` with the value at a dotted path replaced; the original is not touched.

    Paths start with ``world``, ``network``, ``seed``, ``chain`` or a step's name: ``prune.criterion`` is that of every
    ``prune`` in the chain, whether it takes it from the study's settings or sets it itself.

    Raises:
        SpecError: no such path.
    """
    head, *rest = _keys(path)
    if head not in NO_STEPS and not STEPS.knows(head):
        if head in OF_STUDY:
            raise SpecError(f"cannot set {path!r}: no chain has it, the study has; {OF_STUDY[head]}")
        allowed = [*NO_STEPS, *STEPS.names()]
        raise SpecError(f"cannot set {path!r}: it must start with one of {', '.join(allowed)}{suggest(head, allowed)}")
    here = document.get(head)
    if head not in NO_STEPS and rest:
        field, kind, settings = rest[0], STEPS.get(head), here or {}
        check_field(kind, field, f"cannot set {path!r}")

        def change(old: Any) -> Any:
            return _replaced(old, rest[1:], value, path)

        chain = with_field(document.get("chain"), head, kind, field, change)
        return {**document, "chain": chain, head: kind.merged(settings, {field: change(settings.get(field))})}
    if head == "network" and rest and not isinstance(here, Network):
        network = network_from(here)
        here = {**network.options, "name": network.name, **({"init": network.init} if network.init else {})}
    if head == "world" and rest and not isinstance(here, Mapping | World):
        here = {"dataset": here}
    return {**document, head: _replaced(here, rest, value, path)}


def _keys(path: str) -> list[str]:
    """Return the keys of a dotted path; an import path is one key, whatever dots it has."""
    keys = path.split(".")
    start = 2 if keys[0] in (*NO_STEPS, *STEPS.names()) else 0  # a step of one's own comes first, others after a field
    colon = next((place for place, key in enumerate(keys) if place >= start and ":" in key), None)
    return keys if colon is None else [*keys[:start], ".".join(keys[start : colon + 1]), *keys[colon + 1 :]]


def _replaced(here: Any, rest: list[str], value: Any, path: str) -> Any:
    if not rest:
        return value
    key = rest[0]
    if here is None or here == key:  # a name without fields
        here = {}
    if isinstance(here, Mapping):
        return {**here, key: _replaced(here.get(key), rest[1:], value, path)}
    if isinstance(here, Network) and key not in field_names(Network):
        return dataclasses.replace(here, options={**here.options, key: value})
    if dataclasses.is_dataclass(here) and not isinstance(here, type):
        known = field_names(type(here))
        if key not in known:
            raise SpecError(f"cannot set {path!r}: no field {key!r}{suggest(key, known)} (known: {', '.join(known)})")
        return dataclasses.replace(here, **{key: _replaced(getattr(here, key), rest[1:], value, path)})
    raise SpecError(f"cannot set {path!r}: {here!r} has no parts")
