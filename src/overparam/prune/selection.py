"""Which tensors a word means: a role such as ``output``, a pattern of parameter names, or a part of the module."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from fractions import Fraction

from torch import nn

from overparam.errors import SpecError
from overparam.networks import ROLES, first_names, roles_by_name
from overparam.networks.forward import Inputs
from overparam.networks.roles import foremost
from overparam.prune.counts import exact
from overparam.registry import suggest
from overparam.remarks import REMEDIES

Entry = str | nn.Module | nn.Parameter
Selection = Entry | Iterable[Entry]


def matching(
    entry: object, roles: Mapping[str, str], argument: str, names: Mapping[str, str] | None = None
) -> set[str]:
    """Return the names of the tensors that ``entry`` means.

    Args:
        entry: one of :data:`overparam.networks.ROLES`, which may match nothing, or a shell-style pattern
            (``*``, ``?``, ``[...]``) of parameter names, e.g. ``"layer1.*.weight"``, which must match.
        roles: role of every parameter, under each of its names.
        argument: where the entry was given, for the error message.
        names: the first name of each parameter by each of its names; None where each has but one.
    """
    if not isinstance(entry, str):
        raise SpecError(f"{argument} must hold roles or parameter names, got {entry!r}")
    found = {name for name, role in roles.items() if entry in (role, name) or fnmatchcase(name, entry)}
    if not found and entry not in ROLES:
        raise SpecError(
            f"{argument}: {entry!r} is no role and matches no parameter{suggest(entry, [*ROLES, *roles])} "
            f"(roles: {', '.join(ROLES)}; parameters: {', '.join(roles)})"
        )
    return {(names or {}).get(name, name) for name in found}


def excluded(entries: object, roles: Mapping[str, str], names: Mapping[str, str] | None = None) -> set[str]:
    """Return the names of all tensors that one of ``entries`` (or the single entry) means; see :func:`matching`."""
    if isinstance(entries, str) or not isinstance(entries, Iterable):
        entries = (entries,)
    return set[str]().union(*(matching(entry, roles, "exclude", names) for entry in entries))


def pruning_rates(
    rates: Mapping[str, float], roles: Mapping[str, str], names: Mapping[str, str] | None = None
) -> dict[str, Fraction]:
    """Return the rate of every tensor: names go before roles, later entries before earlier ones."""
    found = dict.fromkeys(roles, Fraction(1))
    for entry in sorted(rates, key=lambda entry: entry not in ROLES):
        found.update(dict.fromkeys(matching(entry, roles, "rates", names), exact(rates[entry], f"rates[{entry!r}]")))
    return found


@dataclass(frozen=True)
class Named:
    """The parameters of a module by all that they can be called.

    Attributes:
        module: whose parameters they are.
        uses: a role for each name of each parameter (:func:`overparam.networks.roles_by_name`).
        names: the first name of each parameter by each of its names.
        roles: the foremost role of each parameter, by its first name.
    """

    module: nn.Module
    uses: Mapping[str, str]
    names: Mapping[str, str]
    roles: Mapping[str, str]

    @classmethod
    def of(cls, module: nn.Module, sample: Inputs | None = None) -> Named:
        """Name the parameters of ``module``; ``sample`` helps to find the output layer."""
        names, uses = first_names(module), roles_by_name(module, sample)
        return cls(module, uses, names, foremost(uses, names))

    def meant(self, entries: Selection, argument: str) -> set[str]:
        """Return the first names of the parameters that ``entries`` mean.

        An entry is a role, a parameter's name or a pattern of names, a part of the module, or a parameter itself; a
        single one need not be in a list. Raises :class:`SpecError`, naming ``argument``, for one that means nothing.
        """
        if isinstance(entries, Entry) or not isinstance(entries, Iterable):
            entries = (entries,)
        found: set[str] = set()
        for entry in entries:
            if isinstance(entry, nn.Module | nn.Parameter):
                found |= self._inside(entry, argument)
            else:
                found |= matching(entry, self.uses, argument, self.names)
        return found

    def wanted(self, include: Selection) -> set[str]:
        """Return the first names of what ``include`` means; raises :class:`SpecError` for what cannot be pruned.

        Zeros in what a weight is computed from need not be zeros in the weight: a row of zeros has no weight norm.
        """
        found = self.meant(include, "include")
        for name in sorted(found):
            if (role := self.roles[name]) in REMEDIES:
                raise SpecError(f"include: {name!r} is {role}, so its elements are no weights; {REMEDIES[role]}")
        return found

    def _inside(self, part: nn.Module | nn.Parameter, argument: str) -> set[str]:
        wanted = {id(parameter) for parameter in (part.parameters() if isinstance(part, nn.Module) else [part])}
        found = {name for name, parameter in self.module.named_parameters() if id(parameter) in wanted}
        if len(found) < max(len(wanted), 1):
            raise SpecError(
                f"{argument}: the {type(part).__name__} that was given is no part of the module, or has no parameters"
            )
        return found
