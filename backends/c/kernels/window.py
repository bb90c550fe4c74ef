"""Windows that slide over an image, and how far what they write may run ahead of what they still have to read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bitsmith.backends.c.kernels.kernel import Site


@dataclass(frozen=True)
class Window:
    """A kernel over rows and columns; over one axis it is one row high.

    Each pair is of rows, then columns. pads: before; what lies after the image is as much padding as is asked for.
    """

    size: tuple[int, int]
    output: tuple[int, int]
    kernel: tuple[int, int]
    strides: tuple[int, int]
    pads: tuple[int, int]
    dilations: tuple[int, int]

    @property
    def taps(self) -> int:
        return self.kernel[0] * self.kernel[1]

    @property
    def is_padded(self) -> bool:
        """Whether any window reaches beyond the image."""
        return any(self.reaches_before(axis) or self.reaches_after(axis) for axis in range(2))

    def reaches_before(self, axis: int) -> bool:
        """Whether the first window begins before the image."""
        return self.pads[axis] > 0

    def reaches_after(self, axis: int) -> bool:
        """Whether the last window ends after the image."""
        last = (self.output[axis] - 1) * self.strides[axis] - self.pads[axis]
        return last + (self.kernel[axis] - 1) * self.dilations[axis] >= self.size[axis]

    @property
    def is_pointwise(self) -> bool:
        """Whether output pixel i reads input pixel i alone."""
        return self.kernel == self.strides == (1, 1) and not self.is_padded and self.size == self.output

    def places(self, axis: int) -> npt.NDArray[np.int64]:
        """Where each tap of each window falls along an axis: (outputs, taps); beyond the image for padding."""
        starts = np.arange(self.output[axis]) * self.strides[axis] - self.pads[axis]
        places: npt.NDArray[np.int64] = starts[:, None] + np.arange(self.kernel[axis]) * self.dilations[axis]
        return places

    def first_reads(self) -> npt.NDArray[np.int64]:
        """The first pixel that each window reads, (output pixels,); that after the last where it is all padding."""
        pixels = self.size[0] * self.size[1]
        firsts = []
        for axis in range(2):
            places = self.places(axis)
            inside = (places >= 0) & (places < self.size[axis])
            firsts.append(np.where(inside, places, pixels).min(axis=1))
        lowest: npt.NDArray[np.int64] = firsts[0][:, None] * self.size[1] + firsts[1][None]
        return np.minimum(lowest, pixels).ravel()


def window(
    site: Site, kernel: Sequence[int], strides: Sequence[int], pads: Sequence[int], dilations: Sequence[int]
) -> Window:
    """The window of a convolution or a pool over one or two axes."""
    rank = len(kernel)

    def pair(items: Sequence[int], filler: int) -> tuple[int, int]:
        return (items[0], items[1]) if rank == 2 else (filler, items[0])

    return Window(
        pair(site.x.logical[1:], 1),
        pair(site.output.logical[1:], 1),
        pair(kernel, 1),
        pair(strides, 1),
        pair(pads[:rank], 0),
        pair(dilations, 1),
    )


def gap(site: Site, first_reads: npt.NDArray[np.int64], buffered: bool, block: int = 1) -> int:
    """How many bytes before its input's first byte the output must begin, where pixels are made in order.

    first_reads: the first pixel of the input that each pixel of the output needs.
    buffered:    whether all that a block of pixels needs is read before anything of it is written.
    """
    count = len(first_reads)
    starts = np.arange(0, count, block)
    ends = np.minimum(starts + block, count) * (site.output.bytes // count)
    pixels = site.x.elements // site.x.shape[-1]
    still = (np.minimum.accumulate(first_reads[::-1])[::-1] * (site.x.bytes // pixels))[starts]
    if not buffered:
        return int((ends - still).max())
    return int((ends[:-1] - still[1:]).max()) if len(ends) > 1 else -site.output.bytes
