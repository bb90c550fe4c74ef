"""A few nodes of a float graph as a session of their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from bitsmith.execution.runtime import Session
from bitsmith.ir.graph import BESIDE, Graph, Node, Value, elsewhere


def fragment(
    graph: Graph,
    nodes: Sequence[Node],
    outputs: Sequence[Value],
    *,
    threads: int = 0,
    replaced: Mapping[str, npt.NDArray[Any]] = MappingProxyType({}),
) -> Session:
    """A session that computes `outputs` by `nodes` alone, which stand in execution order.

    It is fed every activation that the nodes read and none of them makes, name -> (n, ...).
    replaced: by name of a constant, the array that stands there instead.
    """
    made = {value.name for node in nodes for value in node.outputs}
    read = {value.name: value for node in nodes for value in node.inputs if value is not None}
    constants = {name: replaced.get(name, value.constant) for name, value in read.items() if value.constant is not None}
    large = {name: array for name, array in constants.items() if array.nbytes >= BESIDE}
    fed = [value for name, value in read.items() if value.constant is None and name not in made]
    body = helper.make_graph(
        [node.to_onnx() for node in nodes],
        nodes[0].name,
        [_described(value) for value in fed],
        [_described(value) for value in outputs],
        [
            elsewhere(name, array) if name in large else numpy_helper.from_array(array, name)
            for name, array in constants.items()
        ],
    )
    opsets = [helper.make_opsetid("", graph.opset)]
    model = helper.make_model(body, opset_imports=opsets, ir_version=10)
    return Session(model, threads=threads, weights=large, once=True)


def _described(value: Value) -> onnx.ValueInfoProto:
    kind = helper.np_dtype_to_tensor_dtype(value.dtype)
    shape = ["N" if size is None else size for size in value.shape]
    return helper.make_tensor_value_info(value.name, kind, shape)
