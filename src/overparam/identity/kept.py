"""What a module keeps outside its state dict, and whether it has changed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from torch import nn

from overparam.identity.digest import Digest, attributes
from overparam.identity.origin import is_users


def kept_outside(module: nn.Module) -> dict[str, str]:
    """Return a digest of each thing that ``module`` keeps outside its state dict, by its dotted path.

    Plain attributes of the parts of the module, buffers that are not persistent, hooks, and as ``class NAME`` what
    the classes of its parts and the globals that their code names hold. A forward that changes one of them has a
    state that no checkpoint keeps. Parts of overparam's own, such as sparse layers, keep nothing that counts.
    """
    known = [*module.modules(), *module.state_dict(keep_vars=True).values()]
    found = {}
    for path, part in module.named_modules():
        if type(part).__module__.partition(".")[0] == "overparam":
            continue
        for name, value in _kept_by(part):
            found[f"{path}.{name}" if path else name] = held_digest(value, known)
        if is_users(type(part).__module__):
            found.setdefault(f"class {type(part).__qualname__}", held_digest(type(part), known))
    return found


def held_digest(value: Any, known: Sequence[object] = ()) -> str:
    """Return what tells a value from a changed one, within this process; ``known`` as in :class:`Digest`."""
    parts = value if type(value) in (tuple, list) else (value,)
    if all(part is None or type(part) in (bool, int, float, str) for part in parts):
        return repr(value)  # most attributes of torch's layers
    return Digest(known).add(value).hex()


def _kept_by(part: nn.Module) -> Iterator[tuple[str, Any]]:
    """Yield what a part keeps besides its parameters, persistent buffers, parts and the training flag."""
    skipped = ["training", "_parameters", "_buffers", "_modules"]
    if isinstance(part, nn.RNNBase):  # torch's lists of its parameters, made anew at each call where they are others
        skipped += ["_flat_weights", "_flat_weight_refs"]
    yield from ((name, value) for name, value in attributes(part).items() if name not in skipped)
    yield from ((name, part._buffers[name]) for name in sorted(part._non_persistent_buffers_set))
