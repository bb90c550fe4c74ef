"""What is known of activations without data: a clipped normal per channel, and what batch normalisation left behind."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Vector = npt.NDArray[np.float64]

MATCHES = 30
"""Iterations that bring the moments of a clipped normal to within a few per cent of those wanted."""

BEYOND = 40.0
"""Standard deviations at which the density is 0 in float64; stands for an infinite bound in the formulas."""


@dataclass(frozen=True, eq=False)
class ClippedNormal:
    """min(max(z, lowest), highest) with z normal of mean `centre` and standard deviation `deviation`, per channel.

    All float64 (channels,); channels lie along axis 1 of the batched value. Bounds may be infinite.
    """

    centre: Vector
    deviation: Vector
    lowest: Vector
    highest: Vector

    @classmethod
    def of(
        cls,
        mean: npt.ArrayLike,
        variance: npt.ArrayLike,
        lowest: npt.ArrayLike = -math.inf,
        highest: npt.ArrayLike = math.inf,
    ) -> ClippedNormal:
        """The normal with these moments, clipped to bounds; each argument is (channels,) or one number."""
        centre = np.atleast_1d(np.asarray(mean, np.float64))
        spread = np.sqrt(np.maximum(np.asarray(variance, np.float64), 0.0))
        return cls(
            *(np.array(np.broadcast_to(one, centre.shape), np.float64) for one in (centre, spread, lowest, highest))
        )

    @classmethod
    def matching(
        cls, mean: npt.ArrayLike, variance: npt.ArrayLike, lowest: npt.ArrayLike, highest: npt.ArrayLike
    ) -> ClippedNormal:
        """The normal that has these moments once it is clipped to these bounds, by fixed-point iteration.

        Any moments that a value within the bounds can have are those of some clipped normal.
        """
        value = cls.of(mean, variance, lowest, highest)
        wanted, spread = value.centre, value.deviation
        for _ in range(MATCHES if np.isfinite([value.lowest, value.highest]).any() else 0):
            found, deviation = value.mean, np.sqrt(value.variance)
            ratio = np.where(deviation > 0, spread / np.maximum(deviation, np.finfo(np.float64).tiny), 1.0)
            value = cls(
                value.centre + (wanted - found), value.deviation * np.clip(ratio, 0.5, 2.0), value.lowest, value.highest
            )
        return value

    @property
    def channels(self) -> int:
        return len(self.centre)

    @property
    def mean(self) -> Vector:
        return self._moments()[0]

    @property
    def variance(self) -> Vector:
        first, second = self._moments()
        return np.maximum(second - first**2, 0.0)

    def ends(self, reach: float) -> tuple[Vector, Vector]:
        """The least and the greatest value that are to be expected: `reach` deviations from the centre, or a bound."""
        far = reach * self.deviation
        low, high = (np.clip(end, self.lowest, self.highest) for end in (self.centre - far, self.centre + far))
        return low, high

    def clipped(self, lowest: npt.ArrayLike, highest: npt.ArrayLike) -> ClippedNormal:
        """This value clipped to further bounds, (channels,) or one number each."""
        bounds = (np.clip(bound, lowest, highest) for bound in (self.lowest, self.highest))
        return ClippedNormal(self.centre, self.deviation, *bounds)

    def below(self, points: Vector) -> Vector:
        """The probability of a value below each of `points` (n,), mean over channels: float64 (n,)."""
        total = np.zeros(len(points))
        for centre, deviation, lowest, highest in zip(
            self.centre, self.deviation, self.lowest, self.highest, strict=True
        ):
            inside = _table_cdf((points - centre) / deviation) if deviation > 0 else (points > centre).astype(float)
            total += np.where(points <= lowest, 0.0, np.where(points > highest, 1.0, inside))
        return total / self.channels

    def _moments(self) -> tuple[Vector, Vector]:
        """E[y] and E[y^2] of the clipped value (Nagel et al. 2019, appendix C).

        With a, b the bounds, alpha = (a - mu)/sigma, beta = (b - mu)/sigma, Z = Phi(beta) - Phi(alpha):

            E[y]   = mu Z + sigma (phi(alpha) - phi(beta)) + a Phi(alpha) + b (1 - Phi(beta))
            E[y^2] = (mu^2 + sigma^2) Z + sigma ((a + mu) phi(alpha) - (b + mu) phi(beta))
                     + a^2 Phi(alpha) + b^2 (1 - Phi(beta)).
        """
        mu, sigma = self.centre, np.maximum(self.deviation, np.finfo(np.float64).tiny)
        a = np.where(np.isfinite(self.lowest), self.lowest, mu - BEYOND * sigma)
        b = np.where(np.isfinite(self.highest), self.highest, mu + BEYOND * sigma)
        with np.errstate(over="ignore"):
            alpha, beta = np.clip((a - mu) / sigma, -BEYOND, BEYOND), np.clip((b - mu) / sigma, -BEYOND, BEYOND)
        under, over = _cdf(alpha), _cdf(-beta)
        inside = 1.0 - under - over
        at_a, at_b = _density(alpha), _density(beta)
        first = mu * inside + sigma * (at_a - at_b) + a * under + b * over
        second = (mu**2 + sigma**2) * inside + sigma * ((a + mu) * at_a - (b + mu) * at_b) + a**2 * under + b**2 * over
        return first, second


@dataclass(frozen=True, eq=False)
class InputMoments:
    """What the samples of one model input are taken to be: noise of this mean and these three variances.

    mean:    float64 (channels,).
    white:   variance of what is independent in every element; own: of what varies slowly over space, apart for each
             channel; shared: of what varies slowly over space, alike in all channels.
    lowest, highest: bounds of every element, infinite where unknown.
    inferred: whether a batch normalisation told so; otherwise it is assumed.
    """

    mean: Vector
    white: float
    own: float
    shared: float
    lowest: float = -math.inf
    highest: float = math.inf
    inferred: bool = False

    @property
    def variance(self) -> float:
        return self.white + self.own + self.shared

    @property
    def distribution(self) -> ClippedNormal:
        return ClippedNormal.of(self.mean, self.variance, self.lowest, self.highest)


@dataclass(frozen=True, eq=False)
class NormalizedValue:
    """What a BatchNormalization told of the value that it read.

    mean, variance: its running statistics, float64 (channels,).
    probed:         the value as it was then on the probe inputs, float32 (channels, elements), some of them.
    """

    mean: Vector
    variance: Vector
    probed: npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class BatchNorms:
    """All that the BatchNormalizations of a model say of its activations, kept before they are folded.

    values: by name of the value that was normalised. inputs: by name of the model's input.
    probe:  inputs on which `NormalizedValue.probed` was taken, name -> float32 (n, ...).
    """

    values: Mapping[str, NormalizedValue]
    inputs: Mapping[str, InputMoments]
    probe: Mapping[str, npt.NDArray[np.float32]]


def _cdf(x: Vector) -> Vector:
    return np.array([0.5 * math.erfc(-one / math.sqrt(2)) for one in x])


def _density(x: Vector) -> Vector:
    density: Vector = np.exp(-(x**2) / 2) / math.sqrt(2 * math.pi)
    return density


_GRID = np.linspace(-8.0, 8.0, 4097)
_CDF = _cdf(_GRID)


def _table_cdf(x: Vector) -> Vector:
    """The normal distribution function, to 1e-6: mixtures ask for it millions of times."""
    return np.interp(x, _GRID, _CDF)
