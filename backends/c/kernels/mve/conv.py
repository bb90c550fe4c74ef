"""Convolution of one group on vectors of inputs: three pixels times two channels at a time."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from bitsmith.backends.c.kernels.conv import window_of
from bitsmith.backends.c.kernels.dsp.packed import Settled, rescale
from bitsmith.backends.c.kernels.kernel import Constant, Kernel, KernelFamily, Site
from bitsmith.backends.c.kernels.mve import narrow
from bitsmith.backends.c.kernels.mve.products import HELPERS, refusal, settled, steps, unit
from bitsmith.backends.c.kernels.served import whole_conv
from bitsmith.backends.c.kernels.weights import span_bits
from bitsmith.backends.c.kernels.window import gap
from bitsmith.ir.integer import Conv

PIXELS, OUTPUTS = 3, 2
"""Of a tile: sums lie in even registers, of which the loop counter leaves seven."""


class HeliumConv(KernelFamily):
    """Columns of three pixels times two rows of weights: 12 instructions for 96 products.

    Rows lie in flash as they are, of any length: loops are predicated on what is left.
    """

    name: ClassVar[str] = "helium conv"

    def refusal(self, site: Site) -> str | None:
        operation = whole_conv(site)
        if isinstance(operation, str):
            return operation
        if len(operation.weight) % OUTPUTS:
            return "it makes an odd number of channels"
        if PIXELS * len(operation.weight) >= 4096 or operation.weight[0].size >= 1 << 16:
            return "it has more channels than a store reaches, or longer rows than a constant counts"
        return self.why_not(site, operation)

    def why_not(self, site: Site, operation: Conv) -> str | None:
        """Why its products cannot be done here; None if they can."""
        return refusal(site, operation)

    def stored(self, products: Settled) -> tuple[narrow.Packing | None, Constant, Constant]:
        """How weights are packed, if they are, the weights, and what else is read of each pair of outputs."""
        length = products.rows.shape[1]
        comment = f"({len(products.rows)}, {length})"
        return None, Constant("weight", "int8_t", products.rows, comment), steps(products, OUTPUTS)

    def kernel(self, site: Site) -> Kernel:
        operation = site.operation
        assert isinstance(operation, Conv)
        over, products = window_of(site, operation), settled(site, operation)
        outputs, length = products.rows.shape
        pixels = over.output[0] * over.output[1]
        left = pixels % PIXELS
        tail = PIXELS * outputs if left else 0
        packing, *constants = self.stored(products)
        raised = unit(operation.requantize) or 0
        return Kernel(
            self.name,
            "mve/conv.c.j2",
            context={
                "packing": packing,
                "over": over,
                "channels": site.x.shape[-1],
                "outputs": outputs,
                "length": length,
                "tiles": pixels // PIXELS,
                "left": left,
                "tail": tail,
                "direct": over.is_pointwise,
                "raised": raised,
                "rescale": rescale(operation.requantize, raised),
            },
            constants=tuple(constants),
            helpers=HELPERS,
            scratch=PIXELS * length + tail,
            gaps={0: gap(site, over.first_reads(), buffered=True, block=PIXELS)},
            note=f"on vectors of 16 inputs, {'8-bit weights' if packing is None else packing.description}",
        )


class HeliumNarrowConv(HeliumConv):
    """The same with packed weights, unpacked by masks and shifts: 25 instructions for 192 products of 4 bits."""

    name: ClassVar[str] = "helium narrow conv"

    def why_not(self, site: Site, operation: Conv) -> str | None:
        return narrow.refusal(site, operation)

    def stored(self, products: Settled) -> tuple[narrow.Packing | None, Constant, Constant]:
        bits = span_bits(products.rows)
        assert bits is not None
        lowest = products.rows.min(axis=1).astype(np.int64)
        return *narrow.packed(products.rows, bits, OUTPUTS), narrow.steps(products, lowest, OUTPUTS)
