"""The claims of Pruning Filters for Efficient ConvNets (Li et al., 2017, https://arxiv.org/abs/1608.08710) as tests.

Arms are looked for by the variant's name: no column tells a greedy choice, or where a chain begins. Each share of the
filters that the study prunes is tested for itself; they must agree.
"""

from __future__ import annotations

import polars as pl

from overparam.report.claims import Claim, Finding, claim, join_arms
from overparam.report.paired import above, by_seed
from overparam.report.words import percent

SHARE = "prune.fraction"
NEEDS = ("test_accuracy", "kind", "step", "variant", SHARE)
USUAL = "smallest L1"
RETRAINED = {"from scratch": "train"}
"""The step whose network is compared, where it is not that of retraining."""


@claim("FILT-1", "Pruning the filters of the smallest L1 norm is better than pruning random ones.", needs=NEEDS)
def better_than_random(frame: pl.DataFrame) -> Finding:
    """Retrained, with as many filters in each layer."""
    return _against(frame, "random")


@claim("FILT-2", "Pruning the filters of the smallest L1 norm is better than pruning the largest.", needs=NEEDS)
def better_than_largest(frame: pl.DataFrame) -> Finding:
    """Retrained, with as many filters in each layer."""
    return _against(frame, "largest L1")


@claim("FILT-3", "Retraining what is left is better than training the same structure from scratch.", needs=NEEDS)
def better_than_scratch(frame: pl.DataFrame) -> Finding:
    """Retrained briefly, against the structure from the beginning, trained as long as the dense network.

    Later work finds the opposite with longer training: Liu et al., ICLR 2019, https://arxiv.org/abs/1810.05270.
    """
    return _against(frame, "from scratch")


@claim(
    "FILT-4",
    "Leaving out what reads filters that have gone (greedy) is better at high rates.",
    needs=NEEDS,
)
def greedy_is_better(frame: pl.DataFrame) -> Finding:
    """Retrained, at the largest share that is pruned."""
    most = max(frame[SHARE].drop_nulls().to_list())
    frame = frame.filter(pl.col(SHARE) == most)
    return join_arms([_at(frame, most, "greedy", USUAL)])


CLAIMS: tuple[Claim, ...] = (better_than_random, better_than_largest, better_than_scratch, greedy_is_better)


def _against(frame: pl.DataFrame, control: str) -> Finding:
    """Judge that the filters of the smallest norms leave a better network than a control, at each share."""
    shares = sorted(frame[SHARE].drop_nulls().unique().to_list())
    return join_arms([_at(frame.filter(pl.col(SHARE) == share), share, USUAL, control) for share in shares])


def _at(frame: pl.DataFrame, share: float, first: str, second: str) -> tuple[str, Finding]:
    own, other = (by_seed(frame, variant=name, kind=RETRAINED.get(name, "finetune")) for name in (first, second))
    return f"{percent(share, 0)} of the filters pruned", above(own, other, first, second)
