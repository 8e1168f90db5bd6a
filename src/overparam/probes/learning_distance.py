"""How far training moved the weights from another checkpoint, usually the initialisation."""

import math
from collections.abc import Mapping
from typing import ClassVar

from overparam.checkpoint import Checkpoint
from overparam.probes.base import PROBES, Measurements, PairProbe, View
from overparam.spec import spec


@PROBES.named("learning-distance")
@spec
class LearningDistance(PairProbe):
    """L2 distance of all parameters from the dense initialisation, pruned weights counted as 0 (He et al. 2022).

    ``learning_distance = ||w_init - w||_2`` over all parameters (biases and norms included, buffers not). Its square
    is the sum of the squares of ``learning_distance_kept`` (weights inside the masks and parameters without one)
    and ``learning_distance_pruned``, which is the norm of the initial values of the pruned weights. Per layer:
    the same three, of each weight tensor. With another ``against`` than ``init``, from that checkpoint.

    Reference: He et al., ICML 2022, arXiv:2206.08684, section 6 (the paper gives the whole distance only).

    Example:
        {learning-distance: {against: previous}}
    """

    kind: ClassVar[str] = "learning-distance"
    columns: ClassVar[Mapping[str, type]] = dict.fromkeys(
        ("learning_distance", "learning_distance_kept", "learning_distance_pruned"), float
    )
    layer_columns: ClassVar[Mapping[str, type]] = columns

    against: str = "init"

    def measure(self, checkpoint: Checkpoint, view: View) -> Measurements:
        """Compare with the other checkpoint in float64."""
        if view.against is not None and view.against.checkpoint.surgery != checkpoint.surgery:
            return Measurements(dict.fromkeys(self.columns))  # weights have no counterparts
        other = self.other(checkpoint, view)
        kept_square = pruned_square = 0.0
        layers = {}
        for name in checkpoint.roles:
            moved = (checkpoint.state[name].double() - other.state[name].double()).square()
            mask = checkpoint.masks.get(name)
            kept = float(moved.sum() if mask is None else moved.where(mask, 0.0).sum())
            pruned = 0.0 if mask is None else float(moved.where(~mask, 0.0).sum())
            kept_square, pruned_square = kept_square + kept, pruned_square + pruned
            if mask is not None:
                layers[name] = _columns(kept, pruned)
        return Measurements(_columns(kept_square, pruned_square), layers)


def _columns(kept_square: float, pruned_square: float) -> dict[str, float]:
    return {
        "learning_distance": math.sqrt(kept_square + pruned_square),
        "learning_distance_kept": math.sqrt(kept_square),
        "learning_distance_pruned": math.sqrt(pruned_square),
    }
