"""Which tensors a word means: a role such as ``output``, or a pattern of parameter names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from fractions import Fraction

from overparam.errors import SpecError
from overparam.networks import ROLES
from overparam.prune.counts import exact
from overparam.registry import suggest


def matching(entry: str, roles: Mapping[str, str], argument: str) -> set[str]:
    """Return the names of the parameters that ``entry`` means, out of ``roles`` (name -> role).

    Args:
        entry: one of :data:`overparam.networks.ROLES`, which may match nothing, or a shell-style pattern
            (``*``, ``?``, ``[...]``) of parameter names, e.g. ``"layer1.*.weight"``, which must match.
        roles: role of every parameter.
        argument: where the entry was given, for the error message.
    """
    if not isinstance(entry, str):
        raise SpecError(f"{argument} must hold roles or parameter names, got {entry!r}")
    found = {name for name, role in roles.items() if role == entry or fnmatchcase(name, entry)}
    if not found and entry not in ROLES:
        raise SpecError(
            f"{argument}: {entry!r} is no role and matches no parameter{suggest(entry, [*ROLES, *roles])} "
            f"(roles: {', '.join(ROLES)}; parameters: {', '.join(roles)})"
        )
    return found


def excluded(entries: str | Iterable[str], roles: Mapping[str, str]) -> set[str]:
    """Return the names of all parameters that one of ``entries`` (or the single entry) means."""
    if isinstance(entries, str):
        entries = (entries,)
    return set().union(*(matching(entry, roles, "exclude") for entry in entries))


def pruning_rates(rates: Mapping[str, float], roles: Mapping[str, str]) -> dict[str, Fraction]:
    """Return the rate of every parameter: names go before roles, later entries before earlier ones."""
    found = dict.fromkeys(roles, Fraction(1))
    for entry in sorted(rates, key=lambda entry: entry not in ROLES):
        found.update(dict.fromkeys(matching(entry, roles, "rates"), exact(rates[entry], f"rates[{entry!r}]")))
    return found
