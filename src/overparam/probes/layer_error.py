"""How far each layer's outputs are from what they were, on the same inputs."""

from collections.abc import Mapping
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from overparam.checkpoint import Checkpoint
from overparam.probes.base import PROBES, Measurements, PairProbe, View
from overparam.prune.layer_inputs import second_moments
from overparam.spec import spec


@PROBES.named("layer-error")
@spec
class LayerError(PairProbe):
    """Mean square change of each layer's outputs since another checkpoint, on that one's inputs of the layer.

    ``layer_error`` is the mean over linear layers and two-dimensional convolutions of ``|X (w - v)|^2 / |X w|^2``, X
    being what the layer was given there: a relative error, 0 where nothing changed and 1 where all outputs became 0.
    ``layer_error_largest`` is the largest. Biases are taken to be the same. None where another network is compared.
    Per layer: its own.

    Args:
        examples: of the training set, the first ones.

    Example:
        {layer-error: {against: previous, examples: 500}}
    """

    kind: ClassVar[str] = "layer-error"
    columns: ClassVar[Mapping[str, type]] = {"layer_error": float, "layer_error_largest": float}
    layer_columns: ClassVar[Mapping[str, type]] = {"layer_error": float}

    examples: Annotated[int, Field(ge=1)] = 512

    def measure(self, checkpoint: Checkpoint, view: View) -> Measurements:
        """Look at the other checkpoint's network, in float64."""
        if view.against is not None and view.against.checkpoint.surgery != checkpoint.surgery:
            return Measurements(dict.fromkeys(self.columns))
        other = self.other(checkpoint, view)
        batch = view.world.train.examples().part(0, self.examples).to("cpu", torch.float64)
        moments = second_moments(other.load_into(view.module()).double(), [(batch.inputs, None)])
        layers = {
            name: {"layer_error": _error(other.state[name], checkpoint.state[name], found[:, :-1, :-1])}
            for name, found in moments.items()
            if name in checkpoint.masks
        }
        errors = [row["layer_error"] for row in layers.values()] or [0.0]
        return Measurements(
            {"layer_error": sum(errors) / len(errors), "layer_error_largest": max(errors)},
            layers,
        )


def _error(before: Tensor, after: Tensor, moments: Tensor) -> float:
    """Return the relative square error of the outputs of a layer, whose inputs have these second moments."""

    def energy(weights: Tensor) -> float:
        rows: Tensor = torch.unflatten(weights.double().flatten(1), 0, (len(moments), -1))
        return max(0.0, float((rows @ moments * rows).sum()))

    changed, was = energy(before.double() - after.double()), energy(before)
    return changed / was if was else float(changed > 0)
