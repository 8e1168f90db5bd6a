"""The table of methods: accuracy at equal density, seconds to prune, milliseconds and bytes after.

``python -m overparam.papers.pruning_methods.methods`` prints it as Markdown, from the numbers that are kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import polars as pl

from overparam.report.statistics import Estimate, estimate
from overparam.report.words import density, points

HEAD = ("method", "density", "right after %", "retrained %", "seconds to prune", "milliseconds", "kilobytes")


@dataclass(frozen=True)
class Method:
    """One way to prune, at one density; estimates over seeds.

    Attributes:
        name: the variant of the study.
        density: share of the weights that is left.
        pruned, retrained: test accuracy right after pruning, and after retraining.
        seconds: that pruning took: what led to the row behind it, less what the dense network took.
        milliseconds: of one example, with the faster of dense and sparse layers.
        kilobytes: of the checkpoint as stored.
    """

    name: str
    density: float
    pruned: Estimate
    retrained: Estimate
    seconds: float | None
    milliseconds: float | None
    kilobytes: float

    def cells(self) -> list[str]:
        """Return the method as a row of words; beside accuracies half of their 95 % interval."""
        return [
            self.name,
            density(self.density),
            _with_half(self.pruned),
            _with_half(self.retrained),
            "–" if self.seconds is None else f"{self.seconds:.2f}",
            "–" if self.milliseconds is None else f"{self.milliseconds:.3f}",
            f"{self.kilobytes:.0f}",
        ]


def methods(frame: pl.DataFrame) -> list[Method]:
    """Return the methods of the study's table, by density, the best retrained first."""
    found = list(_methods(frame))
    return sorted(found, key=lambda each: (-round(each.density, 2), -(each.retrained.mean or 0)))


def markdown(frame: pl.DataFrame) -> str:
    """Return the table in Markdown."""
    rows = [HEAD, tuple("---" for _ in HEAD), *(each.cells() for each in methods(frame))]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows) + "\n"


def _methods(frame: pl.DataFrame) -> Iterator[Method]:
    keys = ["variant", "prune.density"]
    pruned = frame.filter(pl.col("density").min().over("chain") < 1)
    for (name, _), rows in pruned.group_by(keys, maintain_order=True):
        chains = rows.sort("step").partition_by("chain", maintain_order=True)
        trained = [each.filter(pl.col("kind") != "measure") for each in chains]
        looked = [each.filter(kind="measure") for each in chains]
        if all(each.height for each in looked) and all(each.height == 2 for each in trained):
            last = pl.concat([each.tail(1) for each in chains])
            yield Method(
                str(name),
                float(pl.concat([each.tail(1) for each in trained])["density"].mean()),  # type: ignore[arg-type]
                estimate(each["test_accuracy"][0] for each in looked),
                estimate(each["test_accuracy"][-1] for each in trained),
                _mean([_seconds(whole, look) for whole, look in zip(trained, looked, strict=True)]),
                _mean(
                    [1000 * min(one, two) for one, two in last.select("latency_dense", "latency_sparse").iter_rows()]
                ),
                float(last["bytes"].mean()) / 1000,  # type: ignore[arg-type]
            )


def _seconds(trained: pl.DataFrame, looked: pl.DataFrame) -> float | None:
    """Return what the step between the dense network and the first look at what it left took."""
    before, at, took = looked["seconds_before"][0], trained["seconds_before"][0], trained["seconds"][0]
    return None if before is None or at is None else float(before - at - took)


def _mean(values: list[float] | list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _with_half(found: Estimate) -> str:
    half = f" ± {points(found.high - found.mean)}" if found.high is not None and found.mean is not None else ""
    return f"{points(found.mean)}{half}"


if __name__ == "__main__":
    import sys

    from overparam.errors import SpecError
    from overparam.papers.numbers import numbers_of

    try:
        print(markdown(numbers_of("pruning-methods").frame), end="")
    except SpecError as error:
        sys.exit(f"error: {error}")
