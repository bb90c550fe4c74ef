"""Two executions compared, integer by integer: how many differ, by how much, and which layer is the first."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from bitsmith.errors import InternalError, VerificationError
from bitsmith.execution.batches import Batch
from bitsmith.execution.integer_session import IntegerSession
from bitsmith.execution.interpreter import run
from bitsmith.importing.onnx_file import read_model
from bitsmith.ir.formats import IntegerArray
from bitsmith.ir.integer import IntegerGraph

Executor = Callable[[Batch], Mapping[str, IntegerArray]]
Tracer = Callable[[Batch], Mapping[str, IntegerArray] | None]


@dataclass(frozen=True)
class TensorDifference:
    """How one tensor of an artifact differs from the reference, in steps of its format.

    differing: elements that are not equal, of `total`. largest, summed: of the absolute differences.
    """

    name: str
    differing: int
    total: int
    largest: int
    summed: int

    @property
    def mean(self) -> float:
        """The mean absolute difference over all elements."""
        return self.summed / self.total if self.total else 0.0

    def __add__(self, other: TensorDifference) -> TensorDifference:
        """Both counts of one tensor, on different samples, as one."""
        if self.name != other.name:
            raise InternalError(f"adds the differences of {other.name}", where=self.name)
        return TensorDifference(
            self.name,
            self.differing + other.differing,
            self.total + other.total,
            max(self.largest, other.largest),
            self.summed + other.summed,
        )

    def to_json(self) -> dict[str, Any]:
        """As plain data, with the mean."""
        counts = {"name": self.name, "differing": self.differing, "total": self.total}
        return {**counts, "largest": self.largest, "mean": self.mean}


@dataclass(frozen=True)
class Verification:
    """What came of comparing an artifact with the interpreter.

    subject: the artifact. samples: how many were compared.
    tensors: of every output, over all samples, in the graph's order.
    layers:  of the result of every operation, in the graph's order, over the first batch whose outputs
             differ; empty where all are equal, or where the artifact does not show what is within.
    """

    subject: str
    samples: int
    tensors: tuple[TensorDifference, ...]
    layers: tuple[TensorDifference, ...] = ()

    @property
    def differing(self) -> int:
        """Output elements that differ."""
        return sum(tensor.differing for tensor in self.tensors)

    @property
    def total(self) -> int:
        """Output elements compared."""
        return sum(tensor.total for tensor in self.tensors)

    @property
    def largest(self) -> int:
        """The largest absolute difference of an output element."""
        return max((tensor.largest for tensor in self.tensors), default=0)

    @property
    def exact(self) -> bool:
        """Whether something was compared and no output element differs."""
        return self.total > 0 and self.differing == 0

    @property
    def first_layer_that_differs(self) -> str | None:
        """The first value in the graph's order that differs, as far as the artifact shows; None if none does."""
        return next((one.name for one in (*self.layers, *self.tensors) if one.differing), None)

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "subject": self.subject,
            "samples": self.samples,
            "exact": self.exact,
            "differing": self.differing,
            "total": self.total,
            "largest": self.largest,
            "first_layer_that_differs": self.first_layer_that_differs,
            "tensors": [tensor.to_json() for tensor in self.tensors],
            "layers": [layer.to_json() for layer in self.layers],
        }

    def __str__(self) -> str:
        text = f"{self.subject}: {self.differing:,} of {self.total:,} outputs differ ({self.samples:,} samples)"
        if not self.differing:
            return text
        return f"{text}, by at most {self.largest:,}; first in {self.first_layer_that_differs}"


def compare(expected: Mapping[str, IntegerArray], actual: Mapping[str, IntegerArray]) -> tuple[TensorDifference, ...]:
    """How each tensor of `expected`, in its order, differs in `actual`.

    Raises VerificationError for one that is missing, or of another shape or type.
    """
    return tuple(_difference(name, array, actual) for name, array in expected.items())


@dataclass(frozen=True)
class Form:
    """One executable form of a graph.

    execute: runs it on a batch and gives its outputs, by name.
    trace:   runs it and gives the results of operations, all that it can show, or None; asked at a difference.
    """

    subject: str
    execute: Executor
    trace: Tracer | None = None


def verify(
    subject: str, graph: IntegerGraph, execute: Executor, batches: Iterable[Batch], trace: Tracer | None = None
) -> Verification:
    """Compare one artifact with the interpreter on batches of integer inputs; see `Form`."""
    return verify_all(graph, [Form(subject, execute, trace)], batches)[0]


def verify_all(graph: IntegerGraph, forms: Sequence[Form], batches: Iterable[Batch]) -> tuple[Verification, ...]:
    """Compare several artifacts with one run of the interpreter, batch by batch."""
    found = [Verification(form.subject, 0, ()) for form in forms]
    for batch in batches:
        expected = run(graph, batch)
        found = [_with_batch(one, graph, form, batch, expected) for one, form in zip(found, forms, strict=True)]
    return tuple(found)


def _with_batch(
    found: Verification, graph: IntegerGraph, form: Form, batch: Batch, expected: Mapping[str, IntegerArray]
) -> Verification:
    differences = compare(expected, form.execute(batch))
    layers = found.layers
    if form.trace is not None and not layers and any(one.differing for one in differences):
        traced = form.trace(batch)
        results = _results(graph, batch)
        layers = () if traced is None else compare({name: results[name] for name in results if name in traced}, traced)
    summed = tuple(a + b for a, b in zip(found.tensors, differences, strict=True)) if found.samples else differences
    return Verification(found.subject, found.samples + len(batch[graph.inputs[0]]), summed, layers)


def verify_integer_onnx(
    graph: IntegerGraph, model: onnx.ModelProto | Path, batches: Iterable[Batch], threads: int = 0
) -> Verification:
    """Compare `integer.onnx`, executed by ONNX Runtime, with the interpreter.

    model: as `to_onnx` makes it, or the path of its file. threads: for ONNX Runtime; 0 for one a core.
    Raises ModelError for a model that ONNX Runtime cannot run.
    """
    loaded = read_model(model) if isinstance(model, Path) else model
    subject = model.name if isinstance(model, Path) else "integer.onnx"
    return verify_all(graph, [integer_onnx(graph, loaded, subject, threads)], batches)[0]


def integer_onnx(graph: IntegerGraph, model: onnx.ModelProto, subject: str = "integer.onnx", threads: int = 0) -> Form:
    """`integer.onnx` in ONNX Runtime, which can show what is within."""

    def trace(batch: Batch) -> Mapping[str, IntegerArray]:
        return IntegerSession(graph, model, keep=True, threads=threads, once=True).run(batch)

    return Form(subject, IntegerSession(graph, model, threads=threads, once=True).run, trace)


def _results(graph: IntegerGraph, batch: Batch) -> Batch:
    values = run(graph, batch, keep=True)
    return {operation.output: values[operation.output] for operation in graph}


def _difference(name: str, expected: IntegerArray, found: Mapping[str, IntegerArray]) -> TensorDifference:
    if name not in found:
        raise VerificationError("is missing from what the artifact gives", where=name)
    actual = found[name]
    if actual.shape != expected.shape or actual.dtype != expected.dtype:
        raise VerificationError(
            f"is {actual.dtype} of shape {list(actual.shape)}, not {expected.dtype} of shape {list(expected.shape)}",
            where=name,
        )
    steps = np.abs(actual.astype(np.int64) - expected.astype(np.int64))
    largest = int(steps.max()) if steps.size else 0
    return TensorDifference(name, int(np.count_nonzero(steps)), steps.size, largest, int(steps.sum()))
