"""Convolution: every output is a row of weights times what its window sees."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from bitsmith.backends.c.kernels import trits
from bitsmith.backends.c.kernels.accumulate import bias
from bitsmith.backends.c.kernels.kernel import Constant, Kernel, KernelFamily, Site
from bitsmith.backends.c.kernels.requantize import requantize_step
from bitsmith.backends.c.kernels.served import whole_conv
from bitsmith.backends.c.kernels.weights import weights
from bitsmith.backends.c.kernels.window import Window, gap, window
from bitsmith.ir.formats import IntegerArray
from bitsmith.ir.integer import Conv, Linear


def window_of(site: Site, operation: Conv) -> Window:
    """The window of a convolution."""
    return window(site, operation.weight.shape[2:], operation.strides, operation.pads, operation.dilations)


def weight_rows(operation: Conv) -> IntegerArray:
    """A row an output, its taps in row-major order and the channels of each side by side: (outputs, taps * inputs)."""
    return np.ascontiguousarray(np.moveaxis(operation.weight, 1, -1)).reshape(len(operation.weight), -1)


def rows_of(operation: Conv | Linear) -> IntegerArray:
    """A row an output, in the order in which its inputs lie in memory."""
    return weight_rows(operation) if isinstance(operation, Conv) else operation.weight


@dataclass(frozen=True, eq=False)
class Products:
    """What every convolution has: weights, bias and requantize step, as kernels and their templates take them."""

    context: dict[str, Any]
    constants: tuple[Constant, ...]
    helpers: tuple[str, ...]
    note: str

    @classmethod
    def of(cls, site: Site, operation: Conv) -> Products:
        """Those of a convolution."""
        rows = weight_rows(operation)
        stored = weights(rows, operation.weight_format)
        start = bias(site, rows, operation.bias)
        step = requantize_step(operation.requantize, site.magnitude, site.output.logical)
        context = {
            "channels": site.x.shape[-1],
            "length": rows.shape[1],
            "weights": stored,
            "zero_point": start.zero_point,
            "padding": start.padding,
            "step": step,
        }
        return cls(context, (*stored.constants, start.constant, *step.constants), step.helpers, stored.description)


ROUND = {1: (4, 8), 2: (4, 8), 4: (2, 2)}
"""By rows side by side, inputs of a round, if no element takes more: of weights in bytes, and of packed ones."""


class PortableConv(KernelFamily):
    """A convolution of one group in plain C, two pixels and two outputs at a time, four where the registers suffice.

    The windows of the two pixels are gathered into columns first, their padding filled with the zero point. Four sums
    side by side load half of what they would one by one. A window of one pixel is a column already.
    """

    name: ClassVar[str] = "conv"

    def refusal(self, site: Site) -> str | None:
        operation = whole_conv(site)
        return operation if isinstance(operation, str) else None

    def kernel(self, site: Site) -> Kernel:
        operation = site.operation
        assert isinstance(operation, Conv)
        over = window_of(site, operation)
        products = Products.of(site, operation)
        length = products.context["length"]
        direct = over.is_pointwise
        outputs, stored, step = len(operation.weight), products.context["weights"], products.context["step"]
        at_once = 4 if "registers" in site.target.features else 2
        at_once = at_once if outputs >= at_once else 1
        whole, rest = divmod(length, stored.per_byte)
        unroll = max(ROUND[at_once][stored.per_byte > 1] // stored.per_byte, 1)
        more = whole % unroll
        # One function serves all sizes that fill rounds, and another all that do not.
        ragged = outputs % at_once > 0 or (not stored.ternary and (more > 0 or rest > 0))
        told = {"outputs": outputs, **({"length": length} if stored.ternary else {"whole": whole - more})}
        if ragged and not stored.ternary:
            told |= {"more": more, **({"rest": rest} if stored.per_byte > 1 else {})}
        return Kernel(
            self.name,
            "conv.c.j2",
            context={
                **products.context,
                "over": over,
                "direct": direct,
                "outputs": outputs,
                "at_once": at_once,
                "unroll": unroll,
                "ragged": ragged,
                "step": step.told(),
                "told": {**told, **step.numbers},
            },
            constants=(interleaved(products.constants[0], at_once), *products.constants[1:]),
            helpers=step.told().helpers,
            shared={"pair": "conv_pair.c.j2"},
            scratch=0 if direct else 2 * length * site.x.itemsize,
            gaps={0: gap(site, over.first_reads(), buffered=not direct, block=2)},
            note=products.note,
        )


def interleaved(weight: Constant, at_once: int) -> Constant:
    """Rows of weights, so many side by side that one pointer walks along all; those that are left as they are."""
    rows = weight.data
    whole = len(rows) // at_once * at_once
    blocks = rows[:whole].reshape(-1, at_once, rows.shape[1]).transpose(0, 2, 1)
    comment = f"{weight.comment}, {at_once} rows side by side" if at_once > 1 else weight.comment
    return replace(weight, data=np.concatenate([blocks.ravel(), rows[whole:].ravel()]), comment=comment)


class PortableGroupedConv(KernelFamily):
    """Any convolution in plain C, one pixel and one output at a time."""

    name: ClassVar[str] = "grouped conv"

    def refusal(self, site: Site) -> str | None:
        return None if isinstance(site.operation, Conv) else "it is no convolution"

    def kernel(self, site: Site) -> Kernel:
        operation = site.operation
        assert isinstance(operation, Conv)
        over = window_of(site, operation)
        products = Products.of(site, operation)
        return Kernel(
            self.name,
            "conv_grouped.c.j2",
            context={
                **products.context,
                "over": over,
                "groups": operation.groups,
                "inputs": operation.weight.shape[1],
                "outputs": len(operation.weight) // operation.groups,
            },
            constants=products.constants,
            helpers=products.helpers,
            scratch=products.context["length"] * site.x.itemsize,
            gaps={0: gap(site, over.first_reads(), buffered=False)},
            note=products.note,
        )


WRITTEN_OUT = 25
"""Taps of a window, at the most, that are no loop."""


class PortableDepthwise(KernelFamily):
    """A convolution whose outputs read one channel each, in plain C, straight from the image."""

    name: ClassVar[str] = "depthwise"

    def refusal(self, site: Site) -> str | None:
        operation = site.operation
        if not isinstance(operation, Conv):
            return "it is no convolution"
        if operation.weight.shape[1] > 1 or operation.groups == 1:
            return "its outputs read several channels"
        crowded = trits.is_ternary(operation.weight_format) and operation.weight[0].size > trits.FARTHEST
        return trits.CROWDED if crowded else None

    def kernel(self, site: Site) -> Kernel:
        operation = site.operation
        assert isinstance(operation, Conv)
        over = window_of(site, operation)
        products = Products.of(site, operation)
        channels, outputs = site.x.shape[-1], len(operation.weight)
        padding = Constant("padding", site.x.ctype, np.full(channels, site.x.zero_point), "a pixel that stands for 0.0")
        step, size = products.context["step"], dict(zip(("height", "width"), over.size, strict=True))
        helpers = [*products.helpers, *(step.told().helpers if over.is_padded else ())]
        if products.context["weights"].ternary and (over.is_padded or over.taps > WRITTEN_OUT):
            helpers.append("trit.c.j2")
        return Kernel(
            self.name,
            "depthwise.c.j2",
            context={
                **products.context,
                "over": over,
                "outputs": outputs,
                "times": outputs // channels,
                "written_out": over.taps <= WRITTEN_OUT,
                "told": {"outputs": outputs, **size, "channels": channels, **step.numbers},
            },
            constants=(*products.constants, *([padding] if over.is_padded else [])),
            helpers=tuple(dict.fromkeys(helpers)),
            shared={"edge": "depthwise_edge.c.j2"} if over.is_padded else {},
            gaps={0: gap(site, over.first_reads(), buffered=False)},
            note=products.note,
        )
