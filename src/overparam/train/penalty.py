"""The L1 penalty: which parameters have it, and how strong it is."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Annotated, Any

import numpy as np
from pydantic import PlainValidator
from torch import nn

from overparam.errors import SpecError
from overparam.networks import ROLES
from overparam.networks.forward import Inputs
from overparam.prune.selection import Named


def _checked(given: Any) -> float | dict[str, float]:
    """Return what may be given for ``l1``."""
    parts = dict(given) if isinstance(given, Mapping) else {"l1": given}
    if not all(isinstance(name, str) and _is_strength(value) for name, value in parts.items()):
        raise ValueError(
            f"must be a number of at least 0, or such numbers by role or name pattern, as {{norm: 1e-4}}; got {given!r}"
        )
    found = {name: float(value) for name, value in parts.items()}
    return found if isinstance(given, Mapping) else found["l1"]


def _is_strength(value: Any) -> bool:
    return isinstance(value, int | float | np.number) and not isinstance(value, bool) and bool(0 <= value < math.inf)


L1 = Annotated[float | Mapping[str, float], PlainValidator(_checked)]
"""One strength for the weights that can be pruned, or strengths by role or name pattern."""


def l1_strengths(given: L1, module: nn.Module, prunable: Iterable[str], sample: Inputs) -> dict[str, float]:
    """Return the strength of the penalty by the first name of each parameter that has one.

    Names go before roles, later entries before earlier ones. A role means no biases, and of norms the scales alone.
    Raises :class:`SpecError` for an entry that means nothing in ``module``.
    """
    if not isinstance(given, Mapping):
        return dict.fromkeys(prunable, given) if given else {}
    named = Named.of(module, sample)
    found: dict[str, float] = {}
    for entry in sorted(given, key=lambda entry: entry not in ROLES):
        meant = named.meant(entry, "l1")
        if entry in ROLES and entry != "bias":
            meant = {name for name in meant if name.rpartition(".")[2] != "bias"}
        if not meant:
            raise SpecError(f"l1: the network has no parameter of role {entry!r}; leave it out")
        found |= dict.fromkeys(meant, given[entry])
    return found
