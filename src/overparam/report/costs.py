"""What a network costs to keep, to run and to train: columns made of measured ones, and what each of them is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import polars as pl

from overparam.report.words import density, percent, plain_number


def _bytes(value: float | None) -> str:
    """Return bytes as short as they are told.

    >>> _bytes(426861.0)
    '427 kB'
    """
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if value is not None and value >= size:
            return f"{value / size:.3g} {unit}"
    return f"{plain_number(value)} B"


@dataclass(frozen=True)
class Cost:
    """One cost.

    Attributes:
        column: of the table that :func:`with_costs` returns.
        title: its name.
        says: what is measured, in a sentence for readers.
        write: how a value is told.
        made: how the column is made, where no probe measures it: of which columns, and how.
    """

    column: str
    title: str
    says: str
    write: Callable[[float | None], str] = plain_number
    made: tuple[tuple[str, ...], Callable[..., pl.Expr]] | None = None


COSTS = (
    Cost("kept", "weights", "weights that are kept of those that can be pruned"),
    Cost("density", "density", "kept weights over those of the dense network", density),
    Cost(
        *("sparsity", "sparsity", "one minus the density", percent),
        made=(("density",), lambda share: 1 - share),
    ),
    Cost(
        *("compression_ratio", "compression ratio", "weights of the dense network over the kept ones"),
        made=(("density",), lambda share: 1 / share),
    ),
    Cost(
        *("multiply_adds_effective", "multiply-adds", "of the forward pass of one example, those of kept weights only"),
    ),
    Cost(
        *(
            "stored_bytes",
            "stored bytes",
            "positions and values of all parameters, as their constraints store them",
        ),
        _bytes,
        (("stored_bits",), lambda bits: bits / 8),
    ),
    Cost("bytes", "bytes of the file", "the checkpoint as the store has it", _bytes),
    Cost(
        *("milliseconds", "milliseconds", "one example through the network, as sparse as it is, measured"),
        made=(("latency_sparse",), lambda seconds: 1000 * seconds),
    ),
    Cost(
        *("milliseconds_dense", "milliseconds, dense", "the same with dense layers, measured"),
        made=(("latency_dense",), lambda seconds: 1000 * seconds),
    ),
    Cost(
        *("seconds_all", "training seconds", "of this step and all before it in its chain, measured"),
        made=(("seconds", "seconds_before"), lambda own, before: own + before),
    ),
    Cost("seconds", "last seconds", "of the step that made the checkpoint, measured"),
)
"""All costs. What is measured is measured on the machine that the page names, and differs from run to run."""

MADE = tuple(cost.column for cost in COSTS if cost.made is not None)
"""The columns that :func:`with_costs` adds."""


def with_costs(frame: pl.DataFrame) -> pl.DataFrame:
    """Return a results table with the costs that can be made of its columns."""
    made = []
    for cost in COSTS:
        needed, make = cost.made or ((), None)
        if make is not None and cost.column not in frame.columns and set(needed) <= set(frame.columns):
            made.append(make(*(pl.col(name).cast(pl.Float64) for name in needed)).alias(cost.column))
    return frame.with_columns(made)


def sources(column: str) -> Sequence[str]:
    """Return the measured columns that a cost is made of; itself where it is measured."""
    cost = next((cost for cost in COSTS if cost.column == column), None)
    return cost.made[0] if cost is not None and cost.made is not None else (column,)
