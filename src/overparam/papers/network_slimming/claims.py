"""The claims of Network Slimming (Liu et al., 2017, https://arxiv.org/abs/1708.06519) as tests.

Arms are looked for by the variant's name, since no column tells a penalty on scales, or where a chain begins.
"""

from __future__ import annotations

import polars as pl

from overparam.report.claims import Claim, Finding, claim, join_arms
from overparam.report.paired import above, by_seed

NEEDS = ("test_accuracy", "kind", "step", "variant")
LOSS = 0.002
"""How much accuracy may be lost where none is said to be: 0.2 points, of an error of two per cent."""


@claim("SLIM-1", "A perceptron with a fifth of the neurons, slimmed, errs at most 0.2 points more often.", needs=NEEDS)
def as_good_as_dense(frame: pl.DataFrame) -> Finding:
    """Slimmed and fine-tuned, against the dense network trained without a penalty, as in the paper's Table 3."""
    slimmed, dense = by_seed(frame, variant="slimmed", kind="finetune"), by_seed(frame, variant="no penalty", level=0)
    return above(slimmed, dense, "the slimmed network", "the dense one", LOSS)


@claim("SLIM-2", "After training with the penalty, pruning by scales loses less before any retraining.", needs=NEEDS)
def penalty_prepares(frame: pl.DataFrame) -> Finding:
    """Accuracy right after pruning, with and without the penalty in the training before."""
    with_it, without = (by_seed(frame, variant=name, kind="measure") for name in ("slimmed", "no penalty"))
    return above(with_it, without, "right after pruning the network trained with the penalty", "that without")


@claim("SLIM-3", "Neurons with small scales are those that can go: others cost more.", needs=NEEDS)
def smallest_go(frame: pl.DataFrame) -> Finding:
    """Fine-tuned, against two controls with as many neurons."""
    slimmed = by_seed(frame, variant="slimmed", kind="finetune")
    controls = {name: by_seed(frame, variant=name, kind="finetune") for name in ("random", "largest scales")}
    return join_arms([(name, above(slimmed, other, "slimmed", name)) for name, other in controls.items()])


@claim("SLIM-4", "The slimmed network is better than one of its size that is trained from scratch.", needs=NEEDS)
def better_than_scratch(frame: pl.DataFrame) -> Finding:
    """Fine-tuned, against the same widths from a new initialisation, trained as long as the dense network once."""
    slimmed, scratch = by_seed(frame, variant="slimmed", kind="finetune"), by_seed(frame, variant="from scratch")
    return above(slimmed, scratch, "the slimmed network", "the one from scratch")


CLAIMS: tuple[Claim, ...] = (as_good_as_dense, penalty_prepares, smallest_go, better_than_scratch)
