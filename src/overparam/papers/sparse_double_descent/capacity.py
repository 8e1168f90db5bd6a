"""Does what a mask can memorise order where networks turn (essay statement E1-10)?

The study has label noise of two rates: of a share of the labels, and of all. Under all of them nothing but memory
helps, and train accuracy above chance is memory; under a share of them test accuracy is worst somewhere. Each way to
prune, a variant, has for each seed the density at which half of what its densest network memorised is lost, and that
at which test accuracy is worst before it is best. The claim is that both densities have one order.
"""

from __future__ import annotations

from math import exp, log

import numpy as np
import polars as pl

from overparam.papers.sparse_double_descent.curves import interval
from overparam.report.arms import Arm, arms
from overparam.report.claims import Claim, Finding, Number, claim, judged, lacks
from overparam.report.noise import Floats
from overparam.report.statistics import Estimate, estimate
from overparam.report.turning import LEAST, find_turns, fit
from overparam.report.words import density, listing, number, seeds

ALL_LABELS = 1.0

FEWEST = 4
"""Ways to prune that an order takes: of three, one in six is right by chance."""


@claim(
    "E1-10",
    "At equal count, masks that memorise more random labels turn at a lower density.",
    needs=("test_accuracy", "train_accuracy", "noise_rate", "variant"),
)
def capacity_orders_the_turns(frame: pl.DataFrame) -> Finding:
    """Supported when the rank correlation of both densities over the ways to prune is above 0, seed by seed.

    A way whose mean curve does not fall and rise by a point has no place where it turns, and is left out.
    """
    memory: dict[str, Floats] = {}
    turning: dict[str, Floats] = {}
    for arm in arms(frame):
        rate = arm.values.get("noise_rate") or 0.0
        kind = memory if rate == ALL_LABELS else turning
        if rate > 0 and (kind is memory or _turns(arm)):
            kind[str(arm.values.get("variant"))] = _lost(arm) if kind is memory else _worst(arm)
    both = [name for name in memory if name in turning]
    straight = [name for name in memory if name not in turning]
    if len(both) < FEWEST:
        return lacks(f"{FEWEST} ways to prune that turn, under noise of some labels and of all")
    lost, worst = (np.array([found[name] for name in both]) for found in (memory, turning))
    order = estimate(_rank_correlation(lost[:, seed], worst[:, seed]) for seed in range(lost.shape[1]))
    text = "; ".join(
        f"{name} forgets half at {density(_middle(lost[place]).mean)} density and is worst at "
        f"{density(_middle(worst[place]).mean)}"
        for place, name in enumerate(both)
    )
    text += f"; {listing(straight)} without a turn" if straight else ""
    numbers: dict[str, Number] = {f"{name}_forgets_at": _middle(lost[place]).mean for place, name in enumerate(both)}
    numbers |= {f"{name}_worst_at": _middle(worst[place]).mean for place, name in enumerate(both)}
    text = f"Rank correlation of both densities {order.text(number)} ({seeds(order.n)}): {text}"
    return judged(order, text, {**numbers, **interval("rank_correlation", order)})


def _lost(arm: Arm) -> Floats:
    """Return for each seed the log density at which train accuracy is halfway from its first to its least value."""
    table, levels = arm.table("train_accuracy"), arm.table("density")
    found = []
    for accuracies, densities in zip(table, levels, strict=True):
        falling = fit(accuracies[None], np.ones(len(accuracies)), -1, 1)[0][0]
        half = (falling[0] + falling[-1]) / 2
        found.append(float(np.interp(-half, -falling, np.log(densities))))
    return np.array(found)


def _turns(arm: Arm) -> bool:
    """Whether the mean curve of test accuracy rises by a point after it fell, which takes three levels."""
    if len(arm.places) < 3:
        return False
    rise = find_turns(arm.table("test_accuracy")).sizes[1].mean
    return rise is not None and rise >= LEAST


def _worst(arm: Arm) -> Floats:
    """Return for each seed the log density at which test accuracy is worst before it is best."""
    tests, levels = arm.table("test_accuracy"), arm.table("density")
    places = [int(find_turns(tests[seed : seed + 1]).turns[0].at) for seed in range(len(tests))]
    return np.array([log(levels[seed, place]) for seed, place in enumerate(places)])


def _middle(logs: Floats) -> Estimate:
    return estimate(logs.tolist()).map(exp)


def _rank_correlation(one: Floats, other: Floats) -> float | None:
    from scipy.stats import rankdata  # here, since scipy's statistics take a while to load

    ranks = [rankdata(values) for values in (one, other)]
    if any(np.ptp(each) == 0 for each in ranks):
        return None
    return float(np.corrcoef(*ranks)[0, 1])


CLAIMS: tuple[Claim, ...] = (capacity_orders_the_turns,)
