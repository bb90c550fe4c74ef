"""What a compile gained and lost, measured: sizes, work, and how near the integers stay to the reals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx

from bitsmith.dataset import Dataset
from bitsmith.execution.reals import dequantize_outputs, quantize_inputs
from bitsmith.execution.runtime import Session
from bitsmith.figures import layers, macs
from bitsmith.ir.bounds import bounds
from bitsmith.ir.graph import Graph
from bitsmith.ir.integer import IntegerGraph
from bitsmith.metrics import decibels
from bitsmith.progress import Progress

SAMPLES = 64
"""Calibration samples that the distance to the float model is measured on, at most."""

BATCH = 16


@dataclass(frozen=True)
class Distance:
    """Float against integer outputs over `samples` samples: signal-to-noise ratio in dB by output name.

    None stands for a ratio that is no number: nothing differs, or the float outputs are all zero.
    """

    samples: int
    sqnr_db: dict[str, float | None]


def sqnr(
    original: Graph, graph: IntegerGraph, exported: onnx.ModelProto, data: Dataset | None, progress: Progress
) -> Distance | None:
    """How far `integer.onnx` is from the float model on calibration data; None where there is none."""
    if data is None:
        return None
    used = data.take(SAMPLES)
    real, integer = Session(original), Session(exported)
    signal = dict.fromkeys(graph.outputs, 0.0)
    noise = dict.fromkeys(graph.outputs, 0.0)
    done = 0
    for batch in used.batches(BATCH):
        wanted = list(real.run(batch).values())
        got = dequantize_outputs(graph, integer.run(quantize_inputs(graph, batch)))
        for name, exact in zip(graph.outputs, wanted, strict=True):
            signal[name] += float(np.square(exact.astype(np.float64)).sum())
            noise[name] += float(np.square(exact.astype(np.float64) - got[name]).sum())
        done += len(next(iter(batch.values())))
        progress("measure the distance to the float model", done, len(used))
    found = {name: decibels(signal[name], noise[name]) for name in graph.outputs}
    # Rounded, since ONNX Runtime may add floats in another order on another processor.
    return Distance(len(used), {name: round(value, 2) if np.isfinite(value) else None for name, value in found.items()})


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
