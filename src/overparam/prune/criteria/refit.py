"""Refit: another criterion chooses, and what stays takes the best values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import Field

from overparam.prune.criteria.base import CRITERIA, Scores
from overparam.prune.criteria.layer_wise import moved
from overparam.prune.evidence import Evidence
from overparam.prune.layer_inputs import UNSEEN
from overparam.prune.layer_problem import layer_problems
from overparam.spec import spec


@CRITERIA.named("refit")
@spec
class Refit:
    """Scores of another criterion; what stays of each layer's rows is fitted to the layer's outputs anew.

    The exact least-squares values for the masks, row by row: what Optimal Brain Surgeon in a layer, SparseGPT and their
    like come near to. Layers other than linear ones and two-dimensional convolutions keep their values; a note names
    them.

    Args:
        of: the criterion that chooses.
        damping: of the second moments of the inputs, as a share of their mean diagonal.

    Reference: the row-wise problem of Frantar, Singh & Alistarh, NeurIPS 2022, arXiv:2208.11580

    Example:
        {refit: {of: magnitude}}
    """

    of: Annotated[Any, CRITERIA] = "magnitude"
    damping: Annotated[float, Field(ge=0)] = 0.01

    def __call__(self, seen: Evidence) -> Scores:
        """Return what the other criterion gives, with new values."""
        scores, problems = Scores.of(CRITERIA.resolve(self.of)(seen)).each(), layer_problems(seen, self.damping)
        fitted = {name for each in problems for name in each.names}
        return Scores(scores, moved(problems), note=_unfitted([name for name in seen.weights if name not in fitted]))


def _unfitted(names: Sequence[str]) -> str:
    return f"refit leaves the values of {', '.join(names)} as they are: {UNSEEN}" if names else ""
