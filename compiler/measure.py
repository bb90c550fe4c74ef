"""What a compile gained and lost, measured: sizes, work, and how near the integers stay to the reals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from bitsmith.execution.batches import batch_size, in_batches
from bitsmith.execution.reals import dequantize_outputs
from bitsmith.execution.runtime import Session
from bitsmith.figures import layers, macs
from bitsmith.ir.bounds import bounds
from bitsmith.ir.formats import IntegerArray
from bitsmith.ir.graph import Graph
from bitsmith.ir.integer import IntegerGraph
from bitsmith.metrics import decibels


@dataclass(frozen=True)
class Distance:
    """Float against integer outputs over `samples` samples: signal-to-noise ratio in dB by output name.

    None stands for a ratio that is no number: nothing differs, or the float outputs are all zero.
    """

    samples: int
    sqnr_db: dict[str, float | None]


def sqnr(
    original: Graph,
    graph: IntegerGraph,
    real: Mapping[str, npt.NDArray[np.float32]],
    outputs: Mapping[str, IntegerArray],
) -> Distance:
    """How far the integer graph is from the float model on some samples.

    real: the samples, by input, as the float model takes them. outputs: what the integer graph makes of them.
    """
    session = Session(original, once=True)
    runs = [session.run(batch) for batch in in_batches(real, batch_size(graph))]
    found = {}
    for (name, got), exact in zip(dequantize_outputs(graph, outputs).items(), session.outputs, strict=True):
        reference = np.concatenate([made[exact] for made in runs]).astype(np.float64)
        value = decibels(float(np.square(reference).sum()), float(np.square(reference - got).sum()))
        # Rounded, since ONNX Runtime may add floats in another order on another processor.
        found[name] = round(value, 2) if np.isfinite(value) else None
    return Distance(len(next(iter(real.values()))), found)


def macs_in_all(graph: IntegerGraph) -> int:
    """Multiply-accumulates of one sample."""
    return sum(macs(graph, operation) for operation in graph)


def float_bytes(graph: Graph) -> int:
    """Bytes of all float constants in a float graph: its weights, as they were given."""
    constants = [value.constant for value in graph.values()]
    return sum(array.nbytes for array in constants if array is not None and array.dtype == np.float32)


def sizes(original: Graph, graph: IntegerGraph) -> dict[str, Any]:
    """Bytes before and after; `integer_weights` are packed, `integer_constants` all that a kernel reads."""
    found = layers(graph, bounds(graph))
    constants = sum(array.nbytes for array in graph.constants.values())
    return {
        "float_constants": float_bytes(original),
        "integer_weights": sum(layer.weight_bytes for layer in found),
        "integer_constants": sum(layer.parameter_bytes for layer in found) + constants,
    }
