"""Is the best sparse network a flatter minimum? What He et al. (2022, section 5.2) say of re-dense networks, as tests.

A sparse network gets its weights back at zero and is trained on, so that networks of equal dimension are compared. A
chain of each variant ends in its re-dense network, the row before being the sparse one; the variants ``dense`` and
``sweet`` are told by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from overparam.papers.sparse_double_descent.curves import interval
from overparam.report.claims import Claim, Finding, claim, judge, judged, lacks, together
from overparam.report.statistics import estimate
from overparam.report.words import number, seeds

DENSE, SWEET = "dense", "sweet"

BARRIER = 0.01
"""Nats of training loss above the higher end that a line may rise without a barrier."""

Row = Mapping[str, Any]


@claim(
    "E1-6a",
    "At equal dimension the minimum of the best sparse network is sharper than the dense one.",
    needs=("variant", "along_train_loss_0"),
)
def sweet_is_sharper(frame: pl.DataFrame) -> Finding:
    """Supported when the re-dense network's loss rises more along filter-normalised directions, seed by seed."""
    dense, sweet = (_last(frame, name) for name in (DENSE, SWEET))
    if not dense or not sweet:
        return lacks(f"the variants {DENSE!r} and {SWEET!r}")
    both = sorted(dense.keys() & sweet.keys())
    more = estimate(_rise(sweet[seed]) - _rise(dense[seed]) for seed in both)
    rises = {name: estimate(_rise(found[seed]) for seed in both) for name, found in ((DENSE, dense), (SWEET, sweet))}
    text = f"The training loss rises by {rises[SWEET].text(number)} nats along the directions, and by "
    text += f"{rises[DENSE].text(number)} from the dense network: {more.text(number)} more ({seeds(more.n)})"
    return judged(more, text, interval("rises_more_nats", more))


@claim(
    "E1-6b",
    "On the line from a sparse network to its re-dense one there is no barrier of training loss.",
    needs=("variant", "path_train_loss_0"),
)
def no_barrier(frame: pl.DataFrame) -> Finding:
    """Supported when no point of the line is 0.01 nats above its higher end, by an interval, for every variant."""
    names = [name for name in frame["variant"].unique(maintain_order=True).to_list() if name != DENSE]
    hills = {name: estimate(_hill(row) for row in _last(frame, name).values()) for name in names}
    if not hills:
        return lacks("a variant that is pruned and made dense again")
    outcome = together(judge((-hill).map(lambda below: below + BARRIER)) for hill in hills.values())
    told = "; ".join(f"{name}: {hill.text(lambda nats: number(nats, 4))}" for name, hill in hills.items())
    text = f"Nats above the higher end of the line: {told} ({seeds(min(hill.n for hill in hills.values()))})"
    return Finding(outcome, text, {f"{name}_hill_nats": hill.mean for name, hill in hills.items()})


@claim("E1-6c", "Re-dense networks overfit the noise again: test accuracy falls back.", needs=("variant",))
def overfits_again(frame: pl.DataFrame) -> Finding:
    """Supported when the best sparse network has more test accuracy than its re-dense one, seed by seed."""
    sparse, redense = _before(frame, SWEET), _last(frame, SWEET)
    if not sparse or not redense:
        return lacks(f"the variant {SWEET!r} with a training before its last")
    test, train = (
        estimate(sparse[seed][name] - redense[seed][name] for seed in sorted(sparse.keys() & redense.keys()))
        for name in ("test_accuracy", "train_accuracy")
    )
    text = f"From sparse to re-dense test accuracy falls by {test.text()} points and train accuracy on the noisy "
    text += f"labels rises by {(-train).text()} ({seeds(test.n)})"
    numbers = {**interval("test_falls_points", test, 100), **interval("train_rises_points", -train, 100)}
    return judged(test, text, numbers)


def _hill(row: Row) -> float:
    along = [row[name] for name in _numbered(row, "path_train_loss_")]
    return float(max(along) - max(along[0], along[-1]))


def _rise(row: Row) -> float:
    along = [row[name] for name in _numbered(row, "along_train_loss_")]
    return float((along[0] + along[-1]) / 2 - along[len(along) // 2])


def _numbered(row: Row, start: str) -> list[str]:
    found = [name for name in row if name.startswith(start) and row[name] is not None]
    return sorted(found, key=lambda name: int(name.removeprefix(start)))


def _last(frame: pl.DataFrame, variant: str) -> dict[int, Row]:
    return _rows(frame, variant, -1)


def _before(frame: pl.DataFrame, variant: str) -> dict[int, Row]:
    return _rows(frame, variant, -2)


def _rows(frame: pl.DataFrame, variant: str, place: int) -> dict[int, Row]:
    """Return a row of each chain of a variant by seed, counted from the end."""
    chains = frame.filter(pl.col("variant") == variant).sort("step").partition_by("seed")
    return {int(rows["seed"][0]): rows.row(place, named=True) for rows in chains if len(rows) >= -place}


CLAIMS: tuple[Claim, ...] = (sweet_is_sharper, no_barrier, overfits_again)
