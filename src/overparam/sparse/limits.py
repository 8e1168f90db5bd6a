"""Below which densities layers are computed sparse: constants, so that a study gives the same bits every day.

Where sparse begins to be faster differs between shapes and machines by a factor of two; ``benchmarks/sparse_layers.py``
shows it for yours. What these constants lose there is little, as both sides take about as long near the limit. Where
they come from is in ``docs/sparse-benchmarks.md``.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, fields

from torch import Tensor

from overparam.errors import SpecError
from overparam.registry import suggest

VARIABLE = "OVERPARAM_SPARSE_BELOW"
"""Densities below which layers are sparse under ``engine: auto``, such as ``linear=0.3,convolution=0.2``."""


@dataclass(frozen=True)
class Limits:
    """Densities in [0, 1]: a layer with fewer of its weights is sparse, one with as many or more is dense."""

    linear: float = 0.35  # linear layers in a converted network
    convolution: float = 0.5  # convolutions there
    epochs: float = 0.45  # layers of a perceptron in compiled epochs


def limits() -> Limits:
    """Return the limits: :class:`Limits`' own, but for those that ``OVERPARAM_SPARSE_BELOW`` sets.

    It has the form ``linear=0.3,convolution=0.2``. Raises :class:`SpecError` if it does not.
    """
    names = [field.name for field in fields(Limits)]
    found: dict[str, float] = {}
    for part in filter(None, os.environ.get(VARIABLE, "").split(",")):
        name, _, given = (each.strip() for each in part.partition("="))
        if name not in names:
            raise SpecError(f"{VARIABLE} must set {', '.join(names)}, got {name!r}{suggest(name, names)}")
        with contextlib.suppress(ValueError):
            found[name] = float(given)
        if not 0 <= found.get(name, -1) <= 1:
            raise SpecError(f"{VARIABLE}: {name} must be a density between 0 and 1, got {given!r}")
    return Limits(**found)


def dense_by(limit: Mapping[str, float], masks: Mapping[str, Tensor]) -> tuple[str, ...]:
    """Return the names of the weights that are dense: all without a limit, and those not below theirs."""
    return tuple(
        name for name, mask in masks.items() if name not in limit or int(mask.sum()) >= limit[name] * mask.numel()
    )
