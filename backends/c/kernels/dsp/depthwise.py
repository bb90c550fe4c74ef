"""Depthwise convolution, 3x3: a channel at a time, its image spread out as 16-bit numbers."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from bitsmith.backends.c.kernels.conv import window_of
from bitsmith.backends.c.kernels.dsp.packed import UNIT, Sums, starts, sums_of_bytes
from bitsmith.backends.c.kernels.kernel import Constant, FittingFamily, Kernel, Site
from bitsmith.backends.c.kernels.weights import weights
from bitsmith.backends.c.kernels.window import Window
from bitsmith.ir.formats import Format, IntegerType
from bitsmith.ir.integer import Conv

LARGEST_CHUNK = 8
"""Columns that are copied in a round."""

REACH = 1020
"""Bytes that a load of two words reaches from its base."""


class DspDepthwise(FittingFamily[Sums]):
    """Two neighbouring outputs read the same two words a row: 12 instructions for their 18 products.

    A channel is copied to a padded plane before anything of it is written, so the result may lie where the input is.
    """

    name: ClassVar[str] = "dsp depthwise"

    def fit(self, site: Site) -> Sums | str:
        operation = site.operation
        if not isinstance(operation, Conv):
            return "it is no convolution"
        channels = site.x.shape[-1]
        if operation.groups != channels or len(operation.weight) != channels:
            return "it is not one channel to one"
        over = window_of(site, operation)
        if over.kernel != (3, 3) or over.dilations != (1, 1) or over.strides not in ((1, 1), (2, 2)):
            return "it is not 3x3 in steps of 1 or 2"
        if 4 * _width(over) + 4 > REACH or channels > 2000:
            return "it is too wide"
        return sums_of_bytes(site, operation, unpacks=True)

    def made(self, site: Site, fit: Sums) -> Kernel:
        operation = site.operation
        assert isinstance(operation, Conv)
        over, settled = window_of(site, operation), fit.settled
        stride, channels = over.strides[0], site.x.shape[-1]
        width, height = _width(over), (over.output[0] - 1) * stride + 3
        seen = tuple(min(over.size[axis], (height, width)[axis] - over.pads[axis]) for axis in range(2))
        # Rows that were cleared may not be of the grid that the others are packed for.
        grid = operation.weight_format.grid
        packs = grid is None or grid.holds(settled.rows)
        stored = weights(settled.rows, operation.weight_format if packs else EIGHT_BITS)
        bias = starts(settled.bias, np.zeros(channels, np.int64))
        return Kernel(
            self.name,
            "dsp/depthwise.c.j2",
            context={
                "over": over,
                "channels": channels,
                "stride": stride,
                "width": width,
                "height": height,
                "seen": seen,
                "chunk": max(n for n in range(1, LARGEST_CHUNK + 1) if seen[1] % n == 0),
                "rescale": fit.rescale,
                "weights": stored,
            },
            constants=(
                *stored.constants,
                Constant("bias", "uint32_t", bias, f"times 2^{UNIT}, modulo 2^32"),
                Constant("multiplier", "uint32_t", settled.multiplier),
            ),
            helpers=("dsp/intrinsics.c.j2",),
            scratch=PARAMETERS + (2 * width * height + 3) // 4 * 4,
            gaps={0: None},
            note=f"channel by channel, for SMLAD, {stored.description}",
        )


EIGHT_BITS = Format(IntegerType(8), (1.0,))

PARAMETERS = 4 * 9
"""Bytes of what the inner loop is told of a channel."""


def _width(over: Window) -> int:
    """Numbers in a row of the plane: an even one, so that rows begin at a word."""
    outputs = over.output[1]
    return 2 * outputs + 2 if over.strides[1] == 2 else 2 * -(-outputs // 2) + 2
