"""QONNX with channels last, which is how hls4ml has images, written so from the start.

qonnx can turn a model around, but on some graphs its passes never end, and on others hls4ml gets what they made wrong.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from bitsmith.backends.qonnx.lower import Lowering
from bitsmith.errors import UnsupportedError
from bitsmith.ir.formats import IntegerArray
from bitsmith.ir.integer import Concat, IntegerGraph, Linear, Operation, Reshape, Shape


class ChannelsLast(Lowering):
    """Images are (*space, channels), kernels (filters, *kernel, channels); readers of a flat image are reordered."""

    window_domain = "qonnx.custom_op.channels_last"

    def __init__(self, graph: IntegerGraph, *, depthwise: bool = True) -> None:
        """depthwise: whether depthwise convolutions stay so, or become whole ones whose other weights are 0."""
        super().__init__(graph)
        self._orders = orders(graph)
        self._depthwise = depthwise

    def placed(self, shape: Shape) -> Shape:
        return (*shape[1:], shape[0]) if len(shape) > 1 else shape

    def kernel(self, weight: IntegerArray) -> IntegerArray:
        return np.moveaxis(weight, 1, -1)

    def grouped(self, weight: IntegerArray, groups: int) -> tuple[IntegerArray, int]:
        if self._depthwise or groups == 1:
            return weight, groups
        # One filter a channel, as `require_exact` has it.
        whole = np.zeros((groups, groups, *weight.shape[2:]), weight.dtype)
        whole[np.arange(groups), np.arange(groups)] = weight[:, 0]
        return whole, 1

    def columns(self, operation: Linear) -> IntegerArray:
        order = self._orders.get(operation.inputs[0])
        return operation.weight if order is None else operation.weight[:, order]

    def concatenated(self, operation: Concat) -> int:
        return len(self.graph.result(operation).shape)


def orders(graph: IntegerGraph) -> dict[str, npt.NDArray[np.intp]]:
    """Which element of a flat value stands where, for values that are flattened images.

    Raises UnsupportedError where another than a matrix product would see the order.
    """
    found: dict[str, npt.NDArray[np.intp]] = {}
    for operation in graph:
        shapes = [value.shape for value in graph.operands(operation)]
        if isinstance(operation, Reshape) and len(shapes[0]) > 1:
            channels_first = np.arange(int(np.prod(shapes[0]))).reshape(shapes[0])
            order = np.moveaxis(channels_first, 0, -1).ravel()
            if not np.array_equal(order, np.sort(order)):
                found[operation.output] = order
        elif not isinstance(operation, Linear):
            _carry(found, operation)
    for name in graph.outputs:
        if name in found:
            raise UnsupportedError(
                "it is an image, flattened, and hls4ml has its channels last",
                where=name,
                fix="Let the model give the image itself.",
            )
    return found


def _carry(found: dict[str, npt.NDArray[np.intp]], operation: Operation) -> None:
    """What works element by element leaves elements where they are; Concat and the like may not."""
    known = [found.get(name) for name in operation.inputs]
    first = known[0]
    if all(order is None for order in known):
        return
    if isinstance(operation, Concat) or any(
        first is None or order is None or not np.array_equal(first, order) for order in known
    ):
        raise UnsupportedError(
            "it joins flattened images, and hls4ml has their channels last",
            where=f"{operation.kind} {operation.name}",
            fix="Put it in front of the Flatten.",
        )
    assert first is not None
    found[operation.output] = first
