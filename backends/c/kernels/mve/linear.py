"""Linear on vectors of inputs: one input times four rows at a time."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from bitsmith.backends.c.kernels.dsp.packed import Settled, rescale
from bitsmith.backends.c.kernels.kernel import Constant, Kernel, KernelFamily, Site
from bitsmith.backends.c.kernels.mve import narrow
from bitsmith.backends.c.kernels.mve.products import HELPERS, refusal, settled, steps, unit
from bitsmith.backends.c.kernels.served import row_linear
from bitsmith.backends.c.kernels.weights import span_bits
from bitsmith.ir.integer import Linear

OUTPUTS = 4


class HeliumLinear(KernelFamily):
    """The input times four rows of weights: 10 instructions for 64 products."""

    name: ClassVar[str] = "helium linear"

    def refusal(self, site: Site) -> str | None:
        operation = row_linear(site)
        if isinstance(operation, str):
            return operation
        outputs, inputs = operation.weight.shape
        if max(outputs + OUTPUTS, inputs) >= 1 << 16:
            return "it is larger than a constant counts"
        return self.why_not(site, operation)

    def why_not(self, site: Site, operation: Linear) -> str | None:
        """Why its products cannot be done here; None if they can."""
        return refusal(site, operation)

    def stored(self, products: Settled) -> tuple[narrow.Packing | None, Constant, Constant]:
        """How weights are packed, if they are, the weights, and what else is read of each four outputs."""
        outputs, inputs = products.rows.shape
        # The last block reads as many rows as the others.
        rows = np.zeros((-(-outputs // OUTPUTS) * OUTPUTS, inputs), np.int64)
        rows[:outputs] = products.rows
        return None, Constant("weight", "int8_t", rows, f"({len(rows)}, {inputs})"), steps(products, OUTPUTS)

    def kernel(self, site: Site) -> Kernel:
        operation = site.operation
        assert isinstance(operation, Linear)
        products = settled(site, operation)
        outputs, inputs = products.rows.shape
        blocks = -(-outputs // OUTPUTS)
        packing, *constants = self.stored(products)
        raised = unit(operation.requantize) or 0
        return Kernel(
            self.name,
            "mve/linear.c.j2",
            context={
                "packing": packing,
                "inputs": inputs,
                "outputs": outputs,
                "blocks": blocks,
                "raised": raised,
                "rescale": rescale(operation.requantize, raised),
            },
            constants=tuple(constants),
            helpers=HELPERS,
            scratch=0 if outputs % OUTPUTS == 0 else OUTPUTS * blocks,
            note=f"on vectors of 16 inputs, {'8-bit weights' if packing is None else packing.description}",
        )


class HeliumNarrowLinear(HeliumLinear):
    """The same with packed weights, unpacked by masks and shifts: 23 instructions for 128 products of 4 bits."""

    name: ClassVar[str] = "helium narrow linear"

    def why_not(self, site: Site, operation: Linear) -> str | None:
        return narrow.refusal(site, operation)

    def stored(self, products: Settled) -> tuple[narrow.Packing | None, Constant, Constant]:
        bits = span_bits(products.rows)
        assert bits is not None
        lowest = products.rows.min(axis=1).astype(np.int64)
        return *narrow.packed(products.rows, bits, OUTPUTS), narrow.steps(products, lowest, OUTPUTS)
