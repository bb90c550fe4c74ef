"""What convolutions with packed weights have in common: columns of expanded inputs, times a row or two at a time."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from bitsmith.backends.c.kernels.conv import window_of
from bitsmith.backends.c.kernels.dsp.conv import OUTPUTS, Tiling
from bitsmith.backends.c.kernels.dsp.packed import Settled, Sums, Words
from bitsmith.backends.c.kernels.kernel import Constant, FittingFamily, Kernel, Site
from bitsmith.backends.c.kernels.served import whole_conv
from bitsmith.backends.c.kernels.window import gap
from bitsmith.ir.integer import Conv


class PackedConv(FittingFamily[Sums]):
    """Rows of packed weights, whose sums are 2^`unit` times those of products when they are rescaled.

    weights:  how they are packed, as it stands in the names of functions; spreads: whether that which expands inputs is
              told how far apart words of a column lie.
    together: outputs that are made in a round.
    pixels:   columns that lie side by side, each after the sum of its inputs, to which `moved` is added first.
    group:    inputs that are expanded together, to half as many words. rounds: groups in a round of the tile's loop,
              which can begin at any of them.
    factors:  what a group's words come to where all its inputs are 1.
    ctype:    of the stream. reads: what that is of.
    """

    weights: ClassVar[str]
    spreads: ClassVar[bool]
    unit: ClassVar[int]
    together: ClassVar[int] = OUTPUTS
    pixels: ClassVar[int]
    group: ClassVar[int]
    rounds: ClassVar[int]
    factors: ClassVar[tuple[int, ...]]
    moved: ClassVar[int]
    ctype: ClassVar[str] = "uint32_t"
    reads: ClassVar[str]
    note: ClassVar[str]

    @abstractmethod
    def stream(self, settled: Settled) -> npt.NDArray[np.unsignedinteger[Any]]:
        """What the outputs of a round read, the last outputs first: `reads`; 0 of none."""

    @abstractmethod
    def sums_of(self, site: Site, operation: Conv) -> Sums | str:
        """The sums of products with weights that can be packed so, or why there are none."""

    def fit(self, site: Site) -> Sums | str:
        operation = whole_conv(site)
        return operation if isinstance(operation, str) else self.sums_of(site, operation)

    def made(self, site: Site, fit: Sums) -> Kernel:
        operation = site.operation
        assert isinstance(operation, Conv)
        over, channels = window_of(site, operation), site.x.shape[-1]
        outputs, length = fit.settled.rows.shape
        groups = -(-length // self.group)
        tiling = Tiling.of(over, outputs, self.pixels, self.together)
        column = self.pixels * 4 * (self.group // 2 * groups + 1)
        gathered = 0 if channels % self.group == 0 else self.group * groups
        zero = site.x.zero_point + self.moved
        return Kernel(
            self.name,
            "dsp/points.c.j2" if over.is_pointwise else "dsp/conv_packed.c.j2",
            context={
                "tile": f"conv_{self.weights}_tile",
                "together": self.together,
                "ragged": gathered > 0,
                # The sum of a pixel's inputs is of its own alone.
                "copies": True,
                "told": {"channels": channels, "tiles": tiling.whole, "left": tiling.left},
                "weights": self.weights,
                "spreads": self.spreads,
                "unit": self.unit,
                "at_once": self.pixels,
                "rounds": self.rounds,
                "group": self.group,
                "groups": groups,
                # Of padding, which stands for 0.0.
                "padding": [f"0x{factor * zero % 65536 * 65537:08X}u" for factor in self.factors],
                "padding_sum": channels * zero % (1 << 32),
                "filling": -self.moved,
                "over": over,
                "channels": channels,
                "outputs": outputs,
                "entry": -groups % self.rounds,
                "tiles": tiling.whole,
                "left": tiling.left,
                "rescale": fit.rescale,
                "gathered": gathered,
                "column": column,
                "tail": tiling.aside,
            },
            constants=(Constant("stream", self.ctype, self.stream(fit.settled), self.reads),),
            helpers=(
                "dsp/intrinsics.c.j2",
                "dsp/tile.c.j2",
                "dsp/narrow.c.j2",
                f"dsp/expand_{self.weights}.c.j2",
                f"dsp/conv_{self.weights}_tile.c.j2",
            ),
            shared={"points": "dsp/conv_points.c.j2"} if over.is_pointwise else {},
            scratch=column + (gathered + 3) // 4 * 4 + tiling.aside,
            gaps={0: gap(site, over.first_reads(), buffered=True, block=self.pixels) + tiling.beyond},
            note=self.note,
        )


def streamed(heads: npt.NDArray[np.int64], words: npt.NDArray[np.int64], settled: Settled) -> Words:
    """heads, (outputs, 2), words, (pairs of outputs, n), and multipliers, in the order in which they are read."""
    pairs = len(words)
    table = np.zeros((OUTPUTS * pairs, 3), np.int64)
    table[: len(heads)] = np.concatenate([heads, settled.multiplier[:, None]], axis=1)
    first = table.reshape(pairs, OUTPUTS, 3).transpose(0, 2, 1)
    stream = np.concatenate([first[:, :2].reshape(pairs, -1), words, first[:, 2]], axis=1)
    return (stream[::-1] & 0xFFFFFFFF).astype(np.uint32).reshape(-1)
