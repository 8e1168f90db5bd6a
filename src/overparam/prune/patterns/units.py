"""Units: whole neurons and filters go, with the weights that read them."""

from torch import Tensor

from overparam.networks.units import groups
from overparam.prune.criteria import Scores
from overparam.prune.masks import Masks
from overparam.prune.patterns.base import PATTERNS, Round
from overparam.prune.whole import keep_whole
from overparam.spec import spec


@PATTERNS.named("units")
@spec
class Units:
    """Neurons and filters go as a whole, as ``compact`` can remove them.

    A unit scores the sum over the weights that it reads, of all units that go with it: with magnitudes the L1 norm
    of a filter (Li et al., ICLR 2017, arXiv:1608.08710); some criteria score units in their own way. Its weights and
    those that read it are masked, so outputs do not depend on it any more. Fractions and densities are of units, those
    of layers bound together, by residual connections, counted once. A layer that is excluded keeps its units; each
    keeps at least one.

    Args:
        greedy: score a layer's units without the weights that read units which went before them, in the order in which
            layers are registered (Li et al., section 3.3); how many each layer keeps is decided with these weights.

    Example:
        {units: {greedy: true}}
    """

    greedy: bool = False

    def masks(self, scores: Scores, masks: Masks, asked: Round) -> dict[str, Tensor]:
        """Keep the best units, exactly as many as asked for; raises :class:`SpecError` where none can go."""
        module, sample = asked.look()
        return keep_whole(module, groups(module, sample), scores, masks, asked, self.greedy)
