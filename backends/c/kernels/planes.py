"""Products without a multiplier: bit planes of weights, looked up in sums of activations.

Four activations have sixteen sums of some of them. A plane of four weights, one bit of each, is a number from 0 to 15
that says which: so a table of those sums, made once a window, gives what a plane of four weights adds by one load. A
weight of B bits is B planes, the highest of which counts negative (bit-serial tables: Wei et al. 2024, T-MAC,
arXiv:2407.00088, section 3.1). Fewer bits are fewer planes: the work is in proportion to them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

import numpy as np

from bitsmith.backends.c.kernels import trits
from bitsmith.backends.c.kernels.accumulate import bias
from bitsmith.backends.c.kernels.conv import rows_of, window_of
from bitsmith.backends.c.kernels.kernel import Constant, Kernel, KernelFamily, Site
from bitsmith.backends.c.kernels.requantize import requantize_step
from bitsmith.backends.c.kernels.window import gap
from bitsmith.ir.bounds import INT32_MAGNITUDE
from bitsmith.ir.formats import IntegerArray
from bitsmith.ir.integer import Conv, Linear

GROUP = 8
"""Activations whose tables are read by one byte of a plane."""

TABLE_BYTES = 64
"""Of the tables of a group: two of sixteen int16."""

WIDEST = 8

CHUNKS = (64, 32, 16, 8, 4, 2)
"""Groups whose tables are made at a time, where those of all groups are more than memory has room for."""


class TableProducts(KernelFamily):
    """Convolutions of one group, and Linear layers, on cores that have no multiplier."""

    name: ClassVar[str] = "tables"

    def refusal(self, site: Site) -> str | None:
        operation = site.operation
        if "no-multiply" not in site.target.features:
            return "the core has a multiplier"
        if isinstance(operation, Conv):
            if operation.groups != 1:
                return "it has groups"
        elif not isinstance(operation, Linear) or len(site.x.shape) != 1:
            return "it is no convolution or Linear of one row"
        if trits.is_ternary(operation.weight_format):
            return trits.CROWDED
        rows = rows_of(operation)
        if site.x.itemsize != 1 or plane_count(rows) > WIDEST:
            return "its operands are wider than 8 bits"
        if bias(site, rows, operation.bias).zero_point:
            return "its sums would pass 32 bits"
        reach = int(np.abs(operation.bias.astype(np.int64)).max()) + (rows.shape[1] << WIDEST) * 512
        return None if reach <= INT32_MAGNITUDE else "its sums would pass 32 bits"

    def kernel(self, site: Site) -> Kernel:
        return self.kernels(site)[0]

    def kernels(self, site: Site) -> Sequence[Kernel]:
        """With the tables of all groups at once, then of ever fewer, where sums wait in memory for the next ones."""
        operation = site.operation
        assert isinstance(operation, Conv | Linear)
        groups = -(-rows_of(operation).shape[1] // GROUP)
        found = [self._kernel(site, operation, groups)]
        for chunk in CHUNKS:
            kernel = self._kernel(site, operation, chunk) if chunk < groups else found[-1]
            if kernel.scratch < found[-1].scratch:
                found.append(kernel)
        return found

    def _kernel(self, site: Site, operation: Conv | Linear, chunk: int) -> Kernel:
        rows = rows_of(operation)
        start = bias(site, rows, operation.bias)
        is_conv = isinstance(operation, Conv)
        step = requantize_step(operation.requantize, site.magnitude, site.output.logical, 0 if is_conv else -1)
        step = replace(step, function=f"{step.function}_by_adding")
        count = plane_count(rows)
        groups = -(-rows.shape[1] // GROUP)
        comment = f"({len(rows)}, {count}, {groups}), highest plane first"
        planes = Constant("planes", "uint8_t", bit_planes(rows, count), comment)
        over = window_of(site, operation) if isinstance(operation, Conv) else None
        direct = (over is None or over.is_pointwise) and rows.shape[1] % GROUP == 0
        tables = chunk * TABLE_BYTES
        sums = 4 * len(rows) if chunk < groups else 0
        note = f"{count} bit planes, looked up for want of a multiplier"
        return Kernel(
            self.name,
            "planes.c.j2",
            context={
                "over": over,
                "direct": direct,
                "channels": site.x.shape[-1],
                "length": rows.shape[1],
                "groups": groups,
                "group": GROUP,
                "planes": count,
                "outputs": len(rows),
                "padding": start.padding,
                "step": step,
                "chunk": chunk,
                "tables": tables,
                "sums": sums,
            },
            constants=(planes, start.constant, *step.constants),
            helpers=("sums_of_four.c.j2", f"{step.function}.c.j2"),
            scratch=tables + sums + (0 if direct else groups * GROUP),
            gaps={} if over is None else {0: gap(site, over.first_reads(), buffered=True)},
            note=f"{note}, {chunk * GROUP} inputs at a time" if sums else note,
        )


def plane_count(rows: IntegerArray) -> int:
    """Bits of the narrowest two's complement that holds all weights."""
    lowest, highest = int(rows.min(initial=0)), int(rows.max(initial=0))
    return max((~lowest).bit_length() if lowest < 0 else 0, highest.bit_length()) + 1


def bit_planes(rows: IntegerArray, count: int) -> IntegerArray:
    """The bits of weights, (outputs, inputs): (outputs, planes, bytes), highest first, eight inputs a byte."""
    outputs, inputs = rows.shape
    padded = np.zeros((outputs, -(-inputs // GROUP) * GROUP), np.int64)
    padded[:, :inputs] = rows
    planes = np.stack([padded >> bit & 1 for bit in reversed(range(count))], axis=1).astype(np.uint8)
    return np.packbits(planes, axis=2, bitorder="little")
