"""What all observers have in common, by name."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from bitsmith.errors import PipelineError
from bitsmith.observers import OBSERVERS, choose_range
from tests.compiler.observers.seen import seen

observers = st.sampled_from(sorted(OBSERVERS))
samples = arrays(np.float32, st.tuples(st.integers(1, 60), st.just(1)), elements=st.floats(-1e6, 1e6, width=32))


def test_the_observers_are_these() -> None:
    assert sorted(OBSERVERS) == ["kl", "min-max", "mse", "percentile"]


@given(observers, samples, st.sampled_from([4, 16, 256, 65536]), st.booleans())
def test_a_range_lies_within_what_was_seen(
    observer: str, x: npt.NDArray[np.float32], levels: int, symmetric: bool
) -> None:
    lowest, highest = choose_range(observer, seen(x), levels, symmetric)
    assert lowest <= highest
    assert min(float(x.min()), 0.0) <= lowest
    assert highest <= max(float(x.max()), 0.0)


@pytest.mark.parametrize("observer", sorted(OBSERVERS))
@pytest.mark.parametrize("symmetric", [False, True])
def test_a_value_that_is_always_zero_has_an_empty_range(observer: str, symmetric: bool) -> None:
    assert choose_range(observer, seen(np.zeros(5)), 256, symmetric) == (0.0, 0.0)


@pytest.mark.parametrize("observer", sorted(OBSERVERS))
@pytest.mark.parametrize("constant", [3.25, -0.1])
def test_a_constant_stays_within_the_range(observer: str, constant: float) -> None:
    lowest, highest = choose_range(observer, seen(np.full(9, constant)), 256, False)
    end = float(np.float32(constant))
    assert (highest if constant > 0 else lowest) == end


@pytest.mark.parametrize("observer", sorted(OBSERVERS))
def test_values_without_a_sign_keep_a_range_without_one(observer: str) -> None:
    x = np.abs(np.random.default_rng(0).normal(size=5000))
    assert choose_range(observer, seen(x), 16, True)[0] >= 0.0


@pytest.mark.parametrize("observer", ["kl", "mse"])
def test_a_lone_outlier_is_clipped_at_few_levels_and_kept_at_many(observer: str) -> None:
    x = np.append(np.random.default_rng(0).normal(size=100_000), 30.0)
    statistics = seen(x, bins=2048)
    assert choose_range(observer, statistics, 16)[1] < 5
    assert choose_range(observer, statistics, 65536) == (statistics.minimum, statistics.maximum)


def test_an_unknown_observer_is_an_error_that_suggests_the_nearest() -> None:
    with pytest.raises(PipelineError, match=r"there is no observer called minmax\. Did you mean min-max\?"):
        choose_range("minmax", seen(np.ones(3)), 256)


@pytest.mark.parametrize("observer", sorted(OBSERVERS))
def test_without_a_histogram_only_min_max_answers(observer: str) -> None:
    bare = dataclasses.replace(seen(np.array([-1.0, 2.0])), histogram=None)
    if observer == "min-max":
        assert choose_range(observer, bare, 256) == (-1.0, 2.0)
    else:
        with pytest.raises(PipelineError, match="needs a histogram"):
            choose_range(observer, bare, 256)
