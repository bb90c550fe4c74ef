"""Linear with weights of 4 or 2 bits: unpacking is shared by no pixels here, so a form that needs none comes first.

Of 4 bits, a 16-bit half of a word holds four weights, V = 4096 d + 256 c + 16 b + a: a, b and c above the lowest weight
of their output, and d, which gives the half its sign, 8 less. With H = x_d - 127,

    V H + (16 b + a) (256 x_b - H) + 256 c (16 x_c - H) + 256 a (16 x_a - x_b)

is 4096 (a x_a + b x_b + c x_c + d (x_d - 127)), and all four factors of inputs fit 16 bits. UXTB16 leaves 16 b + a, and
ANDs leave c, and a of the half shifted. Of 2 bits, a half holds eight weights, and the sum is 2^14 times that of the
products. What is missing is the lowest weight times the sum of all inputs, and 8, or 2, times the sum of those of d.
"""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from bitsmith.backends.c.kernels.dsp.narrow import PLACES, span_bits
from bitsmith.backends.c.kernels.dsp.packed import OFFSET, Settled, rescale, settle
from bitsmith.backends.c.kernels.kernel import Constant, Kernel, KernelFamily, Site
from bitsmith.ir.integer import Linear

OUTPUTS = 4
"""Rows of weights that are multiplied side by side."""

UNITS = {4: 12, 2: 14}
"""By bits, the accumulator is 2^unit times the sum of products."""

FORMS = {
    4: ((0, ""), (0, "0x00FF00FF"), (0, "0x0F000F00"), (8, "0x0F000F00")),
    2: (
        (0, ""),
        (0, "0x30003000"),
        (0, "0x0C000C00"),
        (0, "0x03000300"),
        (0, "0x00FF00FF"),
        (4, "0x03000300"),
        (6, "0x03000300"),
        (8, "0x03000300"),
    ),
}
"""By bits, how far a word of weights is shifted and what is left of it, product after product."""

WRITTEN_OUT = 4
"""Words of an output in a round of the loop."""


class DspNarrowLinear(KernelFamily):
    """Four rows at a time: 31 instructions for 32 products of 4-bit weights, 65 for 64 of 2-bit ones."""

    name: ClassVar[str] = "dsp narrow linear"

    def refusal(self, site: Site) -> str | None:
        operation = site.operation
        if not isinstance(operation, Linear):
            return "it is no Linear"
        rule, rows = operation.requantize, operation.weight
        if "dsp" not in site.target.features:
            return "the target has no DSP extension"
        if math.prod(site.x.shape) != rows.shape[1]:
            return "its input has several rows"
        if any(tensor.format.type.storage != np.int8 for tensor in (site.x, site.output)):
            return "it is not of signed 8-bit values"
        bits = span_bits(rows)
        if bits is None:
            return "the weights of an output span more than 4 bits"
        if rescale(rule, UNITS[bits]) is None or rule.multiplier.size not in (1, len(rows)):
            return "its requantize step has no form of SMMLA, or multipliers not by channel"
        return None if settle(site, rows, operation, UNITS[bits]) else f"its accumulator may pass 2^{31 - UNITS[bits]}"

    def kernel(self, site: Site) -> Kernel:
        operation = site.operation
        assert isinstance(operation, Linear)
        outputs, inputs = operation.weight.shape
        bits = span_bits(operation.weight)
        assert bits is not None
        settled = settle(site, operation.weight, operation, UNITS[bits])
        assert settled is not None
        group = 32 // bits
        groups = -(-inputs // group)
        # Before the inputs stand their two sums.
        column = 4 * (len(FORMS[bits]) * groups + 2)
        made = -(-outputs // OUTPUTS) * OUTPUTS
        return Kernel(
            self.name,
            "dsp/linear_narrow.c.j2",
            context={
                "bits": bits,
                "forms": FORMS[bits],
                "unit": UNITS[bits],
                "group": group,
                "inputs": inputs,
                "outputs": outputs,
                "made": made,
                "column": column,
                "written_out": WRITTEN_OUT,
                "entry": -groups % WRITTEN_OUT,
                "rescale": rescale(operation.requantize, UNITS[bits]),
            },
            constants=(
                Constant(
                    "stream",
                    "uint32_t",
                    linear_stream(settled, bits),
                    f"of four outputs each: lowest weights, starts, {group} weights a word, multipliers",
                ),
            ),
            helpers=("dsp/intrinsics.c.j2", "dsp/narrow.c.j2", f"dsp/linear_{bits}_bits.c.j2"),
            scratch=column + (made if made > outputs else 0),
            # The input is read through before anything is written.
            gaps={0: -site.output.bytes},
            note=f"{bits}-bit weights, unpacked for SMLAD",
        )


def linear_stream(settled: Settled, bits: int) -> npt.NDArray[np.uint32]:
    """What the products of four outputs read: lowest weights, starts, words, multipliers; 0 of none."""
    outputs, inputs = settled.rows.shape
    group = 32 // bits
    groups = -(-inputs // group)
    lowest = settled.rows.min(axis=1).astype(np.int64)
    above = np.zeros((outputs, groups * group), np.int64)
    above[:, :inputs] = settled.rows - lowest[:, None]
    # Fields by half, each half's last with a sign.
    fields = above.reshape(outputs, groups, group)[..., PLACES[bits]].reshape(outputs, groups, 2, group // 2)
    there = np.zeros(groups * group, np.int64)
    there[:inputs] = 1
    signed = there.reshape(groups, group)[:, PLACES[bits]].reshape(groups, 2, group // 2)[..., -1]
    fields[..., -1] -= signed << (bits - 1)
    start = settled.bias + OFFSET * fields[..., -1].sum(axis=(1, 2))
    halves = (fields << bits * np.arange(group // 2)).sum(axis=-1) & 0xFFFF
    words = halves[..., 0] | halves[..., 1] << 16
    heads = np.stack([lowest, start], axis=1) << UNITS[bits] & 0xFFFFFFFF
    rows = np.zeros((-(-outputs // OUTPUTS) * OUTPUTS, groups + 3), np.int64)
    rows[:outputs] = np.concatenate([heads, words, settled.multiplier[:, None]], axis=1)
    blocks = rows.reshape(-1, OUTPUTS, groups + 3).transpose(0, 2, 1)
    return np.ascontiguousarray(blocks).reshape(-1).astype(np.uint32)
