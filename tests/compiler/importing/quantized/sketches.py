"""Small quantized models, and what a test asks of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper

from bitsmith.execution.interpreter import run as interpret
from bitsmith.execution.reals import dequantize_outputs, quantize_inputs
from bitsmith.fidelity import Fidelity, compare
from bitsmith.importing.quantized.executable import executable
from bitsmith.importing.quantized.load import Quantized, load_quantized
from bitsmith.ir.integer import IntegerGraph
from bitsmith.manager import Pipeline
from bitsmith.module import Module
from bitsmith.pipelines import ADOPT
from bitsmith.target import load_target
from tests.sketch import Sketch, normal, run

Array = npt.NDArray[Any]

QONNX = "qonnx.custom_op.general"


class QuantizedSketch(Sketch):
    """A sketch with quantizers."""

    def rounded(self, x: str, scale: Any, zero_point: int = 0, kind: Any = np.int8, output: str = "") -> str:
        """QuantizeLinear and DequantizeLinear of an activation."""
        scale = np.asarray(scale, np.float32)
        parameters = (self.hold(scale), self.hold(np.full(scale.shape, zero_point, kind)))
        integers = self.add("QuantizeLinear", x, *parameters)
        return self.add("DequantizeLinear", integers, *parameters, outputs=[output] if output else 1)

    def weight(self, integers: Array, scales: Any, axis: int = 0, zero_point: int = 0) -> str:
        """Integers behind a DequantizeLinear; scales one, or a vector along `axis`."""
        scales = np.asarray(scales, np.float32)
        zeros = self.hold(np.full(scales.shape, zero_point, integers.dtype))
        return self.add("DequantizeLinear", self.hold(integers), self.hold(scales), zeros, axis=axis)

    def quant(self, x: str | Array, scale: Any, bits: int, output: str = "", **attributes: Any) -> str:
        """QONNX's Quant, with a zero point of 0."""
        options: dict[str, Any] = {"signed": 1, "narrow": 0, "rounding_mode": "ROUND", **attributes}
        scale = np.asarray(scale, np.float32)
        operands = (x, scale, 0.0, float(bits))
        return self.add("Quant", *operands, outputs=[output] if output else 1, domain=QONNX, **options)

    def quantized(self, *outputs: str) -> onnx.ModelProto:
        """The model, with the domains that it uses."""
        model = self.model(*outputs)
        domains = {node.domain for node in model.graph.node} - {""}
        model.opset_import.extend(helper.make_opsetid(domain, 1) for domain in sorted(domains))
        return model


def integers(*shape: int, seed: int = 0, low: int = -127, high: int = 127, kind: Any = np.int8) -> Array:
    """Random integers, both ends included."""
    return np.random.default_rng(seed).integers(low, high, shape, endpoint=True).astype(kind)


def adopted(model: onnx.ModelProto, target: str = "cortex-m4") -> tuple[IntegerGraph, Module, Quantized]:
    """The integer graph of a quantized model."""
    quantized = load_quantized(model)
    module = Module(quantized.graph, load_target(target), quantizers=quantized.quantizers)
    Pipeline.parse(ADOPT).run(module)
    return module.require_integer(), module, quantized


def held_to_the_file(
    model: onnx.ModelProto, samples: int = 32, target: str = "cortex-m4", steps: int | None = 1
) -> tuple[IntegerGraph, Fidelity]:
    """The integer graph, each operation held to the file; its outputs no more than `steps` off ONNX Runtime's.

    None where a step that is rounded the other way may grow without a bound that is worth naming.
    """
    graph, module, quantized = adopted(model, target)
    assert module.adopted is not None
    reals = {name: 2 * normal(samples, *graph.values[name].shape, seed=5) for name in graph.inputs}
    found = compare(quantized.original, quantized.quantizers, module.adopted, graph, reals)
    found.require()
    size = next((d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim[:1] if d.dim_value), samples)
    parts = [
        run(executable(model), **{name: array[start : start + size] for name, array in reals.items()})
        for start in range(0, samples, size)
    ]
    ours = dequantize_outputs(graph, interpret(graph, quantize_inputs(graph, reals)))
    for index, (name, reals_out) in enumerate(ours.items()):
        wanted = np.concatenate([part[index] for part in parts])
        step = graph.values[name].format.scale[0] if not any(one.output == name for one in graph.host) else 1e-6
        assert steps is None or np.abs(reals_out - wanted).max() <= steps * step * 1.001
    return graph, found


def kinds(graph: IntegerGraph) -> list[str]:
    """The kinds of operations in order."""
    return [operation.kind for operation in graph]
