"""What Linear with packed weights has in common: a column of expanded inputs, times four rows at a time."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from bitsmith.backends.c.kernels.dsp.packed import Settled, Sums, Words
from bitsmith.backends.c.kernels.kernel import Constant, FittingFamily, Kernel, Site
from bitsmith.backends.c.kernels.served import row_linear
from bitsmith.ir.integer import Linear

OUTPUTS = 4
"""Rows of weights that are multiplied side by side."""

GROUP = 8
"""Inputs that are expanded together, to four words, whatever the weights; but for ternary ones."""


class PackedLinear(FittingFamily[Sums]):
    """Rows of packed weights, whose sums are 2^`unit` times those of products when they are rescaled.

    weights: how they are packed, as it stands in the names of functions; spreads: whether inputs are expanded by what a
             convolution does it by.
    sums:    of inputs, stand before the column. filling: the input that comes to nothing.
    group:   inputs that are expanded together, to half as many words. rounds: groups in a round of the loop, which can
             begin at any of them.
    reads:   what the stream is of.
    """

    weights: ClassVar[str]
    spreads: ClassVar[bool]
    unit: ClassVar[int]
    sums: ClassVar[int]
    filling: ClassVar[int]
    group: ClassVar[int] = GROUP
    rounds: ClassVar[int] = 4
    reads: ClassVar[str]
    note: ClassVar[str]

    @abstractmethod
    def stream(self, settled: Settled) -> Words:
        """What four outputs read, then the next four: `reads`; 0 of none."""

    @abstractmethod
    def sums_of(self, site: Site, operation: Linear) -> Sums | str:
        """The sums of products with weights that can be packed so, or why there are none."""

    def fit(self, site: Site) -> Sums | str:
        operation = row_linear(site)
        return operation if isinstance(operation, str) else self.sums_of(site, operation)

    def made(self, site: Site, fit: Sums) -> Kernel:
        outputs, inputs = fit.settled.rows.shape
        groups = -(-inputs // self.group)
        column = 4 * (self.group // 2 * groups + self.sums)
        made = -(-outputs // OUTPUTS) * OUTPUTS
        return Kernel(
            self.name,
            "dsp/linear_packed.c.j2",
            context={
                "weights": self.weights,
                "spreads": self.spreads,
                "unit": self.unit,
                "sums": self.sums,
                "filling": self.filling,
                "group": self.group,
                "inputs": inputs,
                "outputs": outputs,
                "made": made,
                "column": column,
                "written_out": self.rounds,
                "entry": -groups % self.rounds,
                "rescale": fit.rescale,
            },
            constants=(Constant("stream", "uint32_t", self.stream(fit.settled), self.reads),),
            helpers=(
                "dsp/intrinsics.c.j2",
                "dsp/narrow.c.j2",
                *([f"dsp/expand_{self.weights}.c.j2"] if self.spreads else []),
                f"dsp/linear_{self.weights}.c.j2",
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
    """heads, (outputs, n), words, (blocks, m), and the multipliers, in the order in which they are read."""
    first = filled(heads).transpose(0, 2, 1).reshape(len(words), -1)
    stream = np.concatenate([first, words, filled(settled.multiplier)], axis=1)
    return (stream & 0xFFFFFFFF).astype(np.uint32).reshape(-1)
