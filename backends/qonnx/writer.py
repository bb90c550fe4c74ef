"""A QONNX model while it is being written: float32 tensors, Quant nodes, names that do not collide."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from bitsmith.ir.formats import Format

QONNX_DOMAIN = "qonnx.custom_op.general"
OPSET = 13
IR_VERSION = 8


class Writer:
    """Nodes and constants in the order they are added. All values are float32: reals on the grids of their formats.

    shapes: of what nodes make, the batch dimension counted. qonnx cannot infer all of them.
    """

    def __init__(self, taken: Sequence[str]) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.shapes: dict[str, tuple[int, ...]] = {}
        self._taken = set(taken)
        self._shared: dict[tuple[str, bytes], str] = {}

    def fresh(self, wanted: str) -> str:
        """A name nothing has yet, after `wanted`."""
        name, number = wanted, 1
        while name in self._taken:
            number += 1
            name = f"{wanted}_{number}"
        self._taken.add(name)
        return name

    def node(self, op: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        """Add a node called after its output, which is returned."""
        self.nodes.append(helper.make_node(op, list(inputs), [output], name=f"{op}_{output}", **attributes))
        return output

    def constant(self, name: str, array: npt.ArrayLike, dtype: npt.DTypeLike = np.float32) -> str:
        """Add a constant under a fresh name; returns the name."""
        name = self.fresh(name)
        self.constants.append(numpy_helper.from_array(np.asarray(array, dtype=dtype), name))
        return name

    def quant(self, source: str, output: str, kind: Format, *, rank: int = 0, rounding: str = "FLOOR") -> str:
        """Round to the grid of a format, and saturate.

        `output = scale * clamp(rounding(source / scale))`: the standard Quant node, with a scale per tensor or per
        channel, zero point 0 and the whole range of the type. rank: of the value, where it has a scale per channel.
        """
        scale = kind.scales_for(0 if kind.axis is None else rank).astype(np.float32)
        inputs = [source, self._parameter("scale", scale)]
        inputs += [self._parameter("zero_point", 0.0), self._parameter("bits", kind.type.bits)]
        self.nodes.append(
            helper.make_node(
                "Quant",
                inputs,
                [output],
                name=f"Quant_{output}",
                domain=QONNX_DOMAIN,
                signed=int(kind.type.signed),
                narrow=0,
                rounding_mode=rounding,
            )
        )
        return output

    def quantized_constant(self, name: str, integers: npt.ArrayLike, kind: Format) -> str:
        """Integers as the reals they stand for, behind a Quant node that says their type and changes nothing."""
        stored, output = self.constant(f"{name}_real", kind.dequantize(integers)), self.fresh(name)
        self.shapes[output] = np.shape(integers)
        return self.quant(stored, output, kind, rank=np.ndim(integers), rounding="ROUND")

    def _parameter(self, role: str, value: npt.ArrayLike) -> str:
        """A constant of a Quant node, shared with all that have the same."""
        array = np.asarray(value, dtype=np.float32)
        key = role + str(array.shape), array.tobytes()
        if key not in self._shared:
            self._shared[key] = self.constant(role, array)
        return self._shared[key]

    def model(
        self, name: str, inputs: Sequence[tuple[str, tuple[int, ...]]], outputs: Sequence[tuple[str, tuple[int, ...]]]
    ) -> onnx.ModelProto:
        """The model: inputs and outputs of one sample by name and shape."""
        tensors = [
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, (1, *shape)) for name, shape in side]
            for side in (inputs, outputs)
        ]
        given = {tensor.name for side in tensors for tensor in side}
        inner = [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
            for name, shape in self.shapes.items()
            if name not in given
        ]
        graph = helper.make_graph(
            self.nodes, name, tensors[0], tensors[1], initializer=self.constants, value_info=inner
        )
        domains = sorted({QONNX_DOMAIN, *(node.domain for node in self.nodes)} - {""})
        opsets = [helper.make_opsetid("", OPSET), *(helper.make_opsetid(domain, 1) for domain in domains)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="bitsmith")
