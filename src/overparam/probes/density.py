"""How dense each layer is, of what that is a share, and which units can no longer carry a signal."""

from collections.abc import Mapping
from typing import ClassVar

from torch import Tensor, nn
from torch.nn.modules.conv import _ConvTransposeNd

from overparam.checkpoint import Checkpoint
from overparam.networks.collapse import collapsed_layers
from overparam.probes.base import PROBES, Measurements, Probe, View
from overparam.prune import empty_units
from overparam.prune.coverage import Coverage, covering
from overparam.spec import spec


@PROBES.named("density")
@spec
class Density(Probe):
    """Density of each layer and of all parameters, dead units, and layers that have collapsed.

    ``parameters`` counts all parameters of the network, and ``density_of_all`` is the share of them that is not pruned:
    biases, norms and all that has no mask are kept. ``dead_units`` counts, over all linear and convolution layers but
    the output layer, units (filters) with no kept incoming weight: their output is a constant. ``collapsed_layers``
    counts layers with fewer kept weights than outputs or inputs (:func:`overparam.networks.collapsed_layers`).

    Per layer also ``unused_inputs``: inputs with no kept outgoing weight; ``collapsed``; and ``share_of_all``, its
    weights as a share of all parameters. Tensors that are left out, other than biases and norms, have a row with
    ``masked`` 0.

    ``stored_bits``, of all parameters and of each layer, is what they cost to store as their constraints have them:
    positions, values and codebooks (:meth:`overparam.constraints.Constraint.bits`).
    """

    kind: ClassVar[str] = "density"
    version: ClassVar[int] = 3
    columns: ClassVar[Mapping[str, type]] = {
        **{"dead_units": int, "collapsed_layers": int, "parameters": int},
        **{"density_of_all": float, "stored_bits": int},
    }
    layer_columns: ClassVar[Mapping[str, type]] = {
        **{"role": str, "masked": int, "kept": int, "weights": int, "density": float, "share_of_all": float},
        **{"dead_units": int, "unused_inputs": int, "collapsed": int, "stored_bits": int},
    }

    def measure(self, checkpoint: Checkpoint, view: View) -> Measurements:
        """Count kept weights and empty rows and columns of each mask."""
        sizes = {name: checkpoint.state[name].numel() for name in checkpoint.roles}
        masked = {name: mask.numel() for name, mask in checkpoint.masks.items()}
        covered = covering(sizes, checkpoint.roles, masked, checkpoint.kept)
        collapsed = collapsed_layers(checkpoint.masks, checkpoint.roles)
        layers: dict[str, dict[str, float | int | str | None]] = {}
        parts, dead = dict(view.module().named_modules()), 0
        for name, mask in checkpoint.masks.items():
            without_inputs, without_outputs = _empty_units(mask, parts.get(name.rpartition(".")[0]))
            layers[name] = {
                **_row(covered, checkpoint.roles[name], int(mask.sum()), mask.numel(), True),
                "dead_units": without_inputs,
                "unused_inputs": without_outputs,
                "collapsed": int(name in collapsed),
            }
            dead += without_inputs if checkpoint.roles[name] in ("linear", "conv") else 0
        for name, (role, count) in covered.left_out.items():
            layers[name] = _row(covered, role, count, count, False)
        costs = {name: _bits(checkpoint, name) for name in checkpoint.roles}
        layers = {name: {**row, "stored_bits": costs[name]} for name, row in layers.items()}
        kept_of_all = covered.density_of_all * covered.parameters
        values = {
            "dead_units": dead,
            "collapsed_layers": len(collapsed),
            "parameters": covered.parameters,
            "density_of_all": kept_of_all / max(1, covered.parameters + checkpoint.removed[1]),
            "stored_bits": sum(costs.values()),
        }
        return Measurements(values, layers)


def _bits(checkpoint: Checkpoint, name: str) -> int:
    """Return what it costs to store a parameter."""
    constraint, weight = checkpoint.constraints.get(name), checkpoint.state[name]
    return constraint.bits(weight).total if constraint is not None else 8 * weight.nbytes


def _empty_units(mask: Tensor, layer: nn.Module | None) -> tuple[int, int]:
    """Return (outputs without inputs, inputs without outputs) of a layer's mask, whichever of its axes comes first."""
    if mask.ndim < 2:
        return 0, 0
    rows, columns = empty_units(mask, int(getattr(layer, "groups", 1)))
    return (columns, rows) if isinstance(layer, _ConvTransposeNd | nn.Embedding | nn.EmbeddingBag) else (rows, columns)


def _row(covered: Coverage, role: str, kept: int, weights: int, masked: bool) -> dict[str, float | int | str | None]:
    return {
        "role": role,
        "masked": int(masked),
        "kept": kept,
        "weights": weights,
        "density": kept / weights if weights else 1.0,
        "share_of_all": weights / covered.parameters if covered.parameters else 0.0,
    }
