"""Small float models in a line or two, and what a test asks of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

from bitsmith.importing.load import load_graph
from bitsmith.ir.graph import Graph
from bitsmith.manager import Changes, Pipeline, Step
from bitsmith.module import Module
from bitsmith.target import Target

Array = npt.NDArray[Any]
BATCH = 3

# A rewrite computes the same sums in another order, or a product before a sum instead of after it. Each costs a
# few of float32's 2^-24 per term; sums here have at most some hundred terms of both signs.
TOLERANCE = 2e-5


class Sketch:
    """A model under construction: `add` a node by its operands, arrays becoming initializers."""

    def __init__(self, opset: int = 17, ir_version: int = 8, **inputs: tuple[int | str, ...]) -> None:
        self.opset = opset
        self.ir_version = ir_version
        self.inputs = {name: helper.make_tensor_value_info(name, TensorProto.FLOAT, s) for name, s in inputs.items()}
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []

    def hold(self, array: npt.ArrayLike, name: str = "") -> str:
        """An initializer; returns its name."""
        name = name or f"held{len(self.initializers)}"
        self.initializers.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def add(
        self, op: str, *operands: str | Array | float | None, outputs: Any = 1, name: str = "", **attrs: Any
    ) -> Any:
        """A node; returns the name of its output, or a list where `outputs` is a list of names or above 1."""
        names = [
            "" if operand is None else operand if isinstance(operand, str) else self.hold(_float32(operand))
            for operand in operands
        ]
        made = outputs if isinstance(outputs, list) else [f"v{len(self.nodes)}_{i}" for i in range(outputs)]
        label = f"{op.lower()}{len(self.nodes)}" if name == "" else name
        self.nodes.append(helper.make_node(op, names, made, name=label, **attrs))
        return made[0] if len(made) == 1 else made

    def list_initializers(self) -> None:
        """List what has been held so far among the inputs too, as IR versions before 4 ask for."""
        for tensor in self.initializers:
            described = helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
            self.inputs[tensor.name] = described

    def model(self, *outputs: str) -> onnx.ModelProto:
        """The model; outputs that have no name given keep the node's. Shapes are left to be inferred."""
        graph = helper.make_graph(
            self.nodes,
            "sketch",
            list(self.inputs.values()),
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
            self.initializers,
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=self.ir_version)


def _float32(operand: Array | float) -> Array:
    array = np.asarray(operand)
    return array.astype(np.float32) if array.dtype == np.float64 else array


def normal(*shape: int, seed: int = 0) -> Array:
    """Standard normal float32."""
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def run(model: onnx.ModelProto, **inputs: Array) -> list[Array]:
    """What ONNX Runtime computes, with its own rewriting off."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    results: list[Array] = session.run(None, inputs)
    return results


def random_inputs(graph: Graph, batch: int = BATCH, seed: int = 1) -> dict[str, Array]:
    return {v.name: normal(batch, *v.sample_shape, seed=seed + i) for i, v in enumerate(graph.inputs)}


def assert_same(before: onnx.ModelProto, graph: Graph, batch: int = BATCH, tolerance: float = TOLERANCE) -> None:
    """The graph computes what the model computes: outputs by name and order, shapes and numbers.

    Holds the graph's own account of its shapes and its names to onnx's checker as well.
    """
    after = graph.to_onnx()
    onnx.checker.check_model(after, full_check=True)
    inputs = random_inputs(graph, batch)
    wanted, found = run(before, **inputs), run(after, **inputs)
    assert [o.name for o in after.graph.output] == [o.name for o in before.graph.output]
    assert len(wanted) == len(found)
    for want, got in zip(wanted, found, strict=True):
        assert got.shape == want.shape
        assert got.dtype == want.dtype
        scale = max(1.0, float(np.abs(want).max(initial=0)))
        np.testing.assert_allclose(got, want, rtol=0, atol=tolerance * scale)


def apply(pipeline: str, model: onnx.ModelProto | Graph) -> tuple[Graph, Changes]:
    """Load a model, run passes on it, and give all that they changed and refused."""
    graph = model if isinstance(model, Graph) else load_graph(model)
    every = Changes()

    def collect(step: Step) -> None:
        every.made.extend(step.changes.made)
        every.refused.extend(step.changes.refused)

    Pipeline.parse(pipeline).run(Module(graph, Target(name="test", backend="test")), [collect])
    return graph, every


def ops(graph: Graph) -> list[str]:
    """The ops of a graph in execution order."""
    return [node.op for node in graph.nodes()]


def reason(changes: Changes) -> str:
    """The one reason of the one refusal."""
    assert len(changes.refused) == 1, changes.refused
    return changes.refused[0][1]
