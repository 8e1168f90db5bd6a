"""Checkpoints by name, ``STUDY/ARM/SEED/LEVEL``, and their weights and masks as files that other tools read."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from overparam.errors import SpecError
from overparam.files import write_file

if TYPE_CHECKING:
    from torch import Tensor

    from overparam.lab.found import Found
    from overparam.lab.results import Results

FORM = "STUDY/ARM/SEED/LEVEL"
SUFFIXES = (".safetensors", ".npz")
WHAT = ("weights", "masks")


def split_name(name: str) -> tuple[str, dict[str, Any]]:
    """Return the study that a name begins with, and the place in it, for :meth:`overparam.Results.at`.

    The arm may be left out of a study that has one, and a step of the chain may follow the level.

    >>> split_name("lottery@82f8/reinit/0/3")
    ('lottery@82f8', {'arm': 'reinit', 'seed': 0, 'level': 3})
    >>> split_name("demo/0/3")
    ('demo', {'seed': 0, 'level': 3})

    Raises:
        SpecError: it has another form.
    """
    study, *parts = name.split("/")
    numbers = [int(part) for part in parts if part.isdecimal()]
    last = next((n for n in (3, 2) if len(parts) >= n and all(part.isdecimal() for part in parts[-n:])), 0)
    if not study or not last:
        raise SpecError(f"{name!r} must have the form {FORM}, such as demo/magnitude/0/3")
    arm = "/".join(parts[:-last])
    place = dict(zip(("seed", "level", "step"), numbers[-last:], strict=False))
    return study, {**({"arm": arm} if arm else {}), **place}


def names(results: Results) -> Iterator[str]:
    """Yield the names of a study's checkpoints, those at one place with their steps."""
    rows = results.labelled.select("arm", "seed", "level", "step").rows()
    at = Counter(row[:3] for row in rows)
    for row in rows:
        yield "/".join(map(str, [results.name, *(row if at[row[:3]] > 1 else row[:3])]))


def save_tensors(found: Found, path: str | Path, what: str = "weights") -> Path:
    """Write the dense weights of a checkpoint, or its masks, as a file that other tools read.

    Weights are the state dict of the network under its own names, pruned ones +0.0: what ``load_state_dict`` takes,
    strictly. Masks are bool tensors of the same names, True where a weight is kept, of the tensors that have one.

    Args:
        found: a row of a study's table.
        path: its suffix says the format: ``.safetensors``, with what it is in its metadata, or ``.npz`` of NumPy.
        what: ``weights`` or ``masks``.

    Raises:
        SpecError: another suffix, another ``what``, a type of numbers that NumPy has not, or the file cannot be
            written.
        StoreError: the checkpoint is not there, or is damaged.
    """
    goal = Path(path)
    if what not in WHAT:
        raise SpecError(f"what must be weights or masks, got {what!r}")
    if goal.suffix not in SUFFIXES:
        raise SpecError(f"{str(path)!r}: the file must end in .safetensors or .npz")
    tensors = found.masks if what == "masks" else dict(found.checkpoint.state)
    whole = {name: tensor.contiguous() for name, tensor in tensors.items()}
    write_file(goal, _npz(whole) if goal.suffix == ".npz" else _safetensors(whole, found, what))
    return goal


def _safetensors(tensors: Mapping[str, Tensor], found: Found, what: str) -> bytes:
    from safetensors.torch import save

    told = {name: str(found.row.get(name)) for name in ("study", "arm", "seed", "level", "fingerprint", "density")}
    return save({name: tensor.clone() for name, tensor in tensors.items()}, {"format": "pt", "holds": what, **told})


def _npz(tensors: Mapping[str, Tensor]) -> bytes:
    import numpy as np

    buffer = io.BytesIO()
    try:
        np.savez(buffer, **{name: tensor.numpy() for name, tensor in tensors.items()})  # type: ignore[arg-type]
    except TypeError as error:
        raise SpecError(f".npz cannot hold these weights ({error}); write .safetensors") from None
    return buffer.getvalue()
