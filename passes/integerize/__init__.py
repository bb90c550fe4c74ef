"""Turn a float graph and its plan into the integer graph."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from bitsmith.errors import UnsupportedError
from bitsmith.ir.bounds import bounds
from bitsmith.ir.elementwise import TABULATED
from bitsmith.ir.fusion import is_left_to_host, riders
from bitsmith.ir.graph import Graph, Node
from bitsmith.ir.integer import HostOperation, IntegerGraph
from bitsmith.ir.validate import validate
from bitsmith.manager import Changes, Pass
from bitsmith.module import Module
from bitsmith.passes.integerize.arithmetic import lower_add, lower_mul
from bitsmith.passes.integerize.attention import lower_matmul, lower_softmax
from bitsmith.passes.integerize.average import lower_average_pool
from bitsmith.passes.integerize.build import Build
from bitsmith.passes.integerize.layer_norm import lower_layer_norm
from bitsmith.passes.integerize.linear import lower_conv, lower_matrix_product
from bitsmith.passes.integerize.movement import (
    lower_concat,
    lower_max_pool,
    lower_pad,
    lower_reshape,
    lower_resize,
    lower_slice,
    lower_transpose,
)
from bitsmith.passes.integerize.tables import lower_table

LOWERINGS: dict[str, Callable[[Build, Node], None]] = {
    "Add": lower_add,
    "AveragePool": lower_average_pool,
    "Concat": lower_concat,
    "Conv": lower_conv,
    "Gemm": lower_matrix_product,
    "GlobalAveragePool": lower_average_pool,
    "LayerNormalization": lower_layer_norm,
    "MatMul": lower_matmul,
    "MaxPool": lower_max_pool,
    "Mul": lower_mul,
    "Pad": lower_pad,
    "Reshape": lower_reshape,
    "Resize": lower_resize,
    "Slice": lower_slice,
    "Softmax": lower_softmax,
    "Sub": lower_add,
    "Transpose": lower_transpose,
    **dict.fromkeys(TABULATED, lower_table),
}


@dataclass(frozen=True)
class Integerize(Pass):
    """Lower every node to integers by the one rule, and prove that no accumulator can overflow.

    With real = scale * (q - zero_point) on both sides of a linear op,

        q_y = z_y + (s_x * s_w / s_y) * (sum q_w * (q_x - z_x) + q_b),

    (Jacob et al. 2017, arXiv:1712.05877, equations 4 and 11) where the ratio of scales becomes a multiplier over
    a power of two (HAWQ-V3, arXiv:2011.10680, section 3.1), rounded half up, once. A Relu or Clip is the clamp of
    the op that feeds it; other functions of one value become tables. A Softmax on an output is left to the host,
    one in between is a table, a sum and a reciprocal.
    """

    name: ClassVar[str] = "integerize"

    def run(self, module: Module) -> Changes:
        changes = Changes()
        graph = module.graph
        build = Build(module.plan)
        for node in filter(is_left_to_host, graph.nodes("Softmax")):
            build.renamed[node.operand(0).name] = node.output.name
            axis = int(node.attribute("axis", -1)) % node.output.rank
            build.host.append(HostOperation(node.output.name, "Softmax", (("axis", axis),)))
            changes.refuse(node, "left to the host, in float, on the dequantized output")
        for value in graph.inputs:
            build.result(value)
        riding = riders(graph)
        for node in graph.nodes():
            if node in riding or is_left_to_host(node):
                continue
            if node.op not in LOWERINGS:
                raise UnsupportedError(f"{node.op} has no integer form", where=node.where)
            LOWERINGS[node.op](build, node)
            changes.change(node)
        module.integer = _finish(graph, build)
        return changes


def _finish(graph: Graph, build: Build) -> IntegerGraph:
    integer = IntegerGraph(
        name=graph.name or "model",
        values=build.values,
        inputs=tuple(value.name for value in graph.inputs),
        outputs=tuple(value.name for value in graph.outputs),
        operations=tuple(build.operations),
        constants=build.constants,
        host=tuple(build.host),
    )
    validate(integer)
    bounds(integer)
    return integer
