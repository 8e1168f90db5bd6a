"""From the fingerprint of a stored checkpoint to the checkpoint, and to its network, ready to be called."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

from overparam.errors import SpecError, StoreError
from overparam.lab.store import DamagedError, Store

if TYPE_CHECKING:
    from torch import nn

    from overparam.checkpoint import Checkpoint


def opened(store: str | Path | Store) -> Store:
    """Return a store that is given by its folder, to be read; raises :class:`StoreError` if there is none."""
    return store if isinstance(store, Store) else Store(store, reading=True)


def load_checkpoint(store: str | Path | Store, fingerprint: str) -> Checkpoint:
    """Return a stored checkpoint; damage is marked, if it can be, so that the next run computes it again.

    Args:
        store: where the checkpoint is; a folder, or a :class:`Store`.
        fingerprint: of a row of ``results.frame``.

    Raises:
        StoreError: there is none of that fingerprint, or it is damaged.
    """
    from overparam.lab.weights import checkpoint_from_bytes  # torch takes seconds to import

    store = opened(store)
    try:
        if not store.verify("steps", fingerprint, weights=False):
            raise StoreError(f"store {str(store.root)!r} has no checkpoint {fingerprint!r}")
        return checkpoint_from_bytes(store.weights(fingerprint))
    except DamagedError as damage:
        with contextlib.suppress(StoreError):
            store.mark_damaged("steps", fingerprint, str(damage))
        raise DamagedError(f"{damage}; run the study again to compute it anew") from None


def load_module(store: str | Path | Store, fingerprint: str, module: nn.Module | None = None) -> nn.Module:
    """Return the network of a stored checkpoint with its weights, removed units and all, ready to be called.

    Args:
        store: where the checkpoint is; a folder, or a :class:`Store`.
        fingerprint: of a row of ``results.frame``.
        module: a module as its network makes it, which is changed in place; None rebuilds it, from the name or the
            import path that the study gave.

    Raises:
        StoreError: no such checkpoint, a damaged one, one that does not fit ``module``, or a network that was given as
            a function or with options that are no plain data: then ``module`` is needed.
    """
    store = opened(store)
    checkpoint = load_checkpoint(store, fingerprint)
    module = _rebuilt(store, fingerprint) if module is None else module
    try:
        return checkpoint.load_into(module)
    except (RuntimeError, SpecError) as error:
        first = " ".join(str(error).split("\n")[:2])
        raise StoreError(f"checkpoint {fingerprint} does not fit the module: {first}") from None


def _rebuilt(store: Store, fingerprint: str) -> nn.Module:
    """Return a module as the network of a stored checkpoint makes it, with other weights."""
    recipe = store.numbers("steps", fingerprint)["network"]
    if recipe is None:
        raise StoreError(
            f"checkpoint {fingerprint} is of a network that was given as a function, or with options that are no plain "
            "data; pass the module that its weights are to be loaded into"
        )
    from overparam.networks import Network

    return Network(**recipe["network"]).fresh(**recipe["form"], seed=0)
