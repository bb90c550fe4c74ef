"""Convolution with 4-bit weights: eight to a word, each unpacked by the instruction that selects it.

Weights are held as u = w + 8, two to a byte. The 16-bit halves of a word give bytes 16 v + u of two weights each, one
UXTB16 for two bytes, and one AND leaves their u. With the inputs that they belong to as H = a_v and L = 16 a_u - a_v,

    (16 v + u) H + u L = 16 (v a_v + u a_u)

is 16 times what is wanted and 8 times the sum of all inputs, which is taken once a pixel and off all its sums.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import numpy.typing as npt

from bitsmith.backends.c.kernels.conv import weight_rows, window_of
from bitsmith.backends.c.kernels.dsp.conv import OUTPUTS, PIXELS
from bitsmith.backends.c.kernels.dsp.packed import Settled, rescale, settle, unroll
from bitsmith.backends.c.kernels.kernel import Constant, Kernel, KernelFamily, Site
from bitsmith.backends.c.kernels.weights import narrowest
from bitsmith.backends.c.kernels.window import gap
from bitsmith.ir.integer import Conv

GROUP = 8
"""Weights of a word."""

UNIT = 4
"""The accumulator is 2^UNIT times the sum of products."""

PLACES = (0, 1, 4, 5, 2, 3, 6, 7)
"""Of a group's inputs, from the lowest nibble of its word on: what instructions take from two words of four inputs."""


class DspNibbleConv(KernelFamily):
    """Three pixels times two channels with 4-bit weights: 37 instructions for 48 products."""

    name: ClassVar[str] = "dsp 4-bit conv"

    def refusal(self, site: Site) -> str | None:
        operation = site.operation
        if not isinstance(operation, Conv):
            return "it is no convolution"
        rule, rows = operation.requantize, weight_rows(operation)
        if "dsp" not in site.target.features:
            return "the target has no DSP extension"
        if operation.groups != 1 or len(rows) % OUTPUTS or (OUTPUTS + PIXELS) * len(rows) > 4000:
            return "it has groups, an odd number of channels, or more than a store reaches"
        if any(tensor.format.type.storage != np.int8 for tensor in (site.x, site.output)):
            return "it is not of signed 8-bit values"
        if narrowest(rows) > 4 or int(rows.min()) < -8 or int(rows.max()) > 7:
            return "its weights have no 4 bits with a sign"
        if rescale(rule, UNIT) is None or rule.multiplier.size not in (1, len(rows)):
            return "its requantize step has no form of SMMLA, or multipliers not by channel"
        return None if settle(site, rows, operation, UNIT) else f"its accumulator may pass 2^{31 - UNIT}"

    def kernel(self, site: Site) -> Kernel:
        operation = site.operation
        assert isinstance(operation, Conv)
        over, settled = window_of(site, operation), settle(site, weight_rows(operation), operation, UNIT)
        assert settled is not None
        outputs, length = settled.rows.shape
        groups, words = -(-length // GROUP), -(-length // 4)
        pixels, channels = over.output[0] * over.output[1], site.x.shape[-1]
        # Before the inputs of three pixels stands what their sums start from.
        column = PIXELS * 4 * (4 * groups + 1)
        tail = PIXELS * outputs if pixels % PIXELS else 0
        gathered = 0 if channels % 4 == 0 else words * 4
        return Kernel(
            self.name,
            "dsp/conv_nibbles.c.j2",
            context={
                "over": over,
                "channels": channels,
                "outputs": outputs,
                "groups": groups,
                "words": words,
                "unroll": unroll(groups),
                "tiles": pixels // PIXELS,
                "left": pixels % PIXELS,
                "rescale": rescale(operation.requantize, UNIT),
                "direct": over.is_pointwise and gathered == 0,
                "gathered": gathered,
                "column": column,
                "tail": tail,
            },
            constants=(
                Constant(
                    "stream",
                    "uint32_t",
                    nibble_stream(settled),
                    "of two outputs each: starts, weights of eight inputs, multipliers",
                ),
            ),
            helpers=("dsp/intrinsics.c.j2", "dsp/nibbles.c.j2"),
            scratch=column + gathered + tail,
            gaps={0: gap(site, over.first_reads(), buffered=True, block=PIXELS)},
            note="4-bit weights, unpacked for SMLAD",
        )


def nibble_stream(settled: Settled) -> npt.NDArray[np.uint32]:
    """What the products of two outputs read, outputs after outputs: starts, weight words, multipliers."""
    outputs, length = settled.rows.shape
    groups = -(-length // GROUP)
    biased = np.full((outputs, groups * GROUP), 8, np.int64)
    biased[:, :length] += settled.rows
    nibbles = biased.reshape(outputs, groups, GROUP)[..., PLACES]
    words = (nibbles << (4 * np.arange(GROUP))).sum(axis=-1)
    starts = (settled.bias << UNIT) & 0xFFFFFFFF
    rows = np.concatenate([starts[:, None], words, settled.multiplier[:, None]], axis=1)
    pairs = rows.reshape(-1, OUTPUTS, groups + 2).transpose(0, 2, 1)
    return np.ascontiguousarray(pairs).reshape(-1).astype(np.uint32)
