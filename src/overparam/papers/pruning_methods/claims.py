"""What the essay says of the ways to a smaller network, as a test on the study of all pruning methods.

No column tells the ways apart, so arms are told by the names that ``study.yaml`` gives its variants.
"""

from __future__ import annotations

import polars as pl

from overparam.report.claims import Finding, claim, judge, lacks, together
from overparam.report.statistics import estimate
from overparam.report.words import listing, seeds

WAYS = ("quantised, 4 bits", "distilled")
DENSITY = 0.08  # which costs about as many bits, positions counted, as 4 bits a weight


@claim(
    "E2-9",
    "Of pruning, few bits and distillation, pruning reaches the dense accuracy most easily.",
    needs=("test_accuracy", "variant", "prune.density"),
)
def pruning_is_easiest(frame: pl.DataFrame) -> Finding:
    """Supported when pruning by magnitude is above each other way, at an eighth of the bits and as many epochs."""
    last = frame.sort("step").unique(["chain"], keep="last", maintain_order=True)
    pruned = _by_seed(last.filter(pl.col("variant") == "magnitude", pl.col("prune.density") == DENSITY))
    dense = _by_seed(last.filter(variant="dense"))
    others = {way: _by_seed(last.filter(variant=way)) for way in WAYS}
    missing = [name for name, found in {"magnitude": pruned, "dense": dense, **others}.items() if not found]
    if missing:
        return lacks(f"the variant {listing(missing)} of pruning-methods")
    gaps = {
        way: estimate(pruned[seed] - found[seed] for seed in pruned if seed in found) for way, found in others.items()
    }
    lost = estimate(dense[seed] - pruned[seed] for seed in pruned)
    parts = [f"it is above {way} by {gap.text()} ({judge(gap)})" for way, gap in gaps.items()]
    text = f"Pruned, it loses {lost.text()} points; {'; '.join(parts)} ({seeds(lost.n)}). Low rank was not tested."
    return Finding(together(judge(gap) for gap in gaps.values()), text, {way: gap.mean for way, gap in gaps.items()})


def _by_seed(rows: pl.DataFrame) -> dict[int, float]:
    return dict(rows.select("seed", "test_accuracy").iter_rows())


CLAIMS = (pruning_is_easiest,)
