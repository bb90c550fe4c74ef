"""What evaluation data says of a model: metrics that are fed batch by batch and hold no samples."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from bitsmith.errors import DataError

Array = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class Observed:
    """A batch as a metric sees it. Each sample is one or more windows: the model's inputs are cut from it.

    inputs, outputs: by name, (samples, windows, ...) as the model takes and makes them.
    wanted:          what the outputs should be, by name and of their shape, where that is known.
    labels:          (samples, ...), where the data has any.
    """

    inputs: Mapping[str, Array]
    outputs: Mapping[str, Array]
    wanted: Mapping[str, Array] | None = None
    labels: Array | None = None


@dataclass(frozen=True)
class Result:
    """A metric over all samples.

    value: a fraction (top1, auc), decibels (sqnr; infinite where nothing differs) or a mean square (mse).
    error: its standard error, where the metric has one.
    """

    metric: str
    value: float
    samples: int
    error: float | None = None

    def __str__(self) -> str:
        if self.metric == "sqnr":
            return f"sqnr {self.value:.2f} dB" if math.isfinite(self.value) else "sqnr infinite: no difference"
        number = f"{self.value:.4f}" if self.metric in ("top1", "auc") else f"{self.value:.6g}"
        return f"{self.metric} {number}" + (f" +- {self.error:.4f}" if self.error is not None else "")


class Metric(ABC):
    """Fed every batch once, then asked for its result."""

    name: ClassVar[str]
    needs_labels: ClassVar[bool] = False

    @abstractmethod
    def add(self, batch: Observed) -> None:
        """Take a batch into account; DataError if it is not what the metric can judge."""

    @abstractmethod
    def result(self) -> Result:
        """The metric over all batches so far."""


class Top1(Metric):
    """The fraction of samples whose largest output, averaged over windows, is the labelled class."""

    name = "top1"
    needs_labels = True

    def __init__(self) -> None:
        self._right: list[Array] = []

    def add(self, batch: Observed) -> None:
        outputs = _only(batch.outputs, self.name)
        scores = outputs.reshape(*outputs.shape[:2], -1).mean(axis=1)
        labels = _class_labels(batch.labels, scores.shape[1])
        self._right.append(scores.argmax(axis=1) == labels)

    def result(self) -> Result:
        right = self.outcomes()
        rate = float(right.mean())
        return Result(self.name, rate, len(right), math.sqrt(rate * (1 - rate) / len(right)))

    def outcomes(self) -> npt.NDArray[np.bool_]:
        """Sample by sample, (samples,): whether the label was found. It is what paired tests compare."""
        return np.concatenate(self._right)


class Auc(Metric):
    """The area under the ROC curve of a score, for labels 0 and 1.

    The score of a window is the mean square of output less input where they have one shape (a reconstruction);
    the output itself where it is one number; the difference of the two where there are two. The score of a
    sample is the mean over its windows.
    """

    name = "auc"
    needs_labels = True

    def __init__(self) -> None:
        self._scores: list[Array] = []
        self._labels: list[Array] = []

    def add(self, batch: Observed) -> None:
        self._labels.append(_class_labels(batch.labels, 2))
        self._scores.append(self._score(batch).mean(axis=1))

    def result(self) -> Result:
        labels, scores = np.concatenate(self._labels), np.concatenate(self._scores)
        return Result(self.name, roc_auc(labels, scores), len(labels))

    def _score(self, batch: Observed) -> Array:
        outputs = _only(batch.outputs, self.name)
        flat = outputs.reshape(*outputs.shape[:2], -1).astype(np.float64)
        inputs = list(batch.inputs.values())
        if len(inputs) == 1 and inputs[0].shape == outputs.shape:
            mean: Array = np.square(flat - inputs[0].reshape(flat.shape)).mean(axis=2)
            return mean
        if flat.shape[2] == 1:
            return flat[:, :, 0]
        if flat.shape[2] == 2:
            return flat[:, :, 1] - flat[:, :, 0]
        raise DataError(
            f"auc of {flat.shape[2]} outputs a sample",
            fix="It judges models that reconstruct their input, or have one or two outputs; use --metric top1.",
        )


class _Compared(Metric):
    """Sums the squares of what is wanted and of how far the outputs are off, over all outputs."""

    def __init__(self) -> None:
        self._signal = self._noise = 0.0
        self._elements = self._samples = 0

    def add(self, batch: Observed) -> None:
        if batch.wanted is None:
            raise DataError(
                f"there is nothing to compare the outputs with for {self.name}",
                fix="Give --reference FLOAT.onnx, or data whose y is what the model should give.",
            )
        for name, wanted in batch.wanted.items():
            exact = wanted.astype(np.float64)
            self._signal += float(np.square(exact).sum())
            self._noise += float(np.square(batch.outputs[name] - exact).sum())
            self._elements += exact.size
        self._samples += len(next(iter(batch.outputs.values())))


class Mse(_Compared):
    """The mean square of the outputs less what they should be, over all elements of all outputs."""

    name = "mse"

    def result(self) -> Result:
        return Result(self.name, self._noise / self._elements, self._samples)


class Sqnr(_Compared):
    """10 log10 of the squares of what the outputs should be over the squares of how far they are off."""

    name = "sqnr"

    def result(self) -> Result:
        return Result(self.name, decibels(self._signal, self._noise), self._samples)


METRICS: dict[str, type[Metric]] = {metric.name: metric for metric in (Top1, Auc, Mse, Sqnr)}


def decibels(signal: float, noise: float) -> float:
    """10 log10(signal / noise) of two sums of squares; infinite without noise, -infinite without signal."""
    if noise == 0:
        return math.inf
    return 10 * math.log10(signal / noise) if signal > 0 else -math.inf


def roc_auc(labels: npt.ArrayLike, scores: npt.ArrayLike) -> float:
    """The chance that a sample of class 1 scores above one of class 0, a tie counting half.

    Mann and Whitney 1947 (doi:10.1214/aoms/1177730491), their U over the number of pairs, from ranks.
    """
    positive = np.asarray(labels) == 1
    ones, zeros = int(positive.sum()), int((~positive).sum())
    if not ones or not zeros:
        raise DataError(
            f"auc needs samples of both classes; there are {zeros} of class 0 and {ones} of class 1",
            fix="Give evaluation data that has both.",
        )
    _, inverse, counts = np.unique(np.asarray(scores), return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse.ravel()]
    return float((ranks[positive].sum() - ones * (ones + 1) / 2) / (ones * zeros))


def _only(outputs: Mapping[str, Array], metric: str) -> Array:
    if len(outputs) != 1:
        raise DataError(
            f"{metric} of a model with {len(outputs)} outputs", fix="Use --metric sqnr or mse, which take all of them."
        )
    return next(iter(outputs.values()))


def _class_labels(labels: Array | None, classes: int) -> Array:
    """Labels as class numbers, (samples,)."""
    if labels is None:
        raise DataError("there are no labels", fix="Save them as y, one class number a sample.")
    flat = labels.reshape(len(labels), -1)
    numbers = flat[:, 0].astype(np.int64)
    if flat.shape[1] != 1 or not (numbers == flat[:, 0]).all():
        one_hot = flat.shape[1] == classes and bool(((flat == 0) | (flat == 1)).all() and (flat.sum(axis=1) == 1).all())
        raise DataError(
            f"the labels are not one class number a sample: y has shape (n, {flat.shape[1]}), dtype {labels.dtype}",
            fix="They are one-hot: save y.argmax(axis=1)." if one_hot else "Save y as integers of shape (n,).",
        )
    outside = numbers[(numbers < 0) | (numbers >= classes)]
    if outside.size:
        raise DataError(
            f"label {outside[0]}, but there are {classes} classes", fix=f"Number the classes from 0 to {classes - 1}."
        )
    return numbers
