"""Convolution of one group: three pixels times two channels at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from bitsmith.backends.c.kernels.conv import window_of
from bitsmith.backends.c.kernels.dsp.packed import FEW, GROUP, Sums, stream, sums_of_bytes
from bitsmith.backends.c.kernels.kernel import Constant, FittingFamily, Kernel, Site
from bitsmith.backends.c.kernels.served import whole_conv
from bitsmith.backends.c.kernels.window import Window, gap
from bitsmith.ir.integer import Conv

PIXELS, OUTPUTS = 3, 2
"""Of a tile: six accumulators, and what they are fed, are all that the registers hold."""

WRITTEN_OUT = 9
"""Groups of inputs in a round of the tile's loop, which can begin at any of them: one function serves all shapes."""


@dataclass(frozen=True)
class Tiling:
    """How an image is made some pixels at a time.

    whole:  tiles that are written where they belong. left: pixels of the last tile, which is made aside; 0 for none.
    beyond: elements that a tile writes after its own: one, in the place of the next pixel, where channels are made in
            pairs and odd in number.
    aside:  bytes of the last tile.
    """

    whole: int
    left: int
    beyond: int
    aside: int

    @classmethod
    def of(cls, over: Window, outputs: int, at_once: int, together: int = OUTPUTS) -> Tiling:
        """That of an image of so many channels, `together` of which are made in a round."""
        pixels = over.output[0] * over.output[1]
        beyond = -outputs % together
        left = pixels % at_once or at_once * beyond
        return cls((pixels - left) // at_once, left, beyond, at_once * outputs + beyond if left else 0)


class DspConv(FittingFamily[Sums]):
    """Columns of three pixels side by side, expanded to 16 bits, times two rows of packed weights.

    Of 17 instructions 12 multiply and accumulate twice, 24 products in all.
    """

    name: ClassVar[str] = "dsp conv"

    def fit(self, site: Site) -> Sums | str:
        operation = whole_conv(site)
        return operation if isinstance(operation, str) else sums_of_bytes(site, operation)

    def made(self, site: Site, fit: Sums) -> Kernel:
        operation = site.operation
        assert isinstance(operation, Conv)
        over = window_of(site, operation)
        outputs, length = fit.settled.rows.shape
        groups = -(-length // GROUP)
        channels = site.x.shape[-1]
        tiling = Tiling.of(over, outputs, PIXELS)
        column = PIXELS * 2 * 4 * groups
        # What is not whole words is gathered byte by byte first.
        gathered = 0 if channels % GROUP == 0 else groups * GROUP
        run = groups if gathered else over.kernel[1] * channels // GROUP
        points = over.is_pointwise
        return Kernel(
            self.name,
            "dsp/points.c.j2" if points else "dsp/conv.c.j2",
            context={
                "weights": "bytes",
                "tile": "conv_tile",
                "together": OUTPUTS,
                "at_once": PIXELS,
                "group": GROUP,
                "ragged": gathered > 0,
                # A word that begins in a pixel may end in the next one, but not further on.
                "copies": channels == 1,
                "filling": 0,
                "told": {"channels": channels, "tiles": tiling.whole, "left": tiling.left},
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
                "rescale": fit.rescale,
                "gathered": gathered,
                "column": column,
                "tail": tiling.aside,
            },
            constants=(
                Constant(
                    "stream",
                    "uint32_t",
                    stream(fit.settled, OUTPUTS, last_first=True),
                    "of two outputs each: weights of four inputs, starts, the other weights, multipliers",
                ),
            ),
            helpers=(
                "dsp/intrinsics.c.j2",
                "dsp/tile.c.j2",
                "dsp/conv_tile.c.j2",
                *(["dsp/expand_three.c.j2"] if points or run > FEW else []),
            ),
            shared={"points": "dsp/conv_points.c.j2"} if points else {},
            scratch=column + (gathered + 3) // 4 * 4 + tiling.aside,
            gaps={0: gap(site, over.first_reads(), buffered=True, block=PIXELS) + tiling.beyond},
            note="packed in pairs for SMLAD",
        )
