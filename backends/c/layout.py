"""Where the elements of a value lie in memory: channels last, one sample at a time.

The integer graph counts axes as ONNX does, channels first. C kernels want the channels of a pixel side by side: a
window of a convolution is then a few runs of contiguous bytes. So axis 0 of every value becomes its last.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from bitsmith.ir.formats import Format
from bitsmith.ir.integer import IntegerGraph, Linear, Reshape, Shape, Value

Order = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Tensor:
    """A value as C sees it.

    shape: channels last. logical: its shape in the integer graph. order: element i in memory is element `order[i]` of
    the flattened value of the integer graph.
    """

    name: str
    shape: Shape
    logical: Shape
    format: Format
    order: Order

    @property
    def elements(self) -> int:
        return math.prod(self.shape)

    @property
    def itemsize(self) -> int:
        """Bytes of an element: values narrower than 8 bits are held one to a byte."""
        return self.format.type.storage.itemsize

    @property
    def bytes(self) -> int:
        return self.elements * self.itemsize

    @property
    def ctype(self) -> str:
        """The C type of an element, e.g. int8_t."""
        return f"{self.format.type.storage.name}_t"

    @property
    def zero_point(self) -> int:
        return self.format.zero_point

    def stored(self, logical: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Samples of the integer graph, (samples, *logical), as they lie in memory: (samples, elements)."""
        return np.ascontiguousarray(logical.reshape(len(logical), -1)[:, self.order])

    def restored(self, stored: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """The inverse of `stored`."""
        flat = np.empty_like(stored)
        flat[:, self.order] = stored
        return flat.reshape(len(stored), *self.logical)


def channels_last(shape: Shape) -> Shape:
    """Axis 0 becomes the last."""
    return (*shape[1:], *shape[:1])


def last_first(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """An array with its axis 0 made the last, contiguous."""
    return np.ascontiguousarray(np.moveaxis(array, 0, -1)) if array.ndim > 1 else array


def natural_order(shape: Shape) -> Order:
    """The order of a value of this logical shape that is stored channels last."""
    return last_first(np.arange(math.prod(shape), dtype=np.int64).reshape(shape)).ravel()


def tensor(value: Value, order: Order | None = None) -> Tensor:
    """The value, channels last unless told to lie in another order."""
    return Tensor(
        value.name,
        channels_last(value.shape),
        value.shape,
        value.format,
        natural_order(value.shape) if order is None else order,
    )


def lay_out(graph: IntegerGraph) -> tuple[IntegerGraph, Mapping[str, Tensor]]:
    """The graph with its weights made for the order that values lie in, and every value as C sees it.

    A value that is flattened for Linear layers alone stays as it lies, and their weights are reordered instead:
    flattening then costs nothing.
    """
    orders: dict[str, Order] = {}
    operations = list(graph)
    for position, flatten in enumerate(graph):
        readers = [other for other in graph if flatten.output in other.inputs]
        if (
            isinstance(flatten, Reshape)
            and len(graph.result(flatten).shape) == 1
            and flatten.output not in graph.outputs
            and all(isinstance(reader, Linear) for reader in readers)
        ):
            source = graph.values[flatten.inputs[0]]
            order = orders.get(source.name, natural_order(source.shape))
            orders[flatten.output] = order
            for index, reader in enumerate(operations[position:], position):
                if isinstance(reader, Linear) and reader.inputs[0] == flatten.output:
                    operations[index] = replace(reader, weight=reader.weight[:, order])
    laid = replace(graph, operations=tuple(operations)) if orders else graph
    return laid, {name: tensor(value, orders.get(name)) for name, value in graph.values.items()}
