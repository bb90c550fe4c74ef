"""Clipped normals: their closed forms against integrals that scipy takes of the density itself."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, stats

from bitsmith.ir.moments import ClippedNormal


@given(
    centre=st.floats(-20, 20),
    deviation=st.floats(0.1, 10),
    lowest=st.floats(-20, 20) | st.just(-math.inf),
    width=st.floats(0.1, 20) | st.just(math.inf),
)
def test_moments_are_those_of_the_density(centre: float, deviation: float, lowest: float, width: float) -> None:
    highest = max(lowest, -30.0) + width
    value = ClippedNormal.of([centre], [deviation**2], lowest, highest)
    normal = stats.norm(centre, deviation)
    low, high = max(lowest, centre - 12 * deviation), min(highest, centre + 12 * deviation)
    expected = []
    for power in (1, 2):
        inside = (
            integrate.quad(lambda x, n=power: x**n * normal.pdf(x), low, high, points=None)[0] if low < high else 0.0
        )
        ends = [(lowest, normal.cdf(lowest)), (highest, normal.sf(highest))]
        expected.append(inside + sum(end**power * mass for end, mass in ends if math.isfinite(end)))
    scale = max(abs(centre), deviation, 1.0)
    assert value.mean[0] == pytest.approx(expected[0], abs=1e-5 * scale)
    assert value.variance[0] == pytest.approx(expected[1] - expected[0] ** 2, abs=1e-4 * scale**2)


def test_a_channel_that_does_not_vary() -> None:
    value = ClippedNormal.of([3.0, -1.0], [0.0, 0.0]).clipped(0.0, 2.0)
    np.testing.assert_allclose(value.mean, [2.0, 0.0], atol=1e-12)
    np.testing.assert_allclose(value.variance, [0.0, 0.0], atol=1e-12)
    np.testing.assert_array_equal(value.below(np.array([-0.5, 0.5, 2.5])), [0.0, 0.5, 1.0])


@given(data=st.data())
def test_moments_can_be_matched(data: st.DataObject) -> None:
    """Those of a Beta variable, which fills [0, 1] as no normal does."""
    a, b = data.draw(st.floats(0.5, 5)), data.draw(st.floats(0.5, 5))
    wanted = stats.beta(a, b)
    value = ClippedNormal.matching([2 * wanted.mean() - 1], [4 * wanted.var()], -1.0, 1.0)
    assert value.mean[0] == pytest.approx(2 * wanted.mean() - 1, abs=0.02)
    assert np.sqrt(value.variance[0]) == pytest.approx(2 * wanted.std(), abs=0.02)


def test_clipping_twice_is_clipping_once_to_what_both_allow() -> None:
    value = ClippedNormal.of([0.0], [1.0]).clipped(0.0, math.inf).clipped(-5.0, 6.0)
    assert (value.lowest[0], value.highest[0]) == (0.0, 6.0)
    # Half of a standard normal behind a Relu: mean 1/sqrt(2 pi), second moment 1/2.
    assert value.mean[0] == pytest.approx(1 / math.sqrt(2 * math.pi), abs=1e-6)
    assert value.variance[0] == pytest.approx(0.5 - 1 / (2 * math.pi), abs=1e-6)


def test_the_mixture_of_channels() -> None:
    value = ClippedNormal.of([0.0, 4.0], [1.0, 4.0]).clipped(0.0, 6.0)
    points = np.linspace(0.1, 5.9, 20)
    expected = (stats.norm(0, 1).cdf(points) + stats.norm(4, 2).cdf(points)) / 2
    np.testing.assert_allclose(value.below(points), expected, atol=1e-6)
    assert value.below(np.array([0.0, 6.1])).tolist() == [0.0, 1.0]


def test_ranges_reach_six_deviations_and_stop_at_bounds() -> None:
    value = ClippedNormal.of([1.0, 1.0], [4.0, 4.0], [-np.inf, 0.0], [np.inf, 6.0])
    low, high = value.ends(6.0)
    assert low.tolist() == [-11.0, 0.0]
    assert high.tolist() == [13.0, 6.0]
