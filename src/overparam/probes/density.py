"""How dense each layer is, and which units can no longer carry a signal."""

from typing import ClassVar

from overparam.checkpoint import Checkpoint
from overparam.probes.base import PROBES, Measurements, Probe, View
from overparam.prune import empty_units
from overparam.spec import spec


@PROBES.named("density")
@spec
class Density(Probe):
    """Density of each layer, and dead units: units that lost all incoming weights.

    ``dead_units`` counts, over all layers but the output layer, units (filters) with no kept incoming weight: their
    output is a constant. Per layer also ``unused_inputs``: inputs with no kept outgoing weight.
    """

    kind: ClassVar[str] = "density"

    def measure(self, checkpoint: Checkpoint, view: View) -> Measurements:
        """Count kept weights and empty rows and columns of each mask."""
        layers: dict[str, dict[str, float | int | None]] = {}
        dead = 0
        for name, mask in checkpoint.masks.items():
            without_inputs, without_outputs = empty_units(mask)
            kept, weights = int(mask.sum()), mask.numel()
            layers[name] = {
                "kept": kept,
                "weights": weights,
                "density": kept / weights if weights else 1.0,
                "dead_units": without_inputs,
                "unused_inputs": without_outputs,
            }
            dead += without_inputs if checkpoint.roles[name] != "output" else 0
        return Measurements({"dead_units": dead}, layers)
