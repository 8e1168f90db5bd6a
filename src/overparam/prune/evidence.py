"""What a criterion may look at; what costs something is taken when it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, cast

import torch
from torch import Tensor, nn

from overparam.errors import SpecError
from overparam.networks.forward import Inputs
from overparam.prune.backpropagated import backpropagated_diagonal
from overparam.prune.derivatives import Loss, gradients, hessian_diagonal, hessian_product
from overparam.prune.layer_inputs import layer_calls, patches, second_moments
from overparam.prune.roots import Kind, curvature_roots
from overparam.prune.synaptic_flow import synaptic_flow

T = TypeVar("T")
Named = Mapping[str, Tensor]
Batches = Sequence[tuple[Inputs, Any]]
Curvature = Literal["hutchinson", "backpropagated", "gauss-newton", "fisher"]


@dataclass(frozen=True)
class Look:
    """Where evidence is taken from; each is called when it is first needed, and no more than once.

    Attributes:
        module: returns the module at the weights that are scored.
        batches: returns mini-batches ``(inputs, targets)`` on the module's device, and the loss, a mean over a batch.
        initial: returns the initial values of all weights by name.
        sample: returns inputs, for what needs their shapes and no data; None: those of the batches.
    """

    module: Callable[[], nn.Module]
    batches: Callable[[], tuple[Batches, Loss]] | None = None
    initial: Callable[[], Named] | None = None
    sample: Callable[[], Inputs] | None = None


class Evidence:
    """What a criterion may look at; every mapping is keyed by parameter name.

    By hand, ``Evidence(weights, gradients)`` holds plain tensors. With a :class:`Look`, what is not given is taken from
    a module at its first use, so a criterion that looks at weights only costs no pass through the network.

    Args:
        weights: the tensors to score, each of any shape.
        gradients, curvature, initial, inputs, moments, roots, hessian_gradient, flow, parameters: what the properties
            and methods of these names return.
        seed: of the streams of a criterion that draws at random.
        draw: which draw from that seed, e.g. the number of prunings that came before.
        masks: which weights are left (bool); None: all.
        look: where the rest is taken from.
    """

    def __init__(
        self,
        weights: Named,
        gradients: Named | None = None,
        seed: int = 0,
        draw: int = 0,
        *,
        curvature: Named | None = None,
        initial: Named | None = None,
        inputs: Named | None = None,
        hessian_gradient: Named | None = None,
        flow: Named | None = None,
        parameters: Named | None = None,
        moments: Named | None = None,
        roots: Named | None = None,
        masks: Named | None = None,
        look: Look | None = None,
    ) -> None:
        self.weights, self.seed, self.draw, self._masks, self._look = weights, seed, draw, masks or {}, look
        given = {"gradients": gradients, "curvature": curvature, "initial": initial, "inputs": inputs}
        given |= {"hessian_gradient": hessian_gradient, "flow": flow, "parameters": parameters}
        given |= {"moments": moments, "roots": roots}
        self._kept: dict[Any, Any] = {name: value for name, value in given.items() if value is not None}

    def alive(self, name: str) -> Tensor:
        """Return which weights of tensor ``name`` are left: bool, shaped like it."""
        weight = self.weights[name]
        return self._masks[name] if name in self._masks else torch.ones_like(weight, dtype=torch.bool)

    @property
    def gradients(self) -> Named:
        """dL/dw, shaped like the weights, in train mode; the mean of :func:`~overparam.prune.gradients`."""
        return self._once("gradients", lambda: self._mean(gradients, names=self.weights))

    def gradient(self, name: str) -> Tensor:
        """Return dL/dw of tensor ``name``, scored or not; raises :class:`SpecError` where it is missing."""
        if name in self.gradients:
            return self.gradients[name]
        if self._look is None or name not in self.parameters:
            raise SpecError(_missing(f"the gradient of {name!r}", "gradients"))
        return self._once(("gradients", name), lambda: self._mean(gradients, names=[name]))[name]

    def curvature(self, draws: int = 1, kind: Curvature = "hutchinson") -> Named:
        """Return d2L/dw2, shaped like the weights, in evaluation mode, the mean over mini-batches.

        It is Hutchinson's estimate by ``draws`` vectors, :func:`overparam.prune.hessian_diagonal`; or
        ``backpropagated`` (:func:`~overparam.prune.backpropagated.backpropagated_diagonal`); or the diagonal of what
        :meth:`roots` gives. What was given by hand is returned whatever is asked for.
        """
        if "roots" in self._kept and "curvature" not in self._kept and kind in ("gauss-newton", "fisher"):
            return self._diagonal(draws, kind)
        what = "curvature" if "curvature" in self._kept else ("curvature", kind, draws)
        return self._once(what, lambda: self._diagonal(draws, kind))

    def roots(self, kind: Kind) -> Iterator[Named]:
        """Yield rows R, ``(rows, elements)`` by name, such that all together ``R'R`` is the curvature of the loss.

        See :func:`overparam.prune.roots.curvature_roots`; what was given by hand is the whole, of any kind.
        """
        if "roots" in self._kept:
            yield self._kept["roots"]
            return
        module, batches, loss = self._seen()
        for batch in batches:
            for rows in curvature_roots(module, batch, loss, kind, names=self.weights):
                yield {name: part / len(batches) ** 0.5 for name, part in rows.items()}

    def hessian_product(self, vectors: Named) -> Named:
        """Return the product of the loss's Hessian with ``vectors``, shaped like weights, in evaluation mode."""
        return self._mean(hessian_product, vectors=vectors)

    def hessian_gradient(self, temperature: float = 1.0) -> Named:
        """Return the product of the loss's Hessian with its gradient, shaped like the weights, in evaluation mode.

        Both are means over mini-batches, of the loss of outputs that are divided by ``temperature``; what was given by
        hand is returned whatever the temperature.
        """

        def take() -> Named:
            module, batches, loss = self._seen()

            def softened(outputs: Tensor, targets: Any) -> Tensor:
                return loss(outputs / temperature, targets)

            seen = Evidence(self.weights, look=Look(lambda: module, lambda: (batches, softened)))
            return seen.hessian_product(seen._mean(gradients, names=self.weights, mode="eval"))

        return self._once(
            "hessian_gradient" if "hessian_gradient" in self._kept else ("hessian_gradient", temperature), take
        )

    @property
    def flow(self) -> Named:
        """How much goes through each weight of the network of absolute weights, :func:`~overparam.prune.synaptic_flow`.

        In float64; no data is looked at.
        """

        def take() -> Named:
            assert self._look is not None
            if self._look.sample is None and self._look.batches is None:
                raise SpecError(
                    "this criterion needs inputs, of which only the shapes count; give sample=inputs, or "
                    "batch=(inputs, labels)"
                )
            if self._look.sample is not None:
                return synaptic_flow(self._look.module(), self._look.sample(), names=self.weights)
            module, batches, _ = self._seen()
            return synaptic_flow(module, batches[0][0], names=self.weights)

        return self._once("flow", take)

    @property
    def initial(self) -> Named:
        """The weights that the chain began with."""

        def take() -> Named:
            assert self._look is not None
            if self._look.initial is None:
                raise SpecError(_missing("the initial weights", "initial"))
            known = self._look.initial()
            return {name: known[name] for name in self.weights}

        return self._once("initial", take)

    @property
    def parameters(self) -> Named:
        """All parameters of the network at the weights that are scored, such as the scales of norms."""

        def take() -> Named:
            assert self._look is not None
            return {name: parameter.detach() for name, parameter in self._look.module().named_parameters()}

        return self._once("parameters", take)

    @property
    def inputs(self) -> Named:
        """What layers are given, by the name of their weights, in evaluation mode.

        Of linear layers ``(examples, features)``, of two-dimensional convolutions the patches that each output reads,
        ``(positions, features)``, or ``(groups, positions, features)`` if there are several groups.
        """
        return self._once("inputs", self._inputs)

    @property
    def moments(self) -> Named:
        """Second moments of the same, with a constant 1 behind them.

        Float64 ``(groups, d + 1, d + 1)``, see :func:`overparam.prune.layer_inputs.second_moments`; no
        example is kept, so any number of mini-batches may be looked at.
        """
        return self._once("moments", lambda: second_moments(*self._seen()[:2]))

    def _once(self, what: Any, take: Callable[[], T]) -> T:
        if what not in self._kept:
            if self._look is None:
                name = what if isinstance(what, str) else what[0]
                raise SpecError(
                    _missing("second derivatives" if name in ("curvature", "hessian_gradient") else f"the {name}", name)
                )
            self._kept[what] = take()
        return cast(T, self._kept[what])

    def _seen(self) -> tuple[nn.Module, Batches, Loss]:
        """Return the module, mini-batches and loss."""
        return self._once("look", self._look_at)

    def _look_at(self) -> tuple[nn.Module, Batches, Loss]:
        assert self._look is not None
        if self._look.batches is None:
            raise SpecError(_missing("gradients, second derivatives or inputs", "gradients"))
        return (self._look.module(), *self._look.batches())

    def _diagonal(self, draws: int, kind: Curvature) -> Named:
        if kind == "hutchinson":
            return self._mean(hessian_diagonal, names=self.weights, draws=draws)
        if kind == "backpropagated":
            return self._backpropagated()
        sums = {name: weight.new_zeros(weight.numel(), dtype=torch.float64) for name, weight in self.weights.items()}
        for rows in self.roots(kind):
            for name, part in rows.items():
                sums[name] += part.square().sum(0)
        return {name: total.reshape(self.weights[name].shape) for name, total in sums.items()}

    def _backpropagated(self) -> Named:
        module, batches, loss = self._seen()
        found = [backpropagated_diagonal(module, batch, loss) for batch in batches]
        return {n: torch.stack([each[n] for each in found]).mean(0) for n in self.weights if n in found[0]}

    def _mean(self, take: Callable[..., dict[str, Tensor]], **how: Any) -> Named:
        """Return the mean over mini-batches of what ``take`` gives on each."""
        module, batches, loss = self._seen()
        found = [take(module, batch, loss, seed=self.seed, draw=self.draw, **how) for batch in batches]
        return {name: torch.stack([each[name] for each in found]).mean(0) for name in found[0]}

    def _inputs(self) -> Named:
        found: dict[str, list[Tensor]] = {}
        for name, call in layer_calls(*self._seen()[:2]):
            found.setdefault(name, []).extend(patches(call))
        whole = {name: torch.cat(each, 1) for name, each in found.items()}
        return {name: each[0] if len(each) == 1 else each for name, each in whole.items()}


def _missing(what: str, argument: str) -> str:
    if argument == "initial":
        return (
            f"this criterion needs {what}, and only a study that prunes knows them; by hand give Evidence(initial=...) "
            "(a criterion of one's own asks for them with a method references() that returns ('init',))"
        )
    return (
        f"this criterion needs {what}, and there is no batch to take them from; give batch=(inputs, labels), or "
        f"Evidence({argument}=...) tensors by parameter name"
    )
