"""The borders of an integer graph: reals to integers on the way in, and back on the way out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from bitsmith.errors import InternalError
from bitsmith.ir.formats import IntegerArray
from bitsmith.ir.integer import IntegerGraph

Array = npt.NDArray[Any]


def quantize_inputs(graph: IntegerGraph, reals: Mapping[str, npt.ArrayLike]) -> dict[str, IntegerArray]:
    """A batch of real inputs, name -> (samples, *shape), as the integers of their formats."""
    return {name: graph.values[name].format.quantize(reals[name]) for name in graph.inputs}


def dequantize_outputs(
    graph: IntegerGraph, integers: Mapping[str, npt.ArrayLike], host: bool = True
) -> dict[str, Array]:
    """A batch of integer outputs as the float32 reals they stand for, by name.

    host: whether to apply what is left to the host too, as the caller of the float model would see it.
    """
    reals = {name: graph.values[name].format.dequantize(integers[name]) for name in graph.outputs}
    for step in graph.host if host else ():
        if step.op not in HOST:
            raise InternalError(f"{step.op} is left to the host, but not known there", where=step.output)
        reals[step.output] = HOST[step.op](reals[step.output], **dict(step.attributes))
    return reals


def softmax(reals: Array, axis: int) -> Array:
    """`exp(x) / sum exp(x)` along `axis` of a batch, in float64, as float32."""
    exact = reals.astype(np.float64)
    powers = np.exp(exact - exact.max(axis=axis, keepdims=True))
    result: Array = (powers / powers.sum(axis=axis, keepdims=True)).astype(np.float32)
    return result


HOST: dict[str, Callable[..., Array]] = {"Softmax": softmax}
