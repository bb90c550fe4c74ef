"""How weights and inputs are held so that one instruction unpacks four weights.

A 16-bit half of a weight word is the number 256 h + l of two weights h and l. The inputs a_h and a_l that they belong
to are held as H = a_h - 127 and L = 256 a_l - H, both of which 16 bits hold for any 8-bit inputs. Then

    (256 h + l) H + l L = 256 (h (a_h - 127) + l a_l)

so two multiply-accumulates of word pairs, SMLAD, with one SXTB16 between them that leaves l of 256 h + l, add 256 times
the four products of a word; the 127 goes into the bias. Sums wrap around in 32 bits without harm as long as 256 times
the whole one fits, which the static bound of the accumulator proves.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from bitsmith.backends.c.kernels import trits
from bitsmith.backends.c.kernels.conv import rows_of
from bitsmith.backends.c.kernels.kernel import Site
from bitsmith.backends.c.kernels.weights import span_bits, weights
from bitsmith.ir.formats import IntegerArray
from bitsmith.ir.integer import Conv, Linear, Requantize, requantized

GROUP = 4
"""Weights of a word."""

UNIT = 8
"""The accumulator is 2^UNIT times the sum of products."""

OFFSET = 127
"""What is taken off the inputs of the upper bytes."""

Words = npt.NDArray[np.uint32]
Wide = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Rescale:
    """The requantize step of an accumulator, as `SMMLA` and `SSAT` do it: `ssat((start + (acc * m >> 32)) >> shift)`.

    Rounding down to 2^32 first loses nothing: floor(floor(X / 2^32 + c) / 2^n) = floor(X / 2^32 + c) over 2^n.
    start: (zero point << shift) + half. lowest, highest: the clamp, where it is not all that 8 bits hold.
    """

    start: int
    shift: int
    lowest: int
    highest: int

    @property
    def is_plain(self) -> bool:
        """Whether saturating to 8 bits is the whole clamp."""
        return (self.lowest, self.highest) == (-128, 127)

    @property
    def label(self) -> str:
        """A name for what the functions that do it need of it: the shift, and the clamp."""
        if self.is_plain:
            return f"SHIFT_{self.shift}"
        return f"SHIFT_{self.shift}_FROM_{self.lowest}_TO_{self.highest}".replace("-", "M")


def rescale(rule: Requantize, unit: int) -> Rescale | None:
    """The step for an accumulator that is 2^unit times the one that the rule is for; None where it has no such form."""
    shift = rule.shift + unit - 32
    if not 1 <= shift <= 22 or rule.caps is not None:
        return None
    start = (rule.zero_point << shift) + (1 << (shift - 1))
    return Rescale(start, shift, rule.lowest, rule.highest)


@dataclass(frozen=True, eq=False)
class Settled:
    """Rows of weights, biases and multipliers of which no sum passes its limit, and that make the same.

    rows: (outputs, k). bias: with the zero point of the input folded in. multiplier: one a channel.
    """

    rows: IntegerArray
    bias: Wide
    multiplier: Wide


def settle(site: Site, rows: IntegerArray, operation: Conv | Linear, unit: int) -> Settled | None:
    """What an operation multiplies by, with the rows of constant channels cleared; None where a sum is too large.

    A channel that its bias holds at one end of the clamp, whatever the inputs, mostly has scales so small that its bias
    is huge. It makes the same without any weights, and with the multiplier and a bias of the size that others have.
    """
    rule, wide = operation.requantize, rows.astype(np.int64)
    # Padding counts as 0, which an input need not reach.
    ends = [wide * (end - site.x.zero_point) for end in (site.ranges[0].lowest, site.ranges[0].highest)] + [0 * wide]
    bias = operation.bias.astype(np.int64)
    low, high = bias + np.min(ends, axis=0).sum(axis=1), bias + np.max(ends, axis=0).sum(axis=1)
    multiplier = np.broadcast_to(rule.multiplier.ravel(), len(rows)).copy()
    too_large = np.maximum(np.abs(low), np.abs(high)) >= 1 << (31 - unit)
    flat = replace(rule, multiplier=multiplier)
    made = requantized(flat, low)
    if np.any(too_large & (made != requantized(flat, high))):
        return None
    usual = int(rule.multiplier.max())
    instead = np.rint(np.ldexp((made - rule.zero_point).astype(np.float64), rule.shift) / usual).astype(np.int64)
    bias[too_large], multiplier[too_large] = instead[too_large], usual
    wide[too_large] = 0
    same = requantized(replace(rule, multiplier=multiplier), bias) == made
    if np.any(too_large & (~same | (np.abs(bias) >= 1 << (31 - unit)))):
        return None
    return Settled(wide, bias - site.x.zero_point * wide.sum(axis=1), multiplier)


@dataclass(frozen=True, eq=False)
class Sums:
    """What an operation multiplies by, and how its sums are rescaled."""

    settled: Settled
    rescale: Rescale


def sums(site: Site, operation: Conv | Linear, unit: int) -> Sums | str:
    """The sums of an operation, 2^unit times those of products when they are rescaled; or why there are none."""
    rule, rows = operation.requantize, rows_of(operation)
    if "dsp" not in site.target.features:
        return "the target has no DSP extension"
    if any(tensor.format.type.storage != np.int8 for tensor in (site.x, site.output)):
        return "it is not of signed 8-bit values"
    last = rescale(rule, unit)
    if last is None:
        return "its requantize step has no form of SMMLA"
    if rule.multiplier.size not in (1, len(rows)):
        return "its multipliers are not by channel"
    settled = settle(site, rows, operation, unit)
    return f"its accumulator may pass 2^{31 - unit}" if settled is None else Sums(settled, last)


def sums_of_bytes(site: Site, operation: Conv | Linear, unpacks: bool = False) -> Sums | str:
    """The same for weights of 8 bits. unpacks: whether weights of fewer are taken too."""
    stored = weights(rows_of(operation), operation.weight_format)
    if stored.bits > 8 or ((stored.bits < 8 or stored.looked_up) and not unpacks):
        return "its weights are packed more tightly, or looked up"
    if int(operation.weight.min(initial=0)) < -127 or int(operation.weight.max(initial=0)) > 127:
        return "its weights pass 127"
    return sums(site, operation, UNIT)


def sums_of_bits(site: Site, operation: Conv | Linear, bits: int, unit: int) -> Sums | str:
    """The same for weights that are held above the lowest of their output."""
    if trits.is_ternary(operation.weight_format):
        return trits.CROWDED
    if (span_bits(rows_of(operation)) or 8) > bits:
        return f"the weights of an output span more than {bits} bits"
    return sums(site, operation, unit)


def words(rows: IntegerArray) -> tuple[Words, npt.NDArray[np.int64]]:
    """The weight words of rows (outputs, k), (outputs, groups), and what is to be added to each row's bias.

    A word holds l, h, l, h from its lowest byte on, of four inputs in order.
    """
    outputs, length = rows.shape
    padded = np.zeros((outputs, -(-length // GROUP) * GROUP), np.int64)
    padded[:, :length] = rows
    quads = padded.reshape(outputs, -1, 2, 2)
    halves = (256 * quads[..., 1] + quads[..., 0]) & 0xFFFF
    return (halves[..., 0] | halves[..., 1] << 16).astype(np.uint32), OFFSET * quads[..., 1].sum(axis=(1, 2))


def starts(bias: npt.NDArray[np.int64], extra: npt.NDArray[np.int64], unit: int = UNIT) -> Words:
    """What accumulators start from, modulo 2^32."""
    return ((bias + extra) << unit & 0xFFFFFFFF).astype(np.uint32)


def stream(settled: Settled, at_once: int, last_first: bool = False) -> Words:
    """All that the products of `at_once` outputs read, in the order in which it is read, outputs after outputs.

    The first word of each row, the starts, the other words group by group, the multipliers. Rows that are not there
    are zeros. last_first: whether the last outputs come first.
    """
    packed, extra = words(settled.rows)
    outputs, groups = packed.shape
    count = -(-outputs // at_once)
    parts = np.zeros((count, at_once, groups + 2), np.uint32)
    flat = parts.reshape(-1, groups + 2)
    flat[:outputs, 0] = packed[:, 0]
    flat[:outputs, 1] = starts(settled.bias, extra)
    flat[:outputs, 2 : groups + 1] = packed[:, 1:]
    flat[:outputs, groups + 1] = settled.multiplier
    return np.ascontiguousarray(parts[:: -1 if last_first else 1].transpose(0, 2, 1)).reshape(-1)


FEW = 24
"""Words of inputs that are expanded by code of their own; for more a function is called."""

LARGEST_UNROLL = 8
"""Groups written out in an inner loop."""


def unroll(groups: int) -> int:
    """How many groups an inner loop does in a round; 0 for no groups.

    A round takes two instructions and a group written out some 70 bytes of flash: four groups are worth a round.
    """

    def price(each: int) -> int:
        return 4 * (groups // each) + each + groups % each

    fitting = [each for each in range(1, LARGEST_UNROLL + 1) if each <= groups]
    return min(fitting, key=price) if fitting else 0
