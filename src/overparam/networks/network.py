"""The network of a study: an architecture, its options and its initialisation."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import field
from typing import Annotated, Any

import numpy as np
from pydantic import BeforeValidator
from torch import nn
from torch.nn.parameter import is_lazy

from overparam.errors import SpecError
from overparam.networks.architecture import NETWORKS, Architecture
from overparam.networks.factory import (
    IMPORT_PATH,
    check_options,
    check_output,
    check_world,
    make,
    resolve,
)
from overparam.networks.identity import module_identity, state_digest
from overparam.networks.initialise import Init, initialise
from overparam.spec import spec
from overparam.streams import global_stream, stream_seed


def _checked_name(name: Any) -> Any:
    if isinstance(name, nn.Module):
        raise ValueError(
            "needs a function that makes a new module at each call, as every seed starts from its own "
            f"weights; got a module of type {type(name).__name__}"
        )
    if isinstance(name, str):
        if ":" not in name and name not in NETWORKS:
            try:
                NETWORKS.get(name)
            except SpecError as error:
                raise ValueError(f"{error}; one of your own is written 'module:factory'") from None
        if ":" in name and not IMPORT_PATH.fullmatch(name):
            raise ValueError(f"an import path is written 'package.module:factory', got {name!r}")
    elif not callable(name):
        raise ValueError(
            f"needs a registered name, an import path 'package.module:factory' or a function, got {name!r}"
        )
    return name


@spec
class Network:
    """An architecture with its options and initialisation, e.g. ``Network("mlp", {"hidden": [100]})``.

    ``name``: a registered architecture (``overparam list networks``), an import path
    ``package.module:factory`` or a function. A factory of one's own returns a new ``torch.nn.Module`` at each
    call. It may have the parameters ``input_shape`` (a tuple, without the batch) and ``classes``; its other
    parameters are ``options``. The module maps a float32 batch ``(N, *input_shape)`` to scores ``(N,
    classes)``.

    ``init``: ``kaiming-normal``, ``glorot-normal`` or ``pytorch``, see
    :func:`overparam.networks.initialise.initialise`; None takes the architecture's usual one:
    ``kaiming-normal`` for mlp, lenet-300-100, vgg and resnet, ``glorot-normal`` for lenet-5 and conv-2/4/6,
    and for one's own ``pytorch`` (as constructed).

    Raises :class:`SpecError` for an unknown name, an unknown or impossible option, and a name of another
    kind. An import path is followed only when the network is built or identified.
    """

    name: Annotated[str | Callable[..., nn.Module], BeforeValidator(_checked_name)]
    options: dict[str, Any] = field(default_factory=dict)
    init: Init | None = None

    def __post_init__(self) -> None:
        if isinstance(self.name, str) and ":" in self.name:
            return
        factory = resolve(self.name)
        if isinstance(factory, Architecture):
            factory.options(self.options)
        else:
            check_options(factory, self.label, self.options)

    @property
    def label(self) -> str:
        """The name, or for a function its own, as used in messages."""
        return self.name if isinstance(self.name, str) else getattr(self.name, "__qualname__", repr(self.name))

    def build(self, input_shape: tuple[int, ...], classes: int, seed: int, draw: str | int = "init") -> nn.Module:
        """Return a new module with initial weights from the stream ``(seed, "network", draw)``, on the CPU.

        ``input_shape`` is that of one input, e.g. ``(1, 28, 28)``. The same seed and draw give the same bits,
        another draw gives an independent initialisation. The global generators of torch, numpy and ``random``
        are as before afterwards. Raises :class:`SpecError` if the network cannot be made for these inputs or
        does not map a batch ``(2, *input_shape)`` to ``(2, classes)``.
        """
        input_shape = tuple(input_shape)
        check_world(input_shape, classes)
        module = self._initial(input_shape, classes, seed, draw)
        check_output(module, self.label, input_shape, classes)
        return module

    def _initial(self, input_shape: tuple[int, ...], classes: int, seed: int, draw: str | int) -> nn.Module:
        factory = resolve(self.name)
        usual: Init = factory.init if isinstance(factory, Architecture) else "pytorch"
        with global_stream(seed, "network", draw), _python_streams(seed, draw):
            module = make(factory, self.label, input_shape, classes, self.options)
            if any(is_lazy(parameter) for parameter in module.parameters()):
                check_output(module, self.label, input_shape, classes)  # gives lazy layers their weights
            initialise(module, self.init or usual)
        return module

    def identity(self, input_shape: tuple[int, ...], classes: int, seed: int) -> dict[str, Any]:
        """Return what makes this network this network, JSON-able, for fingerprints.

        Of a registered architecture: its name, the version of its code, every option and the initialisation.
        Of a network of one's own: its content as built at this seed, see
        :func:`overparam.networks.identity.module_identity`; whether it came by import path or as a function does
        not matter.
        """
        factory = resolve(self.name)
        if isinstance(factory, Architecture):
            return {
                "architecture": factory.name,
                "version": factory.version,
                "options": json.loads(json.dumps(factory.options(self.options))),
                "init": self.init or factory.init,
            }
        module = self.build(input_shape, classes, seed)
        identity = module_identity(factory, self.options, module)
        if state_digest(self._initial(tuple(input_shape), classes, seed, "init")) != identity["state"]:
            raise SpecError(
                f"network {self.label!r} starts from other weights each time though the seed is the same; let "
                "its factory draw them from torch's global generator, as torch.nn.init does by default"
            )
        return {**identity, "init": self.init or "pytorch"}


@contextmanager
def _python_streams(seed: int, draw: str | int) -> Iterator[None]:
    """Set the global generators of ``random`` and numpy for factories that draw from them; put them back."""
    python_state, numpy_state = random.getstate(), np.random.get_state()  # noqa: NPY002
    random.seed(stream_seed(seed, "network", draw, "random"))
    np.random.seed(stream_seed(seed, "network", draw, "numpy") % 2**32)  # noqa: NPY002
    try:
        yield
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)  # noqa: NPY002
