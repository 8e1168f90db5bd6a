"""Heads: whole attention heads go."""

from typing import ClassVar

from torch import Tensor

from overparam.errors import SpecError
from overparam.networks.heads import fused_heads, heads_of
from overparam.networks.units import groups
from overparam.prune.criteria import Scores
from overparam.prune.masks import Masks
from overparam.prune.patterns.base import PATTERNS, Round
from overparam.prune.whole import keep_whole
from overparam.spec import spec


@PATTERNS.named("heads")
@spec
class Heads:
    """Attention heads go as a whole: their rows of query, key and value, and the columns of the output that read them.

    Found are heads of projections that are linear layers, apart or in one, whoever wrote the attention, and those of
    ``nn.MultiheadAttention``. ``compact`` removes the former where the forward does not say how many heads there are;
    torch's own attention has one width for all, so its heads stay and give nothing. A head scores the sum over its
    rows, or with ``taylor`` the derivative of a gate on it (Michel et al., 2019, arXiv:1905.10650). Fractions and
    densities are of heads; each layer keeps one.
    """

    across_layers: ClassVar[bool] = True

    def masks(self, scores: Scores, masks: Masks, asked: Round) -> dict[str, Tensor]:
        """Keep the best heads, exactly as many as asked for; raises :class:`SpecError` where none can go."""
        module, sample = asked.look()
        found = [*heads_of(groups(module, sample)), *fused_heads(module)]
        if not found:
            raise SpecError(
                "pattern heads: no attention heads were found in the network; single units are pattern units"
            )
        return keep_whole(module, found, scores, masks, asked)
