"""QONNX: the integer graph as standard float ONNX around Quant nodes, for FINN, hls4ml, Brevitas and qonnx itself.

`model.qonnx.onnx` takes and gives reals. Every scale is a power of two and every zero point is 0, so float32 computes
what the integer graph says, exactly: qonnx's own executor is held to it in every element.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from bitsmith.backend import Arrays, Backend, Refusal
from bitsmith.backends.qonnx.capabilities import refusals
from bitsmith.backends.qonnx.lower import build_model
from bitsmith.backends.qonnx.verify import execute, read
from bitsmith.ir.graph import Graph
from bitsmith.ir.integer import IntegerGraph
from bitsmith.target import Target

__all__ = ["QonnxBackend", "build_model"]

FILE = "model.qonnx.onnx"


class QonnxBackend(Backend):
    """Writes `model.qonnx.onnx`."""

    name: ClassVar[str] = "qonnx"

    def refusals(self, graph: Graph, target: Target) -> list[Refusal]:
        """What in a target or a graph has no exact form."""
        return refusals(graph, target)

    def emit(self, graph: IntegerGraph, target: Target, folder: Path) -> list[Path]:
        """Write the model."""
        (folder / FILE).write_bytes(build_model(graph).SerializeToString(deterministic=True))
        return [Path(FILE)]

    def run(self, graph: IntegerGraph, folder: Path, inputs: Arrays) -> dict[str, npt.NDArray[np.generic]]:
        """What qonnx computes with the written model on a batch of integers."""
        return execute(graph, read(folder / FILE), inputs, graph.outputs)

    def trace(self, graph: IntegerGraph, folder: Path, inputs: Arrays) -> dict[str, npt.NDArray[np.generic]]:
        """What every operation makes in the written model."""
        return execute(graph, read(folder / FILE), inputs, [operation.output for operation in graph])
