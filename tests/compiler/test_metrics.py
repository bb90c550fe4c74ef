"""Metrics against scikit-learn's definitions, by hand and by brute force."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitsmith.errors import DataError
from bitsmith.metrics import METRICS, Observed, Result, Top1, decibels, roc_auc


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 5)), min_size=2).filter(lambda s: len({c for c, _ in s}) == 2))
def test_roc_auc_is_the_share_of_pairs_in_order(samples: list[tuple[bool, int]]) -> None:
    ones = [score for positive, score in samples if positive]
    zeros = [score for positive, score in samples if not positive]
    pairs = [1.0 if one > zero else 0.5 if one == zero else 0.0 for one in ones for zero in zeros]
    found = roc_auc([int(positive) for positive, _ in samples], [float(score) for _, score in samples])
    assert found == pytest.approx(sum(pairs) / len(pairs))


def test_roc_auc_needs_both_classes() -> None:
    with pytest.raises(DataError, match="0 of class 0 and 2 of class 1"):
        roc_auc([1, 1], [0.5, 0.6])


def batch(outputs: object, labels: object = None, wanted: object = None, inputs: object = None) -> Observed:
    y = np.asarray(outputs, dtype=np.float32)
    x = np.zeros((len(y), 1, 9), np.float32) if inputs is None else np.asarray(inputs, np.float32)
    return Observed(
        {"x": x},
        {"y": y},
        None if wanted is None else {"y": np.asarray(wanted, dtype=np.float32)},
        None if labels is None else np.asarray(labels),
    )


def scored(name: str, *batches: Observed) -> Result:
    metric = METRICS[name]()
    for one in batches:
        metric.add(one)
    return metric.result()


def test_top1_counts_over_batches() -> None:
    first = batch([[[1, 2]], [[5, 1]]], [1, 1])
    second = batch([[[0, 2]], [[9, 1]]], [1, 0])
    assert scored("top1", first, second) == Result("top1", 0.75, 4, math.sqrt(0.75 * 0.25 / 4))


def test_top1_averages_windows() -> None:
    # Two windows of one sample: (1, 0) and (0, 3); their mean says class 1.
    assert scored("top1", batch([[[1, 0], [0, 3]]], [1])).value == 1.0


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([2], "label 2, but there are 2 classes"),
        ([-1], "label -1, but there are 2 classes"),
        ([0.5], "not one class number a sample"),
        ([[0, 1]], r"shape \(n, 2\), dtype int64. They are one-hot: save y.argmax\(axis=1\)"),
        ([[1, 1]], r"shape \(n, 2\), dtype int64. Save y as integers of shape \(n,\)"),
        ([[1, 0, 0]], r"shape \(n, 3\), dtype int64. Save y as integers of shape \(n,\)"),
        (None, "there are no labels"),
    ],
)
def test_labels_that_are_no_classes_are_told(labels: object, message: str) -> None:
    with pytest.raises(DataError, match=message):
        scored("top1", batch([[[1, 2]]], labels))


def test_one_metric_of_several_outputs_is_told() -> None:
    both = Observed({}, {"a": np.zeros((1, 1, 2)), "b": np.zeros((1, 1, 2))}, None, np.array([0]))
    with pytest.raises(DataError, match="top1 of a model with 2 outputs"):
        scored("top1", both)


def test_auc_of_a_reconstruction_is_of_its_mean_squared_error() -> None:
    x = np.zeros((2, 2, 2))
    y = np.array([[[0, 0], [0, 2]], [[1, 1], [1, 2]]])  # errors: (0, 2), (1, 2.5)
    assert scored("auc", batch(y, [0, 1], inputs=x)).value == 1.0
    assert scored("auc", batch(y, [1, 0], inputs=x)).value == 0.0


@pytest.mark.parametrize("outputs", [[[[1.0]], [[2.0]]], [[[1.0, 2.0]], [[1.0, 3.0]]]])
def test_auc_of_a_classifier_is_of_its_score(outputs: list[object]) -> None:
    assert scored("auc", batch(outputs, [0, 1])).value == 1.0


def test_auc_of_many_outputs_is_told() -> None:
    with pytest.raises(DataError, match="auc of 3 outputs a sample"):
        scored("auc", batch([[[1, 2, 3]], [[1, 2, 3]]], [0, 1]))


def test_mse_and_sqnr_by_hand() -> None:
    parts = batch([[[1, 2]]], wanted=[[[1, 4]]]), batch([[[3, 0]]], wanted=[[[2, 0]]])
    assert scored("mse", *parts) == Result("mse", 5 / 4, 2)
    assert scored("sqnr", *parts).value == pytest.approx(10 * math.log10(21 / 5))


def test_a_comparison_with_nothing_is_told() -> None:
    with pytest.raises(DataError, match="nothing to compare the outputs with for mse"):
        scored("mse", batch([[[1]]]))


def test_decibels_at_the_ends() -> None:
    assert decibels(1, 0) == math.inf
    assert decibels(0, 1) == -math.inf
    assert decibels(100, 1) == 20


@pytest.mark.parametrize(
    ("result", "text"),
    [
        (Result("top1", 0.9, 100, 0.03), "top1 0.9000 +- 0.0300"),
        (Result("sqnr", 31.234, 5), "sqnr 31.23 dB"),
        (Result("sqnr", math.inf, 5), "sqnr infinite: no difference"),
        (Result("mse", 0.00012345678, 5), "mse 0.000123457"),
    ],
)
def test_results_read_well(result: Result, text: str) -> None:
    assert str(result) == text


def test_top1_knows_which_samples_were_right() -> None:
    metric = Top1()
    metric.add(batch([[[1, 2]], [[5, 1]]], [1, 1]))
    metric.add(batch([[[0, 2]]], [1]))
    assert metric.outcomes().tolist() == [True, False, True]
