"""Convolution: every output is a row of weights times what its window sees."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from bitsmith.backends.c.kernels.accumulate import bias
from bitsmith.backends.c.kernels.kernel import Kernel, KernelFamily, Site
from bitsmith.backends.c.kernels.requantize import requantize_step
from bitsmith.backends.c.kernels.weights import weights
from bitsmith.backends.c.kernels.window import Window, gap, window
from bitsmith.ir.formats import IntegerArray
from bitsmith.ir.integer import Conv


def window_of(site: Site, operation: Conv) -> Window:
    """The window of a convolution."""
    return window(site, operation.weight.shape[2:], operation.strides, operation.pads, operation.dilations)


def weight_rows(operation: Conv) -> IntegerArray:
    """A row an output, its taps in row-major order and the channels of each side by side: (outputs, taps * inputs)."""
    return np.ascontiguousarray(np.moveaxis(operation.weight, 1, -1)).reshape(len(operation.weight), -1)


class PortableConv(KernelFamily):
    """Any convolution in plain C: each window is gathered into a column first, its padding filled with the zero point.

    A window of one pixel is a column already.
    """

    name: ClassVar[str] = "conv"

    def refusal(self, site: Site) -> str | None:
        return None if isinstance(site.operation, Conv) else "it is no convolution"

    def kernel(self, site: Site) -> Kernel:
        operation = site.operation
        assert isinstance(operation, Conv)
        rows, over = weight_rows(operation), window_of(site, operation)
        stored = weights(rows, operation.weight_format)
        start = bias(site, rows, operation.bias)
        step = requantize_step(operation.requantize, site.magnitude, site.output.logical)
        direct = over.taps == 1 and not over.is_padded and operation.groups == 1
        return Kernel(
            self.name,
            "conv.c.j2",
            context={
                "over": over,
                "groups": operation.groups,
                "inputs": operation.weight.shape[1],
                "outputs": len(rows) // operation.groups,
                "channels": site.x.shape[-1],
                "length": rows.shape[1],
                "direct": direct,
                "weights": stored,
                "zero_point": start.zero_point,
                "padding": start.padding,
                "step": step,
            },
            constants=(*stored.constants, start.constant, *step.constants),
            helpers=step.helpers,
            scratch=0 if direct else rows.shape[1] * site.x.itemsize,
            gaps={0: gap(site, over.first_reads(), buffered=not direct and operation.groups == 1)},
            note=stored.description,
        )


class PortableDepthwise(KernelFamily):
    """A convolution whose outputs read one channel each, in plain C, straight from the image."""

    name: ClassVar[str] = "depthwise"

    def refusal(self, site: Site) -> str | None:
        operation = site.operation
        if not isinstance(operation, Conv):
            return "it is no convolution"
        return None if operation.weight.shape[1] == 1 and operation.groups > 1 else "its outputs read several channels"

    def kernel(self, site: Site) -> Kernel:
        operation = site.operation
        assert isinstance(operation, Conv)
        rows, over = weight_rows(operation), window_of(site, operation)
        stored = weights(rows, operation.weight_format)
        start = bias(site, rows, operation.bias, fold=not over.is_padded)
        step = requantize_step(operation.requantize, site.magnitude, site.output.logical)
        return Kernel(
            self.name,
            "depthwise.c.j2",
            context={
                "over": over,
                "channels": site.x.shape[-1],
                "outputs": len(rows),
                "times": len(rows) // site.x.shape[-1],
                "weights": stored,
                "zero_point": start.zero_point,
                "step": step,
            },
            constants=(*stored.constants, start.constant, *step.constants),
            helpers=step.helpers,
            gaps={0: gap(site, over.first_reads(), buffered=False)},
            note=stored.description,
        )
