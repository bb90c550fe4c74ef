"""What Linear with packed weights has in common: a column of expanded inputs, times four rows at a time."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from bitsmith.backends.c.kernels.dsp.packed import Settled, Sums, Words, sums_of_bits
from bitsmith.backends.c.kernels.kernel import Constant, FittingFamily, Kernel, Site
from bitsmith.backends.c.kernels.served import row_linear

OUTPUTS = 4
"""Rows of weights that are multiplied side by side."""

GROUP = 8
"""Inputs that are expanded together: to four words, whatever the weights."""

WRITTEN_OUT = 4
"""Groups in a round of the loop, which can begin at any of them."""


class PackedLinear(FittingFamily[Sums]):
    """Rows of weights packed in `bits`, whose sums are 2^`unit` times those of products when they are rescaled.

    sums: of inputs, stand before the column. filling: the input that comes to nothing.
    """

    bits: ClassVar[int]
    unit: ClassVar[int]
    sums: ClassVar[int]
    filling: ClassVar[int]
    note: ClassVar[str]

    @abstractmethod
    def stream(self, settled: Settled) -> Words:
        """What four outputs read, then the next four: lowest weights, starts, words, multipliers; 0 of none."""

    def fit(self, site: Site) -> Sums | str:
        operation = row_linear(site)
        return operation if isinstance(operation, str) else sums_of_bits(site, operation, self.bits, self.unit)

    def made(self, site: Site, fit: Sums) -> Kernel:
        outputs, inputs = fit.settled.rows.shape
        groups = -(-inputs // GROUP)
        column = 4 * (GROUP // 2 * groups + self.sums)
        made = -(-outputs // OUTPUTS) * OUTPUTS
        return Kernel(
            self.name,
            "dsp/linear_packed.c.j2",
            context={
                "bits": self.bits,
                "unit": self.unit,
                "sums": self.sums,
                "filling": self.filling,
                "group": GROUP,
                "inputs": inputs,
                "outputs": outputs,
                "made": made,
                "column": column,
                "written_out": WRITTEN_OUT,
                "entry": -groups % WRITTEN_OUT,
                "rescale": fit.rescale,
            },
            constants=(
                Constant(
                    "stream",
                    "uint32_t",
                    self.stream(fit.settled),
                    f"of four outputs each: lowest weights, starts, {32 // self.bits} weights a word, multipliers",
                ),
            ),
            helpers=(
                "dsp/intrinsics.c.j2",
                "dsp/narrow.c.j2",
                *(["dsp/expand_2_bits.c.j2"] if self.bits == 2 else []),
                f"dsp/linear_{self.bits}_bits.c.j2",
            ),
            scratch=column + (made if made > outputs else 0),
            # The input is read through before anything is written.
            gaps={0: -site.output.bytes},
            note=self.note,
        )


def above_lowest(settled: Settled) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The lowest weight of each output, and its weights above that, filled up with 0: (outputs, groups, GROUP)."""
    outputs, inputs = settled.rows.shape
    lowest = settled.rows.min(axis=1).astype(np.int64)
    above = np.zeros((outputs, -(-inputs // GROUP) * GROUP), np.int64)
    above[:, :inputs] = settled.rows - lowest[:, None]
    return lowest, above.reshape(outputs, -1, GROUP)


def filled(values: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Values by output, (outputs, ...), as blocks of four, (blocks, 4, ...), with 0 for outputs that are not there."""
    made = np.zeros((-(-len(values) // OUTPUTS) * OUTPUTS, *values.shape[1:]), np.int64)
    made[: len(values)] = values
    return made.reshape(-1, OUTPUTS, *values.shape[1:])


def streamed(heads: npt.NDArray[np.int64], words: npt.NDArray[np.int64], settled: Settled) -> Words:
    """heads, (outputs, 2), words, (blocks, n), and the multipliers, in the order in which they are read."""
    first = filled(heads).transpose(0, 2, 1).reshape(len(words), -1)
    stream = np.concatenate([first, words, filled(settled.multiplier)], axis=1)
    return (stream & 0xFFFFFFFF).astype(np.uint32).reshape(-1)
