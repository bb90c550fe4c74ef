"""The layers of tests.benchmarks.x86 in ONNX Runtime: QLinearConv of 8-bit weights and inputs, on one thread.

usage: python -m tests.benchmarks.x86_peer MODEL.onnx RUNS      what callgrind counts instructions of
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from bitsmith.ir.integer import Conv


def model(operation: Conv, x_shape: tuple[int, ...], y_shape: tuple[int, ...]) -> onnx.ModelProto:
    """One QLinearConv with the same weights and biases; inputs are unsigned, as its AVX2 kernels want."""
    zero, one = np.uint8(0), np.float32(0.05)
    constants = {
        "x_scale": one,
        "x_zero": zero,
        "weight": operation.weight.astype(np.int8),
        "weight_scale": np.array(operation.weight_format.scale, np.float32),
        "weight_zero": np.zeros(len(operation.weight), np.int8),
        "y_scale": one,
        "y_zero": zero,
        "bias": operation.bias,
    }
    node = helper.make_node(
        "QLinearConv",
        ["x", *constants],
        ["y"],
        strides=operation.strides,
        pads=operation.pads,
        kernel_shape=operation.weight.shape[2:],
    )
    graph = helper.make_graph(
        [node],
        "layer",
        [helper.make_tensor_value_info("x", TensorProto.UINT8, (1, *x_shape))],
        [helper.make_tensor_value_info("y", TensorProto.UINT8, (1, *y_shape))],
        [numpy_helper.from_array(np.asarray(values), name) for name, values in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


class Peer:
    """A model in ONNX Runtime, with an input of noise."""

    def __init__(self, path: Path) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        shape = self.session.get_inputs()[0].shape
        self.inputs = {"x": np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)}

    def run(self) -> None:
        """One inference."""
        self.session.run(None, self.inputs)


if __name__ == "__main__":
    peer = Peer(Path(sys.argv[1]))
    for _ in range(int(sys.argv[2])):
        peer.run()
