"""The network of a study: an architecture, its options and its initialisation."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Annotated, Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from overparam.errors import SpecError
from overparam.identity import comes_with_overparam, identity_of, kept_outside, module_identity
from overparam.networks.architecture import NETWORKS, Architecture, Form
from overparam.networks.factory import (
    check_options,
    check_output,
    check_state,
    make,
)
from overparam.networks.initialise import Init, initialise
from overparam.networks.roles import prunable, tensor_roles
from overparam.networks.surgery import Surgery, operate, redraw
from overparam.spec import spec
from overparam.streams import global_stream


@spec
class Network:
    """An architecture with its options and initialisation, e.g. ``Network("mlp", {"hidden": [100]})``.

    A factory of one's own returns a new ``torch.nn.Module`` at each call. It may have the parameters ``input_shape`` (a
    tuple, without the batch), ``outputs`` (the shape of what is given for one input), ``classes`` (the last side of it)
    and ``vocabulary`` (how many tokens there are; None where inputs are real). The module maps a batch
    ``(N, *input_shape)``, float32 or tokens, to ``(N, *outputs)``: scores ``(N, classes)`` in a classification.

    Args:
        name: a registered architecture (``overparam list networks``), an import path ``package.module:factory`` or a
            function.
        options: the factory's other parameters; in a study file they stand beside ``name``.
        init: ``kaiming-normal``, ``glorot-normal``, ``gpt-2`` or ``pytorch``, see
            :func:`overparam.networks.initialise.initialise`; None takes the architecture's usual one:
            ``kaiming-normal`` for mlp, lenet-300-100, vgg and resnet, ``glorot-normal`` for lenet-5 and conv-2/4/6,
            ``gpt-2`` for transformer, ``pytorch`` (as constructed) for gru and for one's own.

    Example:
        {name: mlp, hidden: [100], init: glorot-normal}

    Raises :class:`SpecError` for an unknown name, an unknown or impossible option, and a name of another
    kind. An import path is followed only when the network is built or identified.
    """

    name: Annotated[Any, NETWORKS]
    options: dict[str, Any] = field(default_factory=dict)
    init: Init | None = None

    def __post_init__(self) -> None:
        if isinstance(self.name, str) and self.name not in NETWORKS:
            return
        factory = NETWORKS.resolve(self.name)
        if isinstance(factory, Architecture):
            factory.options(self.options)
        else:
            check_options(factory, self.label, self.options)

    @property
    def label(self) -> str:
        """The name, or for a function its own, as used in messages."""
        return self.name if isinstance(self.name, str) else getattr(self.name, "__qualname__", repr(self.name))

    @property
    def built_in(self) -> bool:
        """Whether it comes with overparam: then its modules hold nothing but torch's layers and their tensors."""
        factory = NETWORKS.resolve(self.name)
        return isinstance(factory, Architecture) and comes_with_overparam(factory.factory)

    def build(
        self,
        input_shape: Sequence[int],
        outputs: int | Sequence[int],
        seed: int,
        draw: str | int = "init",
        vocabulary: int | None = None,
    ) -> nn.Module:
        """Return a new module with initial weights from the stream ``(seed, "network", draw)``, on the CPU.

        ``input_shape`` is that of one input, e.g. ``(1, 28, 28)``, ``outputs`` that of what is given for it, e.g. the
        number of classes, ``vocabulary`` how many tokens there are where inputs are tokens. The same seed and draw give
        the same bits, another draw gives an independent initialisation. The global generators of torch, numpy and
        ``random`` are as before afterwards. Raises :class:`SpecError` if the network cannot be made for these inputs or
        does not map a batch ``(2, *input_shape)`` to ``(2, *outputs)``; that is tried on a module of its own, so that
        what a network of one's own counts or keeps as it runs is untouched in the one returned.
        """
        form = Form.of(input_shape, outputs, vocabulary)
        module = self._fresh(form, seed, draw)
        looked_at = module if self.built_in else self._fresh(form, seed, draw)
        check_output(looked_at, self.label, form)
        return module

    def fresh(
        self,
        input_shape: Sequence[int],
        outputs: int | Sequence[int],
        seed: int,
        draw: str | int = "init",
        vocabulary: int | None = None,
        surgery: Surgery = (),
    ) -> nn.Module:
        """Return a new module as :meth:`build` does, without trying it: for a network that was built before.

        The layers of a ``surgery`` stand in it and are initialised as its own are, by their own sizes; in a network
        that initialises itself, as torch constructs them.
        """
        return self._fresh(Form.of(input_shape, outputs, vocabulary), seed, draw, surgery)

    def _fresh(self, form: Form, seed: int, draw: str | int = "init", surgery: Surgery = ()) -> nn.Module:
        factory = NETWORKS.resolve(self.name)
        usual: Init = factory.init if isinstance(factory, Architecture) else "pytorch"
        with global_stream(seed, "network", draw):
            module = make(factory, self.label, form, self.options)
            if any(is_lazy(parameter) for parameter in module.parameters()):
                check_output(module, self.label, form)  # gives lazy layers their weights
            redraw(operate(module, surgery), surgery)
            initialise(module, self.init or usual)
        return module

    def identity(
        self, input_shape: Sequence[int], outputs: int | Sequence[int], seed: int, vocabulary: int | None = None
    ) -> dict[str, Any]:
        """Return what makes this network this network for these inputs, JSON-able, for fingerprints.

        Of an architecture that comes with overparam: its name, the version of its code, the initialisation and every
        option but those that are None: one that is added, off by default, keeps old results. Of a network of one's own:
        its content as built at this seed, see :func:`overparam.identity.module_identity`; whether it came by import
        path or as a function does not matter.
        """
        form = Form.of(input_shape, outputs, vocabulary)
        world = {"input_shape": list(form.input_shape), "outputs": list(form.outputs), "vocabulary": vocabulary}
        factory = NETWORKS.resolve(self.name)
        if isinstance(factory, Architecture):
            return {
                **world,
                "architecture": factory.name,
                "version": factory.version,
                "options": json.loads(json.dumps(_given(factory.options(self.options)))),
                "init": self.init or factory.init,
                **({} if self.built_in else {"code": identity_of(factory.factory)}),
            }
        one, other = (self._fresh(form, seed) for _ in range(2))
        identity = module_identity(factory, self.options, one)
        self._check_repeats(one, other, identity, module_identity(factory, self.options, other))
        check_state(one, self.label)
        check_output(one, self.label, form)
        return {**world, **identity, "init": self.init or "pytorch"}

    def _check_repeats(self, one: nn.Module, other: nn.Module, identity: dict[str, Any], again: dict[str, Any]) -> None:
        """Raise :class:`SpecError` unless two modules of one seed are the same, weights and all else."""
        advice = "let its factory draw from the global generators of torch, Python or NumPy, which are seeded for it"
        if again["state"] != identity["state"]:
            raise SpecError(
                f"network {self.label!r} starts from other weights each time though the seed is the same; {advice}"
            )
        if again != identity:
            held, held_again = kept_outside(one), kept_outside(other)
            names = [name for name in held if held[name] != held_again.get(name)]
            where = f" ({', '.join(names[:3])})" if names else ""
            raise SpecError(
                f"network {self.label!r} is made differently each time though the seed is the same{where}, so its "
                f"results could not be found again; {advice}"
            )

    def comes_with_weights(
        self, input_shape: Sequence[int], outputs: int | Sequence[int], seed: int, vocabulary: int | None = None
    ) -> bool:
        """Tell whether it starts from the same weights whatever is drawn, as a pretrained network does.

        Looked at are the weights that can be pruned, but for those with a single value, such as zeros.
        """
        if self.built_in:
            return False
        form = Form.of(input_shape, outputs, vocabulary)
        one, other = (self._fresh(form, seed, draw) for draw in ("init", "another"))
        names = prunable(tensor_roles(one))
        pairs = [(one.get_parameter(name), other.get_parameter(name)) for name in names]
        varied = [(a, b) for a, b in pairs if bool((a != a.flatten()[0]).any())]
        return bool(varied) and all(torch.equal(a, b) for a, b in varied)


def _given(options: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}
