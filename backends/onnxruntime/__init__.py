"""ONNX Runtime: a QDQ graph that its integer kernels run.

The model is standard ONNX (opset 21): QuantizeLinear and DequantizeLinear around float ops, int8 weights, int32
biases. Its requantization is in float32 and rounds half to even, so it may differ from the integer graph by one
step where a result falls on a tie or within rounding error of one.

x86 processors with AVX2 or AVX-512 but without VNNI add pairs of uint8 x int8 products in saturating 16 bits. There
a session must be told to be exact, at some cost in speed: `session.x64quantprecision` = 1, which ORT heeds on such
processors only. The sessions that are made here set it. What runs where:

    uint8 activations, int8 weights      VNNI: exact and fastest. Elsewhere on x86: exact with that option.
    uint8 activations, uint8 weights     exact everywhere, slower with VNNI.
    int8 activations                     ORT rewrites them to uint8 on x86, but not a value with two readers: the
                                         Conv that reads a residual branch stays in float.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime

from bitsmith.backend import Arrays, Backend, Refusal
from bitsmith.backends.onnxruntime.capabilities import refusals
from bitsmith.backends.onnxruntime.emit import FILE, build_model, serialize
from bitsmith.backends.onnxruntime.verify import float_compute_nodes, optimize, run_integers
from bitsmith.errors import ArtifactError, VerificationError
from bitsmith.ir.graph import Graph
from bitsmith.ir.integer import IntegerGraph
from bitsmith.target import Target

__all__ = ["OnnxRuntimeBackend", "build_model", "float_compute_nodes", "optimize"]


class OnnxRuntimeBackend(Backend):
    """Writes `model.qdq.onnx`: float in, float out, integers between."""

    name: ClassVar[str] = "onnxruntime"
    exact: ClassVar[bool] = False

    def refusals(self, graph: Graph, target: Target) -> list[Refusal]:
        """What in the target ORT has no integer kernels for; no op is refused."""
        return refusals(target)

    def emit(self, graph: IntegerGraph, target: Target, folder: Path) -> list[Path]:
        """Write the model, unless ORT would not run all of its convolutions and matrix products in integers."""
        model = build_model(graph)
        left = float_compute_nodes(optimize(model))
        if left:
            raise VerificationError(
                f"ONNX Runtime {onnxruntime.__version__} would run in float: {', '.join(left)}",
                where=FILE,
                fix="Use the version of onnxruntime that bitsmith asks for, or report this model.",
            )
        (folder / FILE).write_bytes(serialize(model))
        return [Path(FILE)]

    def run(self, graph: IntegerGraph, folder: Path, inputs: Arrays) -> dict[str, npt.NDArray[np.generic]]:
        """Run the written model on a batch of integers: (samples, *shape), of each format's storage type."""
        path = folder / FILE
        try:
            model = onnx.load(path)
        except FileNotFoundError:
            raise ArtifactError("is missing", where=str(path), fix="Compile the model again.") from None
        return run_integers(graph, model, inputs)
