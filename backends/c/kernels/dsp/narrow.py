"""Convolution with weights of 4 or 2 bits: 8 or 16 to a word, each unpacked by the instruction that selects it.

Weights are held as u = w - l above the lowest l of their output, little end first in bytes; UXTB16 takes two bytes of a
word. Of 4 bits, a byte is 16 v + u of two weights and an AND leaves u. With their inputs as H = a_v, L = 16 a_u - a_v,

    (16 v + u) H + u L = 16 (v a_v + u a_u)

Of 2 bits, a byte is 64 t + 16 s + 4 r + q of four, three ANDs leave one weight fewer each, and the inputs are a_t,
4 a_s - a_t, 16 a_r - 4 a_s and 64 a_q - 16 a_r. What is missing is l times the sum of all inputs, taken once a pixel.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import numpy.typing as npt

from bitsmith.backends.c.kernels.conv import weight_rows, window_of
from bitsmith.backends.c.kernels.dsp.conv import OUTPUTS, PIXELS, Tiling
from bitsmith.backends.c.kernels.dsp.packed import Settled, rescale, settle
from bitsmith.backends.c.kernels.kernel import Constant, Kernel, KernelFamily, Site
from bitsmith.backends.c.kernels.window import gap
from bitsmith.ir.formats import IntegerArray
from bitsmith.ir.integer import Conv

MASKS = {4: (("0x00FF00FF", "0x000F000F"),), 2: (("0x00FF00FF", "0x003F003F"), ("0x000F000F", "0x00030003"))}
"""By bits, what is left of two bytes of a word by the instructions that unpack them, for four inputs after four."""

FACTORS = {4: (1, 15), 2: (1, 3, 12, 48)}
"""By bits, what the inputs' forms come to where all inputs are 1."""

PLACES = {4: (0, 1, 4, 5, 2, 3, 6, 7), 2: (0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15)}
"""By bits, which of a word's inputs each weight is for, from the lowest on."""

FOUR = 4
"""Inputs that a load takes, and of which a column is made up: 8 of them are expanded together for 2-bit weights."""

WRITTEN_OUT = {4: 6, 2: 4}
"""By bits, words of an output in a round of the tile's loop, which can begin at any four weights of them."""


class DspNarrowConv(KernelFamily):
    """Three pixels times two channels: 37 instructions for 48 products of 4-bit weights, 73 for 96 of 2-bit ones."""

    name: ClassVar[str] = "dsp narrow conv"

    def refusal(self, site: Site) -> str | None:
        operation = site.operation
        if not isinstance(operation, Conv):
            return "it is no convolution"
        rule, rows = operation.requantize, weight_rows(operation)
        if "dsp" not in site.target.features:
            return "the target has no DSP extension"
        if operation.groups != 1:
            return "it has groups"
        if any(tensor.format.type.storage != np.int8 for tensor in (site.x, site.output)):
            return "it is not of signed 8-bit values"
        bits = span_bits(rows)
        if bits is None:
            return "the weights of an output span more than 4 bits"
        if rescale(rule, 8 - bits) is None or rule.multiplier.size not in (1, len(rows)):
            return "its requantize step has no form of SMMLA, or multipliers not by channel"
        return None if settle(site, rows, operation, 8 - bits) else f"its accumulator may pass 2^{23 + bits}"

    def kernel(self, site: Site) -> Kernel:
        operation = site.operation
        assert isinstance(operation, Conv)
        over, rows = window_of(site, operation), weight_rows(operation)
        bits = span_bits(rows)
        assert bits is not None
        settled = settle(site, rows, operation, 8 - bits)
        assert settled is not None
        outputs, length = rows.shape
        # As many inputs as are expanded together; twice as many are a word's.
        chunk = 16 // bits
        fours, channels = -(-length // FOUR), site.x.shape[-1]
        tiling = Tiling.of(over, outputs)
        # Before the inputs of three pixels stand their sums.
        column = PIXELS * 4 * (2 * fours + 1)
        gathered = 0 if channels % chunk == 0 else FOUR * fours
        return Kernel(
            self.name,
            "dsp/conv_narrow.c.j2",
            context={
                "bits": bits,
                "masks": MASKS[bits],
                "factors": FACTORS[bits],
                "chunk": chunk,
                "chunks": FOUR * fours // chunk,
                "leads": bool(FOUR * fours % chunk),
                "step": PIXELS * len(FACTORS[bits]),
                "over": over,
                "channels": channels,
                "outputs": outputs,
                "written_out": WRITTEN_OUT[bits],
                "entry": -fours % (WRITTEN_OUT[bits] * 2 * chunk // FOUR),
                "tiles": tiling.whole,
                "left": tiling.left,
                "rescale": rescale(operation.requantize, 8 - bits),
                "direct": over.is_pointwise and gathered == 0,
                "gathered": gathered,
                "column": column,
                "tail": tiling.aside,
            },
            constants=(
                Constant(
                    "stream",
                    "uint32_t",
                    narrow_stream(settled, bits),
                    f"of two outputs each: lowest weights, starts, {32 // bits} weights a word, multipliers",
                ),
            ),
            helpers=(
                "dsp/intrinsics.c.j2",
                "dsp/tile.c.j2",
                "dsp/narrow.c.j2",
                f"dsp/expand_{bits}_bits.c.j2",
                f"dsp/conv_{bits}_bits_tile.c.j2",
            ),
            scratch=column + gathered + tiling.aside,
            gaps={0: gap(site, over.first_reads(), buffered=True, block=PIXELS) + tiling.beyond},
            note=f"{bits}-bit weights, unpacked for SMLAD",
        )


def span_bits(rows: IntegerArray) -> int | None:
    """The width, 2 or 4 bits, that holds each row's weights above its lowest; None where they take more."""
    span = int(np.ptp(rows.astype(np.int64), axis=1).max(initial=0))
    return next((bits for bits in (2, 4) if span < 1 << bits), None)


def narrow_stream(settled: Settled, bits: int) -> npt.NDArray[np.uint32]:
    """What the products of two outputs read, the last outputs first: lowest weights, starts, words, multipliers.

    A row that fills no whole words begins within its first. Four inputs without the four that would be expanded with
    them come before all others.
    """
    outputs, length = settled.rows.shape
    half = 16 // bits
    lowest = settled.rows.min(axis=1).astype(np.int64)
    above = np.pad(settled.rows - lowest[:, None], ((0, 0), (0, -length % FOUR)))
    if above.shape[1] % half:
        above = np.insert(above, [FOUR] * FOUR, 0, axis=1)
    halves = -(-above.shape[1] // half)
    before, groups = halves % 2 * half, -(-halves // 2)
    above = np.pad(above, ((0, 0), (before, 2 * half * groups - before - above.shape[1]))).reshape(outputs, groups, -1)
    words = (above[..., PLACES[bits]] << (bits * np.arange(2 * half))).sum(axis=-1)
    heads = np.stack([lowest, settled.bias], axis=1) << (8 - bits) & 0xFFFFFFFF
    rows = np.zeros((-(-outputs // OUTPUTS) * OUTPUTS, groups + 3), np.int64)
    rows[:outputs] = np.concatenate([heads, words, settled.multiplier[:, None]], axis=1)
    pairs = rows.reshape(-1, OUTPUTS, groups + 3)[::-1].transpose(0, 2, 1)
    return np.ascontiguousarray(pairs).reshape(-1).astype(np.uint32)
