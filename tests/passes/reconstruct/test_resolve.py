"""The target weight makes up for errors where data shows how, and stays put where it does not."""

from __future__ import annotations

import numpy as np

from bitsmith.passes.reconstruct.moments import Moments, StreamingMoments
from bitsmith.passes.reconstruct.resolve import resolve

K = 6


def halves(x: np.ndarray, t: np.ndarray) -> tuple[Moments, Moments]:
    made = []
    for half in (0, 1):
        moments = StreamingMoments()
        moments.add(x[None, half::2].astype(np.float32), t[None, half::2].astype(np.float32))
        made.append(moments.result())
    return made[0], made[1]


def test_a_loss_in_one_input_is_made_up_for_by_another() -> None:
    random = np.random.default_rng(0)
    x = random.normal(size=(4000, K))
    weight = random.normal(size=(1, 3, K))
    t = x @ weight[0].T
    x[:, 1] = x[:, 0] + 0.1 * x[:, 1]
    t[:] = x @ weight[0].T
    lossy = x.copy()
    lossy[:, 0] = 0
    target, damping = resolve(weight, halves(lossy, t))
    before = np.mean((t - lossy @ weight[0].T) ** 2)
    after = np.mean((t - lossy @ target[0].T) ** 2)
    assert damping < 1
    assert after < 0.05 * before
    np.testing.assert_allclose(target[0][:, 1], weight[0][:, 1] + weight[0][:, 0], atol=0.1)


def test_a_weight_that_is_right_already_stays() -> None:
    random = np.random.default_rng(1)
    x = random.normal(size=(200, K))
    weight = random.normal(size=(1, 3, K))
    target, damping = resolve(weight, halves(x, x @ weight[0].T + 3 * random.normal(size=(200, 3))))
    # With noise alone in the outputs, a change fitted to one half does not hold on the other.
    error = np.mean(((target - weight)[0] @ x.T) ** 2)
    assert damping == np.inf or error < 0.05


def test_few_data_are_trusted_less_than_many() -> None:
    random = np.random.default_rng(2)
    weight = random.normal(size=(1, 3, K))
    shift = 0.3 * random.normal(size=(3, K))

    def damping_for(count: int) -> float:
        x = np.random.default_rng(3).normal(size=(count, K))
        noise = np.random.default_rng(4).normal(size=(count, 3))
        return resolve(weight, halves(x, x @ (weight[0] + shift).T + noise))[1]

    assert damping_for(5000) < damping_for(24)


def test_inputs_that_are_always_the_same_change_nothing() -> None:
    weight = np.ones((1, 2, K))
    target, _ = resolve(weight, halves(np.ones((64, K)), np.zeros((64, 2))))
    np.testing.assert_array_equal(target, weight)
