"""The value of one node whose operands are all known, by ONNX's own reference implementation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import NodeProto, helper
from onnx.reference import ReferenceEvaluator

RANDOM = frozenset(
    {"Bernoulli", "Dropout", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"}
)
"""Ops whose value is not decided by their operands; an idle Dropout is removed by a pass of its own."""

Array = npt.NDArray[Any]


class CannotEvaluate(Exception):
    """The reference implementation has no answer; its reason is the argument."""


def evaluate(node: NodeProto, operands: Sequence[Array | None], opset: int) -> list[Array]:
    """All outputs of `node` for these operands (None where one is left out).

    Raises CannotEvaluate where the reference implementation fails, and for a random op.
    """
    if node.op_type in RANDOM:
        raise CannotEvaluate(f"{node.op_type} is random")
    single = NodeProto()
    single.CopyFrom(node)
    names = [f"operand{index}" if operand is not None else "" for index, operand in enumerate(operands)]
    del single.input[:]
    single.input.extend(names)
    feeds = {name: operand for name, operand in zip(names, operands, strict=True) if operand is not None}
    graph = helper.make_graph(
        [single],
        "single",
        [helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape) for n, a in feeds.items()],
        [helper.make_empty_tensor_value_info(name) for name in node.output if name],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    try:
        with np.errstate(all="ignore"):
            results = ReferenceEvaluator(model).run(None, feeds)
    except Exception as fault:
        raise CannotEvaluate(f"{type(fault).__name__}: {fault}") from fault
    return [np.asarray(result) for result in results]
