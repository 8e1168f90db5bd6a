"""The noise of a table of seeds by levels, and draws of it.

A value is the curve's mean at its level, plus the offset of its seed, plus noise that may differ in size from level
to level (collapsing networks scatter more) and may be correlated along the chain of one seed (each network is made
from the one before). Both are estimated from what the seeds leave around their mean, with (seeds - 1)(levels - 1)
degrees of freedom, so that even two seeds tell the noise of a whole curve.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from math import sqrt

import numpy as np
import numpy.typing as npt

from overparam.report.loops import noise_of

Floats = npt.NDArray[np.float64]

CORRELATIONS = np.linspace(0.0, 0.95, 39)


@dataclass(frozen=True, eq=False)
class Noise:
    """Noise around the mean curve of several seeds.

    Args:
        mean: (levels,) the mean over seeds.
        variance: (levels,) of one seed's noise at each level, its offset left out.
        correlation: of neighbouring levels of one seed, in [0, 0.95]; it falls with distance as its powers do.
        seeds: how many, at least 2.
    """

    mean: Floats
    variance: Floats
    correlation: float
    seeds: int

    @property
    def degrees(self) -> int:
        """Degrees of freedom behind the variances taken together."""
        return (self.seeds - 1) * (len(self.mean) - 1)

    @property
    def weights(self) -> Floats:
        """One over the variance of the mean at each level, (levels,)."""
        return self.seeds / self.variance

    @property
    def weights_of_steps(self) -> Floats:
        """The same for runs of levels: what is correlated tells less when it is averaged."""
        return np.asarray(self.weights * (1 - self.correlation) / (1 + self.correlation))

    def error(self, one: int, other: int) -> float:
        """Return the standard error of the difference of the means at two levels."""
        first, second = (sqrt(float(self.variance[level])) for level in (one, other))
        together = 2 * first * second * self.correlation ** abs(one - other)
        return sqrt(max(0.0, first**2 + second**2 - together) / self.seeds)

    def samples(self, curve: Floats, draws: int, generator: np.random.Generator) -> Floats:
        """Return ``draws`` tables like the one seen, (draws, seeds, levels), whose true curve is ``curve``."""
        return curve + self._drawn((draws, self.seeds, len(curve)), generator)

    def means(self, curve: Floats, draws: int, generator: np.random.Generator) -> Floats:
        """Return ``draws`` mean curves around ``curve``, (draws, levels), of a variance that is drawn too."""
        spread = np.sqrt(self.degrees / generator.chisquare(self.degrees, draws) / self.seeds)
        return curve + spread[:, None] * self._drawn((draws, len(curve)), generator)

    def _drawn(self, shape: tuple[int, ...], generator: np.random.Generator) -> Floats:
        drawn = generator.standard_normal(shape)
        fresh = sqrt(1 - self.correlation**2)
        for level in range(1, shape[-1] if self.correlation else 0):
            drawn[..., level] = self.correlation * drawn[..., level - 1] + fresh * drawn[..., level]
        return np.asarray(drawn * np.sqrt(self.variance))


@cache
def ratios(levels: int) -> Floats:
    """Return von Neumann's ratio that each of :data:`CORRELATIONS` leads to at so many levels, offsets taken out."""
    apart = np.arange(1, levels)
    of_mean = 1 + 2 * (CORRELATIONS[:, None] ** apart) @ (1 - apart / levels)
    return np.asarray((1 - CORRELATIONS) * (levels - 1) / (levels - of_mean))


def noise_around(table: Floats) -> Noise:
    """Estimate the noise of a table (seeds, levels) of at least two seeds and two levels without gaps."""
    seeds, levels = table.shape
    mean, variance = np.empty(levels), np.empty(levels)
    correlation = noise_of(table, CORRELATIONS, ratios(levels), mean, variance)
    return Noise(mean, variance, float(correlation), seeds)
