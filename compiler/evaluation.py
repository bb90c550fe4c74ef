"""How good a model is on labelled data, or how near to a reference: float models and artifacts alike."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bitsmith import registry
from bitsmith.artifact import load
from bitsmith.dataset import LABELS, Dataset
from bitsmith.errors import DataError, ModelError
from bitsmith.metrics import METRICS, Metric, Observed, Result
from bitsmith.npz import NpzFile
from bitsmith.progress import Progress, silent
from bitsmith.runners import BackendModel, FloatModel, IntegerModel, Runner

Array = npt.NDArray[Any]

BATCH = 64
"""Model inputs that run at once."""


@dataclass(frozen=True)
class Window:
    """Cuts a sample that is longer than the model's input: `size` of its elements, flattened, every `stride`."""

    size: int
    stride: int

    @classmethod
    def parse(cls, text: str) -> Window:
        """Read `640:128`, or `640` for windows that follow each other."""
        size, _, stride = text.partition(":")
        try:
            window = cls(int(size), int(stride or size))
        except ValueError:
            window = cls(0, 0)
        if window.size < 1 or window.stride < 1:
            raise DataError(f"{text!r} is no window", where="--window", fix="Give SIZE:STRIDE, such as 640:128.")
        return window

    def count(self, length: int) -> int:
        """How many fit into a sample of `length` elements; the rest at its end is left out."""
        return max((length - self.size) // self.stride + 1, 0)

    def cut(self, rows: Array, shape: tuple[int, ...]) -> Array:
        """Rows (samples, ...) as windows (samples, count, *shape)."""
        flat = rows.reshape(len(rows), -1)
        views = np.lib.stride_tricks.sliding_window_view(flat, self.size, axis=1)[:, :: self.stride]
        return views.reshape(len(rows), -1, *shape)


@dataclass(frozen=True)
class Score:
    """What one runner scored: the name of a float model's file, `integer.onnx`, or a backend."""

    model: str
    result: Result


def evaluate(
    model: str | os.PathLike[str],
    data: str | os.PathLike[str],
    metric: str | None = None,
    *,
    window: Window | None = None,
    reference: str | os.PathLike[str] | None = None,
    input_shapes: Mapping[str, tuple[int, ...]] | None = None,
    progress: Progress = silent,
) -> list[Score]:
    """Score a float model, or both `integer.onnx` and the backend's own files of a compiled folder.

    data:      an .npz file with the model's inputs, and `y` for labels or for what the outputs should be.
    metric:    top1, auc, mse or sqnr; by default top1 where the data has labels, else sqnr.
    window:    how samples longer than the model's input are cut.
    reference: a float model whose outputs mse and sqnr compare with, in place of `y`.
    Raises ModelError, DataError and ArtifactError.
    """
    runners = _runners(Path(model), input_shapes)
    dataset = _open(data, runners[0], window)
    name = metric or ("top1" if dataset.has_labels and reference is None else "sqnr")
    if name not in METRICS:
        raise DataError(f"there is no metric {name}", where="--metric", fix=registry.suggest(name, METRICS))
    if METRICS[name].needs_labels and not dataset.has_labels:
        raise DataError(f"{name} needs labels", where=str(data), fix=f"Save them as {LABELS}, one a sample.")
    if not METRICS[name].needs_labels and reference is None and not dataset.has_labels:
        raise DataError(
            "there is nothing to compare the outputs with: no labels, no reference",
            where=str(data),
            fix="Give --reference FLOAT.onnx, or save labels as y.",
        )
    compared = None if reference is None else FloatModel(reference, input_shapes)
    if compared is not None and dict(compared.samples) != dict(runners[0].samples):
        raise ModelError(
            f"its inputs {_shown(compared.samples)} are not {_shown(runners[0].samples)}", where=compared.name
        )
    metrics = [METRICS[name]() for _ in runners]
    _feed(dataset, runners, metrics, compared, window, progress)
    return [Score(runner.name, one.result()) for runner, one in zip(runners, metrics, strict=True)]


def _runners(path: Path, input_shapes: Mapping[str, tuple[int, ...]] | None) -> Sequence[Runner]:
    if not path.is_dir():
        return [FloatModel(path, input_shapes)]
    artifact = load(path)
    return [IntegerModel(artifact), BackendModel(artifact)]


def _open(data: str | os.PathLike[str], runner: Runner, window: Window | None) -> Dataset:
    """The data, whose samples are those of the model, or any that windows can be cut from."""
    if window is None:
        return Dataset.open(data, runner.samples)
    ((name, shape),) = _single(runner).items()
    if int(np.prod(shape)) != window.size:
        raise DataError(
            f"a window of {window.size} elements for a model input of shape {shape}",
            where="--window",
            fix=f"Give {int(np.prod(shape))}:STRIDE.",
        )
    source = NpzFile(data)
    key = name if name in source.keys else "x"
    stored = source.header(key).shape[1:]
    if not window.count(int(np.prod(stored))):
        raise DataError(f"samples of shape {stored} hold no window of {window.size} elements", where=f"{data}, {key}")
    return Dataset.open(data, {name: stored})


def _single(runner: Runner) -> Mapping[str, tuple[int, ...]]:
    if len(runner.samples) != 1:
        raise DataError(f"windows for a model with {len(runner.samples)} inputs", where="--window")
    return runner.samples


def _feed(
    dataset: Dataset,
    runners: Sequence[Runner],
    metrics: Sequence[Metric],
    reference: FloatModel | None,
    window: Window | None,
    progress: Progress,
) -> None:
    """Stream the data through every runner into its metric."""
    labels = dataset.labels() if dataset.has_labels else None
    done = 0
    for inputs in _batches(dataset, runners[0].samples, window):
        first = next(iter(inputs.values()))
        part = None if labels is None else labels[done : done + len(first)]
        expected = None if reference is None else list(_run(reference, inputs).values())
        for runner, metric in zip(runners, metrics, strict=True):
            outputs = _run(runner, inputs)
            metric.add(Observed(inputs, outputs, _wanted(outputs, expected, part, metric), part))
        done += len(first)
        progress("evaluate", done, len(dataset))


def _batches(
    dataset: Dataset, samples: Mapping[str, tuple[int, ...]], window: Window | None
) -> Iterator[dict[str, Array]]:
    """Batches of model inputs, name -> (samples, windows, *shape)."""
    if window is None:
        for batch in dataset.batches(BATCH):
            yield {name: rows[:, np.newaxis] for name, rows in batch.items()}
        return
    ((name, shape),) = samples.items()
    stored = dataset.source.header(dataset.keys[name]).shape[1:]
    for batch in dataset.batches(max(BATCH // window.count(int(np.prod(stored))), 1)):
        yield {name: window.cut(batch[name], shape)}


def _run(runner: Runner, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """The outputs, (samples, windows, ...), for inputs (samples, windows, ...)."""
    samples, windows = next(iter(inputs.values())).shape[:2]
    outputs = runner.run({name: array.reshape(-1, *array.shape[2:]) for name, array in inputs.items()})
    return {name: array.reshape(samples, windows, *array.shape[1:]) for name, array in outputs.items()}


def _wanted(
    outputs: Mapping[str, Array], expected: Sequence[Array] | None, labels: Array | None, metric: Metric
) -> dict[str, Array] | None:
    """What the outputs should be, by name: those of the reference, in its order, or the labels."""
    if metric.needs_labels:
        return None
    wanted = expected if expected is not None else [] if labels is None else [labels[:, np.newaxis]]
    if [array.shape for array in wanted] != [array.shape for array in outputs.values()]:
        raise DataError(
            f"outputs of shape {[array.shape[2:] for array in outputs.values()]} cannot be compared with "
            f"{'those of the reference' if expected is not None else 'y'}, {[array.shape[2:] for array in wanted]}",
            fix="Give --reference FLOAT.onnx, the model that was compiled; or --metric top1 for class labels.",
        )
    return dict(zip(outputs, wanted, strict=True))


def _shown(samples: Mapping[str, tuple[int, ...]]) -> str:
    return ", ".join(f"{name} {list(shape)}" for name, shape in samples.items())
