"""Streamed moments are those of the whole, and two halves add up."""

from __future__ import annotations

import numpy as np
import pytest

from bitsmith.errors import InternalError
from bitsmith.passes.reconstruct.moments import Moments, StreamingMoments

GROUPS, ROWS, K, COUNT = 2, 3, 5, 400


def data() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    x = random.normal(size=(GROUPS, COUNT, K)).astype(np.float32) + 7
    t = (x @ random.normal(size=(GROUPS, K, ROWS)) + random.normal(size=(GROUPS, COUNT, ROWS)) - 3).astype(np.float32)
    return x, t


def streamed(x: np.ndarray, t: np.ndarray, part: int) -> Moments:
    moments = StreamingMoments()
    for start in range(0, x.shape[1], part):
        moments.add(x[:, start : start + part].copy(), t[:, start : start + part])
    return moments.result()


def assert_equal_moments(found: Moments, x: np.ndarray, t: np.ndarray) -> None:
    for group in range(len(x)):
        both = np.cov(np.concatenate([x[group], t[group]], axis=1).T.astype(np.float64), bias=True)
        np.testing.assert_allclose(found.gram[group], both[:K, :K], atol=1e-4)
        np.testing.assert_allclose(found.cross[group], both[K:, :K], atol=1e-3)
        np.testing.assert_allclose(found.variance[group], np.diag(both)[K:], rtol=1e-4)
    np.testing.assert_allclose(found.inputs, x.mean(axis=1), rtol=1e-5)
    np.testing.assert_allclose(found.outputs, t.mean(axis=1), rtol=1e-4)
    assert found.count == x.shape[1]


@pytest.mark.parametrize("part", [1, 37, COUNT])
def test_streamed_moments_are_those_of_the_whole(part: int) -> None:
    x, t = data()
    assert_equal_moments(streamed(x, t, part), x, t)


def test_the_moments_of_two_parts_add_up_to_those_of_the_whole() -> None:
    x, t = data()
    x[:, 150:] += 2
    assert_equal_moments(streamed(x[:, :150], t[:, :150], 64) + streamed(x[:, 150:], t[:, 150:], 64), x, t)


def test_one_group_is_computed_as_several_are() -> None:
    x, t = data()
    several, one = streamed(x, t, 64), streamed(x[1:], t[1:], 64)
    np.testing.assert_allclose(one.gram[0], several.gram[1], rtol=1e-5, atol=1e-6)


def test_excess_is_the_error_that_a_bias_leaves_less_the_variance() -> None:
    x, t = data()
    weight = np.random.default_rng(1).normal(size=(GROUPS, ROWS, K))
    errors = t.astype(np.float64) - x @ weight.transpose(0, 2, 1)
    moments = streamed(x, t, 64)
    np.testing.assert_allclose(moments.excess(weight), errors.var(axis=1) - t.var(axis=1, dtype=np.float64), rtol=1e-3)


def test_about_zero_is_for_layers_without_a_bias() -> None:
    x, t = data()
    weight = np.random.default_rng(1).normal(size=(GROUPS, ROWS, K))
    errors = t.astype(np.float64) - x @ weight.transpose(0, 2, 1)
    moments = streamed(x, t, 64).about_zero()
    wanted = np.mean(errors**2, axis=1) - np.mean(t.astype(np.float64) ** 2, axis=1)
    np.testing.assert_allclose(moments.excess(weight), wanted, rtol=1e-4)
    assert not moments.inputs.any()
    assert not moments.outputs.any()


def test_moments_of_nothing_are_refused() -> None:
    with pytest.raises(InternalError, match="moments of nothing"):
        StreamingMoments().result()
