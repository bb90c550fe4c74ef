"""ONNX Runtime: a QDQ graph that its integer kernels run.

The model is standard ONNX (opset 21, or 25 for weights of 2 bits): QuantizeLinear and DequantizeLinear around float
ops, weights in the narrowest type that holds them (`weights` says which), int32 biases. Its requantization is in
float32 and rounds half to even, so it may differ from the integer graph by one step where a result falls on a tie or
within rounding error of one.

Activations are uint8, and weights int8 as they run, whatever types the formats name, since that is what ORT runs best
on x86. Beside it, on a processor with VNNI, convolutional networks of six shapes took this much time (ORT 1.31, one
thread):

    uint8 activations, int8 weights      1
    uint8 activations, uint8 weights     1.3 to 2.3
    int8 activations, int8 weights       1.0 to 2.7: ORT changes them to uint8 as it loads, but not a value with
                                         two readers, and leaves a Conv that reads a residual branch in float
    the same, `session.qdqisint8allowed` 3.3 to 11

The first has one weakness: processors with AVX2 or AVX-512 but without VNNI add its products in saturating 16 bits.
There a session needs `session.x64quantprecision` = 1 to be exact. `session_options` tries the processor and sets it
where it is needed; use it for any session on the model.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import onnxruntime

from bitsmith.backend import Arrays, Backend, Refusal
from bitsmith.backends.onnxruntime.capabilities import refusals
from bitsmith.backends.onnxruntime.emit import FILE, build_model, serialize
from bitsmith.backends.onnxruntime.processor import session_options
from bitsmith.backends.onnxruntime.verify import float_compute_nodes, optimize, run_integers, trace_integers
from bitsmith.backends.onnxruntime.weights import in_float
from bitsmith.errors import ArtifactError, VerificationError
from bitsmith.ir.graph import Graph
from bitsmith.ir.integer import IntegerGraph
from bitsmith.target import Target

__all__ = ["OnnxRuntimeBackend", "build_model", "float_compute_nodes", "optimize", "serialize", "session_options"]


class OnnxRuntimeBackend(Backend):
    """Writes `model.qdq.onnx`: float in, float out, integers between."""

    name: ClassVar[str] = "onnxruntime"
    exact: ClassVar[bool] = False

    def refusals(self, graph: Graph, target: Target) -> list[Refusal]:
        """What in the target ORT has no integer kernels for; no op is refused."""
        return refusals(target)

    def emit(self, graph: IntegerGraph, target: Target, folder: Path) -> list[Path]:
        """Write the model, unless ORT would run in float what it should run in integers.

        That is every convolution and matrix product but those by weights that no 8-bit integers hold.
        """
        serialized = serialize(build_model(graph))
        left = [
            node for node in float_compute_nodes(optimize(serialized)) if node.split(" ", 1)[1] not in in_float(graph)
        ]
        if left:
            raise VerificationError(
                f"ONNX Runtime {onnxruntime.__version__} would run in float: {', '.join(left)}",
                where=FILE,
                fix="Use the version of onnxruntime that bitsmith asks for, or report this model.",
            )
        (folder / FILE).write_bytes(serialized)
        return [Path(FILE)]

    def run(self, graph: IntegerGraph, folder: Path, inputs: Arrays) -> dict[str, npt.NDArray[np.generic]]:
        """Run the written model on a batch of integers: (samples, *shape), of each format's storage type."""
        path = folder / FILE
        try:
            serialized = path.read_bytes()
        except OSError as fault:
            raise ArtifactError(f"cannot be read ({fault})", where=str(path), fix="Compile the model again.") from fault
        return run_integers(graph, serialized, inputs)

    def trace(self, graph: IntegerGraph, folder: Path, inputs: Arrays) -> dict[str, npt.NDArray[np.generic]]:
        """What every operation makes on a batch of integers, in the model built again with all of it in sight."""
        return trace_integers(graph, inputs)
