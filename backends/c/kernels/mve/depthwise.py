"""Depthwise convolution on vectors of channels."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import numpy.typing as npt

from bitsmith.backends.c.kernels.conv import window_of
from bitsmith.backends.c.kernels.dsp.packed import Settled, rescale
from bitsmith.backends.c.kernels.kernel import Constant, Kernel, KernelFamily, Site
from bitsmith.backends.c.kernels.mve.products import HELPERS, refusal, settled, unit
from bitsmith.backends.c.kernels.window import Window
from bitsmith.ir.formats import IntegerArray
from bitsmith.ir.integer import Conv

LANES = 16
"""Channels of a vector."""

MOST_ROWS, MOST_COLUMNS = 5, 7
"""Of a window: each row takes a register, and a load reaches 127 bytes from it."""

ORDER = np.arange(LANES).reshape(4, 4).T[[0, 2, 1, 3]].reshape(-1)
"""Channels in the order of the sums' lanes: widening takes even ones, then odd ones, twice."""


class HeliumDepthwise(KernelFamily):
    """Sixteen channels at a time, from as many rows of the image as the window is high, copied aside with padding.

    Products are added in pairs, or as many as 16 bits hold with these weights, before they are widened to 32 bits. A
    row of the image is copied before anything is written over it, and only channels that were read are written over:
    the result may lie where the input is, unless its rows run ahead of what was copied. Weights are few beside those of
    other layers, and take a byte each whatever their bits.
    """

    name: ClassVar[str] = "helium depthwise"

    def refusal(self, site: Site) -> str | None:
        operation = site.operation
        if not isinstance(operation, Conv):
            return "it is no convolution"
        channels = site.x.shape[-1]
        if operation.groups != channels or len(operation.weight) != channels:
            return "it is not one channel to one"
        over = window_of(site, operation)
        if over.kernel[0] > MOST_ROWS or over.kernel[1] > MOST_COLUMNS or over.dilations != (1, 1):
            return "its window is large or has holes"
        if over.strides[1] > MOST_COLUMNS or max(over.output[1], channels) >= 1 << 16:
            return "it is wider, or its steps are, than a constant counts"
        return refusal(site, operation, widens=True)

    def kernel(self, site: Site) -> Kernel:
        operation = site.operation
        assert isinstance(operation, Conv)
        over, products = window_of(site, operation), settled(site, operation)
        raised = unit(operation.requantize) or 0
        width = (over.output[1] - 1) * over.strides[1] + over.kernel[1]
        groups = grouped(products.rows, max(abs(site.x.format.type.lowest), abs(site.x.format.type.highest)))
        blocks = -(-len(products.rows) // LANES)
        weight = _by_lanes(products.rows.T, blocks).transpose(1, 0, 2)
        last = rescale(operation.requantize, raised)
        assert last is not None
        return Kernel(
            self.name,
            "mve/depthwise.c.j2",
            context={
                "over": over,
                "groups": groups,
                "mask": site.x.shape[-1] % LANES > 0,
                "raised": raised > 0,
                "rescale": last,
                "told": {
                    # Sums are raised as far as it takes to shift them back by one.
                    "by": raised or -last.shift,
                    "channels": site.x.shape[-1],
                    "start": last.start,
                    "width": over.output[1],
                    "height": over.output[0],
                    "pitch": LANES * width,
                    "zero": site.x.zero_point,
                    "above": over.pads[0],
                    "left": LANES * over.pads[1],
                    "seen": min(over.size[1], width - over.pads[1]),
                    "rows": over.size[0],
                    "line": over.size[1] * site.x.shape[-1],
                },
            },
            constants=(
                Constant("weight", "int8_t", weight, "of 16 channels each, tap by tap"),
                Constant("steps", "int32_t", _steps(products, blocks), "of 16 channels each: biases, multipliers"),
            ),
            helpers=HELPERS,
            shared={"image": "mve/depthwise_image.c.j2"},
            scratch=LANES * width * over.kernel[0],
            gaps={0: None} if _stays_behind(over) else {},
            note="on vectors of 16 channels",
        )


def grouped(rows: IntegerArray, magnitude: int) -> list[list[int]]:
    """Taps in the fewest groups of equal length, or one less, whose sums of products fit 16 bits.

    Few ways to group them leave many layers one function. rows: weights, (channels, taps). magnitude: of inputs.
    """
    taps = rows.shape[1]
    reach = np.abs(rows.astype(np.int64)) * magnitude
    for count in range(1, taps):
        groups = [group.tolist() for group in np.array_split(np.arange(taps), count)]
        if all((reach[:, group].sum(axis=1) < 1 << 15).all() for group in groups):
            return groups
    return [[tap] for tap in range(taps)]


def _stays_behind(over: Window) -> bool:
    """Whether each row of outputs ends before the first row of the image that is not yet copied then."""
    rows = np.arange(over.output[0])
    copied = np.minimum(rows * over.strides[0] + over.kernel[0] - over.pads[0], over.size[0])
    return bool(((rows + 1) * over.output[1] <= copied * over.size[1])[copied < over.size[0]].all())


def _by_lanes(values: IntegerArray, blocks: int) -> npt.NDArray[np.int64]:
    """(n, channels) as (n, blocks, 16), filled up with 0."""
    padded = np.zeros((len(values), blocks * LANES), np.int64)
    padded[:, : values.shape[1]] = values
    return padded.reshape(len(values), blocks, LANES)


def _steps(products: Settled, blocks: int) -> npt.NDArray[np.int64]:
    bias = (products.bias + (1 << 31)) % (1 << 32) - (1 << 31)
    return _by_lanes(np.stack([bias, products.multiplier]), blocks)[..., ORDER].transpose(1, 0, 2)
