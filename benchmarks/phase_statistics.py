"""How often the verdict "does test accuracy fall, rise and fall again" is right, and what its intervals hold.

Run with ``python benchmarks/phase_statistics.py`` (``--draws 500``; ``--only WORD`` for the cases whose line has
that word). Tables of seeds by levels are drawn around known curves, with an offset for each seed and noise at each
level, and judged by :func:`overparam.report.find_phases`. Printed for each case are the shares of the answers in
percent and, over the draws answered yes where there are at least 100, how often the 95 % intervals hold the truth.
A border that is a plateau of the true curve is held by an interval that meets it.

Bars: false "yes" at most 7 %; on the first double descent "yes" at least 75 % with 3 seeds and a point of noise, 95
% with 5 and 8; on the first curve without one "no" at least 90 % with 8 seeds and half a point, 60 % with a point;
coverage of borders, fall and rise between 90 and 99 %.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from overparam.papers.sparse_double_descent.phases import find_phases
from overparam.report.arms import Arm

Curve = np.ndarray


@dataclass(frozen=True)
class Truth:
    """A curve (levels,) and, if it falls, rises and falls again, the first and last level of its trough and peak."""

    curve: Curve
    trough: tuple[int, int] | None = None
    peak: tuple[int, int] | None = None


@dataclass(frozen=True)
class Case:
    """One line: a curve, seeds, noise in accuracy, and what kind of noise."""

    name: str
    seeds: int
    noise: float
    kind: str = "independent"


@dataclass
class Tally:
    """What the draws of a case were answered, and how often each interval held the truth."""

    answers: dict[str, int] = field(default_factory=dict)
    held: dict[str, list[bool]] = field(default_factory=dict)
    astray: int = 0  # estimates outside their own interval


def through(levels: int, places: list[float], values: list[float]) -> Curve:
    """Return the curve through values at shares (0 to 1) of the way from the first to the last level."""
    return np.interp(np.arange(levels) / (levels - 1), places, values)


def corners(places: list[int], values: list[float]) -> Curve:
    return np.interp(np.arange(places[-1] + 1), places, values)


def dipping(levels: int, fall: float, rise: float, second: float) -> Truth:
    """A smooth double descent: half waves from dense to trough to peak to the last level."""
    trough, peak = round(0.45 * (levels - 1)), round(0.75 * (levels - 1))
    places, values = [0, trough, peak, levels - 1], np.cumsum([0.86, -fall, rise, -second])
    at = np.arange(levels)
    piece = np.clip(np.searchsorted(places, at, side="right") - 1, 0, 2)
    start, end = np.array(places)[piece], np.array(places)[piece + 1]
    share = (1 - np.cos(np.pi * (at - start) / (end - start))) / 2
    return Truth(values[piece] + share * (values[piece + 1] - values[piece]), (trough, trough), (peak, peak))


LEVELS = np.arange(22)
FIGURE_1 = (
    *(0.834, 0.834, 0.828, 0.822, 0.821, 0.818, 0.815, 0.807, 0.798, 0.783, 0.766, 0.776, 0.815),
    *(0.857, 0.887, 0.911, 0.928, 0.940, 0.950, 0.953, 0.954, 0.952, 0.945, 0.927, 0.875),
)
CURVES: dict[str, Truth] = {
    "no descent": Truth(np.where(LEVELS < 16, 0.88, 0.88 - 0.02 * (LEVELS - 15))),
    "double descent": Truth(corners([0, 4, 11, 17, 21], [0.86, 0.85, 0.81, 0.89, 0.87]), (11, 11), (17, 17)),
    "falls, rises": Truth(corners([0, 4, 11, 17, 21], [0.86, 0.85, 0.81, 0.885, 0.89])),
    "falls, rises, stays": Truth(corners([0, 4, 11, 17, 21], [0.86, 0.85, 0.81, 0.89, 0.89])),
    "rises, falls": Truth(corners([0, 4, 11, 17, 21], [0.82, 0.83, 0.87, 0.86, 0.85])),
    "stays, rises, falls": Truth(corners([0, 9, 15, 17, 21], [0.85, 0.85, 0.89, 0.89, 0.86])),
    "flat": Truth(np.full(22, 0.88)),
    "falls slowly": Truth(0.88 - 0.001 * LEVELS),
    "stairs down": Truth(0.88 - 0.02 * (LEVELS // 4)),
    "concave": Truth(0.88 - 0.12 * (LEVELS / 21) ** 3),
    "falls, stays (8)": Truth(through(8, [0, 0.4, 1], [0.88, 0.84, 0.84])),
    "no descent (12)": Truth(through(12, [0, 0.7, 1], [0.88, 0.88, 0.78])),
    "no descent (40)": Truth(through(40, [0, 0.7, 1], [0.88, 0.88, 0.70])),
    "figure 1": Truth(np.array(FIGURE_1), (10, 10), (20, 20)),
    "smooth": dipping(22, 0.05, 0.08, 0.03),
    "smooth (10)": dipping(10, 0.05, 0.08, 0.04),
    "smooth (40)": dipping(40, 0.05, 0.08, 0.03),
    "small": dipping(22, 0.015, 0.02, 0.015),
    "plateaus": Truth(
        corners([0, 5, 8, 11, 15, 18, 21], [0.86, 0.86, 0.82, 0.82, 0.88, 0.88, 0.85]), (8, 11), (15, 18)
    ),
}


def independent(draw: np.random.Generator, shape: tuple[int, int]) -> Curve:
    return draw.standard_normal(shape)


def correlated(draw: np.random.Generator, shape: tuple[int, int]) -> Curve:
    """First-order autoregression along the chain, with correlation one half."""
    noise = draw.standard_normal(shape)
    for level in range(1, shape[1]):
        noise[:, level] = 0.5 * noise[:, level - 1] + np.sqrt(0.75) * noise[:, level]
    return noise


def heavy(draw: np.random.Generator, shape: tuple[int, int]) -> Curve:
    """Student's t with three degrees of freedom, scaled to the same variance."""
    return draw.standard_t(3, shape) / np.sqrt(3)


