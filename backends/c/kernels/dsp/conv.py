"""Convolution of one group: three pixels times two channels at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from bitsmith.backends.c.kernels.conv import weight_rows, window_of
from bitsmith.backends.c.kernels.dsp.packed import FEW, GROUP, UNIT, rescale, settle, stream, why_not
from bitsmith.backends.c.kernels.kernel import Constant, Kernel, KernelFamily, Site
from bitsmith.backends.c.kernels.window import Window, gap
from bitsmith.ir.integer import Conv

PIXELS, OUTPUTS = 3, 2
"""Of a tile: six accumulators, and what they are fed, are all that the registers hold."""

WRITTEN_OUT = 9
"""Groups of inputs in a round of the tile's loop, which can begin at any of them: one function serves all shapes."""


@dataclass(frozen=True)
class Tiling:
    """How an image is made three pixels at a time.

    whole:  tiles that are written where they belong. left: pixels of the last tile, which is made aside; 0 for none.
    beyond: elements that a tile writes after its own: one, in the place of the next pixel, of channels that are odd in
            number, for they are made in pairs.
    aside:  bytes of the last tile.
    """

    whole: int
    left: int
    beyond: int
    aside: int

    @classmethod
    def of(cls, over: Window, outputs: int) -> Tiling:
        """That of an image of so many channels."""
        pixels = over.output[0] * over.output[1]
        beyond = outputs % OUTPUTS
        left = pixels % PIXELS or PIXELS * beyond
        return cls((pixels - left) // PIXELS, left, beyond, PIXELS * outputs + beyond if left else 0)


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
        return why_not(site, operation)

    def kernel(self, site: Site) -> Kernel:
        operation = site.operation
        assert isinstance(operation, Conv)
        over, rows = window_of(site, operation), weight_rows(operation)
        outputs, length = rows.shape
        groups = -(-length // GROUP)
        channels = site.x.shape[-1]
        tiling = Tiling.of(over, outputs)
        settled = settle(site, rows, operation, UNIT)
        assert settled is not None
        column = PIXELS * 2 * 4 * groups
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
                # The first group has code of its own.
                "entry": -(groups - 1) % WRITTEN_OUT if groups > 1 else WRITTEN_OUT,
                "written_out": WRITTEN_OUT,
                "tiles": tiling.whole,
                "left": tiling.left,
                "rescale": rescale(operation.requantize, UNIT),
                "direct": direct,
                "gathered": gathered,
                "column": column,
                "tail": tiling.aside,
            },
            constants=(
                Constant(
                    "stream",
                    "uint32_t",
                    stream(settled, OUTPUTS, last_first=True),
                    "of two outputs each: weights of four inputs, starts, the other weights, multipliers",
                ),
            ),
            helpers=(
                "dsp/intrinsics.c.j2",
                "dsp/tile.c.j2",
                "dsp/conv_tile.c.j2",
                *(["dsp/expand_three.c.j2"] if run > FEW else []),
            ),
            scratch=column + (gathered + 3) // 4 * 4 + tiling.aside,
            gaps={0: gap(site, over.first_reads(), buffered=True, block=PIXELS) + tiling.beyond},
            note="packed in pairs for SMLAD",
        )
