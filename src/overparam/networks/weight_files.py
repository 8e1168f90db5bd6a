"""Weights of the user's own files: ``.pt`` and ``.pth`` as torch writes them, and ``.safetensors``.

A file is only ever read as tensors and plain values (torch's ``weights_only=True``), so nothing that it says is run.
"""

from __future__ import annotations

import pickle
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from overparam.errors import DataError, SpecError, counted, suggest

Module = TypeVar("Module", bound=nn.Module)

NESTED = ("state_dict", "model_state_dict", "model", "net", "network", "weights", "params")
"""Under which keys training scripts keep a network's weights beside an optimiser's state and the like."""

WRAPPERS = ("module.", "_orig_mod.", "model.", "net.")
"""What DataParallel, torch.compile and frameworks put before each name; it is taken off where a module lacks it."""

EXTRA = "_extra_state"  # what torch calls the state of a module that is no tensor
RESAVE = "torch.save(model.state_dict(), 'weights.pt')"
SCRIPTED = "torch.save(torch.jit.load('program.pt').state_dict(), 'weights.pt')"


def read_weights(path: str | Path, key: str | None = None) -> dict[str, Any]:
    """Return the tensors of a file by name, and extra state of modules, on the CPU; nothing in it is executed.

    Args:
        path: a file that ``torch.save`` has written, of a state dict or of a mapping that holds one, or a
            ``.safetensors`` file.
        key: where in the mapping the state dict is; None: the whole file, or one of the keys that are usual
            (``state_dict``, ``model_state_dict``, ``model``, ...).

    Raises:
        DataError: the file is not there, is damaged, or holds more than tensors and plain values, such as a whole
            module.
        SpecError: it holds no state dict, or several.
    """
    content = _content(Path(path))
    found = _state_in(content, key, path)
    return dict(found)


def with_weights(module: Module, path: str | Path, key: str | None = None) -> Module:
    """Return ``module`` with the weights of a file in it, which has a tensor of each of its names and shapes, no other.

    As the function that a study calls for its network, it makes a pretrained network:

    >>> def pretrained():
    ...     return with_weights(torch.nn.Linear(2, 2), "weights.pt")

    Args:
        module: it is changed in place.
        path, key: as of :func:`read_weights`.

    Raises:
        DataError, SpecError: as :func:`read_weights`; and for tensors that lack, are left over, or have another shape.
    """
    own = module.state_dict()
    state = _unwrapped(read_weights(path, key), own)
    lacking, left = [name for name in own if name not in state], [name for name in state if name not in own]
    if lacking or left:
        raise SpecError(f"{path}: does not fit {type(module).__name__}: {_misfit(lacking, left)}")
    for name, tensor in own.items():
        here, there = (tuple(getattr(each, "shape", ())) for each in (tensor, state[name]))
        if here != there:
            raise SpecError(
                f"{path}: {name!r} has the shape {there}, in {type(module).__name__} it has {here}; build the module "
                "with the sizes that the file was made with"
            )
    module.load_state_dict(state)
    return module


def _content(path: Path) -> Any:
    """Return what a file holds, read as tensors and plain values alone."""
    if not path.is_file():
        raise DataError(f"{path}: is not there; give the path of a .pt, .pth or .safetensors file")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns of a TorchScript program before it refuses it
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise DataError(_refused(path, str(error))) from None
    except (SafetensorError, RuntimeError, EOFError, ValueError, KeyError, AttributeError, OSError) as error:
        if "TorchScript" in str(error):
            raise DataError(f"{path}: is a TorchScript program; write its weights alone, {SCRIPTED}") from None
        reason = str(error).strip().split("\n")[0] or type(error).__name__
        raise DataError(
            f"{path}: cannot be read as weights, it is damaged or another kind of file ({reason})"
        ) from None


def _refused(path: Path, error: str) -> str:
    """Say what a file holds that is no tensor and what to do; a file that is none of torch's says so, too."""
    named = re.search(r"GLOBAL ([\w.]+)|Unsupported (?:global|class) ([\w.]+)", error)
    if named is None:
        return f"{path}: cannot be read as weights, it is damaged or another kind of file"
    return (
        f"{path}: holds Python objects ({named[1] or named[2]}), which are not loaded since they could run anything; "
        f"where it was made, write the weights alone, {RESAVE}, and give that file"
    )


def _state_in(content: Any, key: str | None, path: str | Path) -> Mapping[str, Any]:
    """Return the state dict in what a file holds."""
    if not isinstance(content, Mapping):
        raise SpecError(f"{path}: holds a {type(content).__name__} and no state dict; write one by {RESAVE}")
    if key is not None:
        if not _is_state(content.get(key)):
            raise SpecError(
                f"{path}: has no state dict under {key!r}{suggest(key, map(str, content))} ({_keys(content)})"
            )
        return content[key]  # type: ignore[no-any-return]
    if _is_state(content):
        return content
    found = [name for name in NESTED if _is_state(content.get(name))] or [k for k in content if _is_state(content[k])]
    if len(found) != 1:
        many = "more than one state dict" if found else "no state dict"
        raise SpecError(f"{path}: holds {many}; name one by key=... ({_keys(content)})")
    return content[found[0]]  # type: ignore[no-any-return]


def _is_state(value: Any) -> bool:
    """Tell whether a value is a mapping of tensors by name; extra state of modules may stand beside them."""
    return (
        isinstance(value, Mapping)
        and all(isinstance(name, str) for name in value)
        and any(isinstance(each, Tensor) for each in value.values())
        and not any(isinstance(each, Mapping) for name, each in value.items() if not name.endswith(EXTRA))
    )


def _keys(content: Mapping[Any, Any]) -> str:
    return f"it has {', '.join(map(str, list(content)[:8])) or 'nothing'}"


def _unwrapped(state: dict[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Return a state dict under the names of a module, without what a wrapper has put before all of them."""
    for wrapper in WRAPPERS if state.keys() != own.keys() else ():
        names = {name: name.removeprefix(wrapper) for name in state if name.startswith(wrapper)}
        if set(names.values()) == own.keys() and len(names) == len(state):
            return {names[name]: value for name, value in state.items()}
    return state


def _misfit(lacking: list[str], left: list[str]) -> str:
    """Say which names do not meet, and what to do."""
    told = [
        f"{what} {counted(len(names), 'tensor')} ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"
        for what, names in (("the file lacks", lacking), ("the module has no place for", left))
        if names
    ]
    return f"{'; '.join(told)}; build the module as it was when the file was made"
