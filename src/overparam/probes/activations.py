"""How many activations are zero, and what multiply-adds are left without them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.func import functional_call

from overparam.checkpoint import Checkpoint
from overparam.networks.forward import LAYERS, record
from overparam.probes.base import PROBES, Measurements, Probe, View
from overparam.spec import spec


@PROBES.named("activations")
@spec
class Activations(Probe):
    """Share of the activations that are not zero, and multiply-adds with zero activations left out (Han et al. 2015).

    Per layer (linear and convolution layers with a mask) ``activations`` is the share of its inputs that are not zero,
    the mean over test examples, in [0, 1]: behind a ReLU, that of the layer before. ``multiply_adds_nonzero``
    counts, for one example, the products of a kept weight and an input that is not zero, each as it occurs; in all the
    same. Han et al. multiply the two shares instead, which is the same where they have nothing to do with each other.
    ``activations`` of the whole network is over all inputs of all these layers.

    Args:
        examples: test examples that are looked at, 1 or more (as many as there are, if fewer).

    Reference: Han, Pool, Tran & Dally, NIPS 2015, arXiv:1506.02626, Tables 2 to 5.

    Example:
        {activations: {examples: 500}}
    """

    kind: ClassVar[str] = "activations"
    columns: ClassVar[Mapping[str, type]] = {"activations": float, "multiply_adds_nonzero": float}
    layer_columns: ClassVar[Mapping[str, type]] = columns

    examples: Annotated[int, Field(ge=1)] = 1000

    def measure(self, checkpoint: Checkpoint, view: View) -> Measurements:
        """Run the network, and each of its layers again on ones for what is not zero, with its mask as weights."""
        module = checkpoint.load_into(view.module())
        inputs = view.world.test.inputs[: self.examples]
        names = {id(part): f"{path}.weight".lstrip(".") for path, part in module.named_modules()}
        found: dict[str, Tensor] = {}
        for call in record(module, inputs, LAYERS)[1]:
            name = names[id(call.layer)]
            if name in checkpoint.masks:
                given = call.args[0] if call.args else call.kwargs["input"]
                found[name] = found.get(name, torch.zeros(3)) + _counts(call.layer, given, checkpoint.masks[name])
        layers = {name: _columns(found[name], len(inputs)) for name in checkpoint.masks if name in found}
        return Measurements(_columns(sum(found.values(), torch.zeros(3)), len(inputs)), layers)


def _counts(layer: nn.Module, given: Tensor, mask: Tensor) -> Tensor:
    """Return how many inputs there are, how many are not zero, and how many products of those with kept weights."""
    ones = (given != 0).double()
    biases = {"bias": torch.zeros(layer.bias.shape, dtype=torch.double)} if layer.bias is not None else {}  # type: ignore[arg-type]
    with torch.no_grad():
        products = functional_call(layer, {"weight": mask.double(), **biases}, (ones,))
    return torch.tensor([given.numel(), ones.sum(), products.sum()], dtype=torch.double)


def _columns(counts: Tensor, examples: int) -> dict[str, float]:
    inputs, nonzero, products = counts.tolist()
    return {"activations": nonzero / inputs if inputs else 1.0, "multiply_adds_nonzero": products / examples}
