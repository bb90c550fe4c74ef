"""Convolution of one group: three pixels times two channels at a time."""

from __future__ import annotations

from typing import ClassVar

from bitsmith.backends.c.kernels.conv import weight_rows, window_of
from bitsmith.backends.c.kernels.dsp.packed import FEW, GROUP, UNIT, rescale, settle, stream, unroll, why_not
from bitsmith.backends.c.kernels.kernel import Constant, Kernel, KernelFamily, Site
from bitsmith.backends.c.kernels.window import gap
from bitsmith.ir.integer import Conv

PIXELS, OUTPUTS = 3, 2
"""Of a tile: six accumulators, and what they are fed, are all that the registers hold."""


class DspConv(KernelFamily):
    """Columns of three pixels side by side, expanded to 16 bits, times two rows of packed weights.

    Of 17 instructions 12 multiply and accumulate twice, 24 products in all.
    """

    name: ClassVar[str] = "dsp conv"

    def refusal(self, site: Site) -> str | None:
        operation = site.operation
        if not isinstance(operation, Conv):
            return "it is no convolution"
        if operation.groups != 1:
            return "it has groups"
        outputs = len(operation.weight)
        if outputs % OUTPUTS:
            return "it makes an odd number of channels"
        if (OUTPUTS + PIXELS) * outputs > 4000:
            return "it makes more channels than a store reaches"
        return why_not(site, operation)

    def kernel(self, site: Site) -> Kernel:
        operation = site.operation
        assert isinstance(operation, Conv)
        over, rows = window_of(site, operation), weight_rows(operation)
        outputs, length = rows.shape
        groups = -(-length // GROUP)
        pixels = over.output[0] * over.output[1]
        channels = site.x.shape[-1]
        settled = settle(site, rows, operation, UNIT)
        assert settled is not None
        column = PIXELS * 2 * 4 * groups
        tail = PIXELS * outputs if pixels % PIXELS else 0
        direct = over.is_pointwise and channels % GROUP == 0
        # What is not whole words is gathered byte by byte first.
        gathered = 0 if channels % GROUP == 0 else groups * GROUP
        run = groups if direct or gathered else over.kernel[1] * channels // GROUP
        return Kernel(
            self.name,
            "dsp/conv.c.j2",
            context={
                "over": over,
                "channels": channels,
                "outputs": outputs,
                "groups": groups,
                "few": FEW,
                "unroll": unroll(groups - 1),
                "tiles": pixels // PIXELS,
                "left": pixels % PIXELS,
                "rescale": rescale(operation.requantize, UNIT),
                "direct": direct,
                "gathered": gathered,
                "column": column,
                "tail": tail,
            },
            constants=(
                Constant(
                    "stream",
                    "uint32_t",
                    stream(settled, OUTPUTS),
                    "of two outputs each: weights of four inputs, starts, the other weights, multipliers",
                ),
            ),
            helpers=("dsp/intrinsics.c.j2", *(["dsp/expand_three.c.j2"] if run > FEW else [])),
            scratch=column + (gathered + 3) // 4 * 4 + tail,
            gaps={0: gap(site, over.first_reads(), buffered=True, block=PIXELS)},
            note="packed in pairs for SMLAD",
        )
