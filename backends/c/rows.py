"""Operations done a few rows at a time: which rows of its operands a result's rows need, and its site for these.

A row is all that shares a place along the first axis of an image. With channels last, rows are contiguous, so that
some rows of a value are an image of their own, of which any kernel can be asked.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from bitsmith.backends.c.kernels import Site
from bitsmith.backends.c.layout import Tensor, natural_order
from bitsmith.ir.integer import (
    Add,
    AveragePool,
    Concat,
    Conv,
    InterpolatedTable,
    MaxPool,
    Mul,
    Operation,
    Requantize,
    Table,
)


@dataclass(frozen=True)
class Span:
    """Rows `first` to `end`, the latter not included, with rows of padding `before` and `after` them."""

    first: int
    end: int
    before: int = 0
    after: int = 0

    @property
    def count(self) -> int:
        return self.end - self.first


@dataclass(frozen=True)
class Reach:
    """Result row r needs `taps` rows of an operand, `dilation` apart, from `r * stride - pad` on."""

    taps: int = 1
    stride: int = 1
    pad: int = 0
    dilation: int = 1

    def of(self, first: int, end: int, size: int) -> Span:
        """What the result's rows `first` to `end` need of an operand with `size` rows."""
        low = first * self.stride - self.pad
        high = (end - 1) * self.stride - self.pad + (self.taps - 1) * self.dilation + 1
        return Span(max(low, 0), min(high, size), max(-low, 0), max(high - size, 0))


def height(tensor: Tensor) -> int:
    """Rows of an image."""
    return tensor.logical[1]


def row_bytes(tensor: Tensor) -> int:
    """Bytes of a row."""
    return tensor.bytes // height(tensor)


def reaches(site: Site) -> Mapping[int, Reach] | None:
    """By position, how far a result reaches into each computed operand; None for what cannot be done in rows."""
    operation = site.operation
    if len(site.output.logical) < 2 or not _same_everywhere(operation):
        return None
    match operation:
        case Conv():
            taps = operation.weight.shape[2]
        case AveragePool() | MaxPool():
            taps = operation.kernel[0]
        case Table() | InterpolatedTable():
            return {0: Reach()}
        case Add() | Mul():
            whole = all(site.inputs[position].logical == site.output.logical for position in site.parameters)
            even = all(constant.ndim == 0 or constant.shape[0] == 1 for constant in site.constants.values())
            return dict.fromkeys(site.parameters, Reach()) if whole and even else None
        case Concat():
            return dict.fromkeys(site.parameters, Reach()) if operation.axis == 0 else None
        case _:
            return None
    reach = Reach(taps, operation.strides[0], operation.pads[0], operation.dilations[0])
    rows = height(site.output)
    spans = [reach.of(row, row + 1, height(site.x)) for row in (0, rows - 1)]
    # A row that sees padding alone has no image to ask a kernel for.
    return {0: reach} if all(span.count > 0 for span in spans) else None


def striped(site: Site, first: int, end: int, function: str) -> Site:
    """The site of the rows `first` to `end` of a result, as a function of that name."""
    found = reaches(site)
    assert found is not None
    spans = {position: reach.of(first, end, height(site.inputs[position])) for position, reach in found.items()}
    operation = site.operation
    if isinstance(operation, Conv | AveragePool | MaxPool):
        rank = len(operation.strides)
        pads = (spans[0].before, *operation.pads[1:rank], spans[0].after, *operation.pads[rank + 1 :])
        operation = replace(operation, pads=pads)
    inputs = tuple(
        _rows_of(tensor, spans[position].count) if position in spans else tensor
        for position, tensor in enumerate(site.inputs)
    )
    output = _rows_of(site.output, end - first)
    macs = site.macs * (end - first) // height(site.output)
    return replace(site, operation=operation, function=function, inputs=inputs, output=output, macs=macs)


def _rows_of(tensor: Tensor, rows: int) -> Tensor:
    logical = (tensor.logical[0], rows, *tensor.logical[2:])
    return replace(tensor, shape=(*logical[1:], logical[0]), logical=logical, order=natural_order(logical))


def _same_everywhere(operation: Operation) -> bool:
    """Whether the requantize rule, where there is one, is the same in every row."""
    rule = getattr(operation, "requantize", None)
    if not isinstance(rule, Requantize):
        return True
    return all(array is None or math.prod(array.shape[1:]) == 1 for array in (rule.multiplier, rule.caps))