def collapsing(draw: np.random.Generator, shape: tuple[int, int]) -> Curve:
    """Four times as large over the last three tenths of the levels."""
    return draw.standard_normal(shape) * np.where(np.arange(shape[1]) < 0.7 * shape[1], 1, 4)


def growing(draw: np.random.Generator, shape: tuple[int, int]) -> Curve:
    """From half to two and a half times."""
    return draw.standard_normal(shape) * np.linspace(0.5, 2.5, shape[1])


NOISES: dict[str, Callable[[np.random.Generator, tuple[int, int]], Curve]] = {
    noise.__name__: noise for noise in (independent, correlated, heavy, collapsing, growing)
}


def cases(others: bool) -> Iterator[Case]:
    bars = ("no descent", "double descent", "falls, rises, stays", "stays, rises, falls")
    if not others:
        for name in bars:
            for seeds in (2, 3, 5, 8):
                for noise in (0.005, 0.01, 0.02):
                    yield Case(name, seeds, noise)
        return
    for name in (name for name in CURVES if name not in bars):
        for seeds, noise in ((3, 0.01), (8, 0.005)):
            yield Case(name, seeds, noise)
    for kind in list(NOISES)[1:]:
        for name in (*bars, "stairs down"):
            for seeds in (2, 3, 10):
                yield Case(name, seeds, 0.01, kind)


def arm(table: Curve) -> Arm:
    """Return an arm as a study with 20 % label noise leaves it: from level 9 on it no longer fits its labels."""
    seeds, levels = table.shape
    at = np.tile(np.arange(levels), seeds)
    columns = {
        "seed": np.repeat(np.arange(seeds), levels),
        "level": at,
        "density": 0.8**at,
        "test_accuracy": table.reshape(-1),
        "train_accuracy": np.where(at < 9, 0.999, np.maximum(0.75, 0.999 - 0.02 * (at - 9))),
    }
    return Arm("drawn", {"noise_rate": 0.2}, pl.DataFrame(columns))


def run(case: Case, draws: int) -> Tally:
    truth, tally = CURVES[case.name], Tally()
    generator = np.random.default_rng([case.seeds, round(1e4 * case.noise), len(case.name), len(case.kind)])
    for _ in range(draws):
        shape = (case.seeds, len(truth.curve))
        offset = generator.normal(0, case.noise / 2, (case.seeds, 1))
        table = np.clip(truth.curve + offset + case.noise * NOISES[case.kind](generator, shape), 0, 1)
        found = find_phases(arm(table))
        tally.answers[found.verdict] = tally.answers.get(found.verdict, 0) + 1
        if found.verdict == "yes" and truth.trough is not None:
            look(found, truth, tally)
    return tally


def look(found, truth: Truth, tally: Tally) -> None:
    """Count which intervals hold the truth, and whether each holds its own estimate."""
    curve, trough, peak = truth.curve, truth.trough[1], truth.peak[0]
    sizes = {
        "fall": curve[0] - curve[trough],
        "rise": curve[peak] - curve[trough],
        "second_fall": curve[peak] - curve[-1],
    }
    half = (curve[0] + curve[trough]) / 2
    before = max(level for level in range(trough) if curve[level] >= half)
    halfway = before + (curve[before] - half) / (curve[before] - curve[before + 1])
    borders = {"light_end": (halfway, halfway), "trough": truth.trough, "peak": truth.peak}
    estimates = {name: found.over_seeds(name) for name in borders} | {name: getattr(found, name) for name in sizes}
    for name, (first, last) in borders.items():
        one = estimates[name]
        tally.held.setdefault(name, []).append(
            one.low <= 0.8**first * (1 + 1e-9) and one.high >= 0.8**last * (1 - 1e-9)
        )
    for name, size in sizes.items():
        tally.held.setdefault(name, []).append(estimates[name].low <= size <= estimates[name].high)
    tally.astray += sum(not one.low <= one.mean <= one.high for one in estimates.values())


def line(case: Case, tally: Tally, draws: int) -> str:
    shares = [f"{100 * tally.answers.get(name, 0) / draws:5.1f}" for name in ("yes", "no", "unclear", "not decided")]
    held = [f"{100 * np.mean(held):5.1f}" for held in tally.held.values() if len(held) >= 100]
    cells = [f"{case.name:20}", f"{case.kind:11}", f"{case.seeds:2}", f"{100 * case.noise:.1f}", *shares, *held]
    return " | ".join(cells) + (f" | {tally.astray} estimates outside their interval" if tally.astray else "")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=500)
    parser.add_argument("--others", action="store_true", help="other curves and kinds of noise")
    parser.add_argument("--only", default="", help="cases whose line has this word")
    options = parser.parse_args()
    print(
        "curve | noise | seeds | points | yes | no | unclear | not decided | "
        "light_end | trough | peak | fall | rise | second fall"
    )
    start = time.process_time()
    for case in cases(options.others):
        if options.only in line(case, Tally(), 1):
            print(line(case, run(case, options.draws), options.draws), flush=True)
    print(f"{time.process_time() - start:.0f} s of one core")


if __name__ == "__main__":
    main()
