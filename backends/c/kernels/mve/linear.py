"""Linear on vectors of inputs: one input times four rows at a time."""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np

from bitsmith.backends.c.kernels.dsp.packed import rescale
from bitsmith.backends.c.kernels.kernel import Constant, Kernel, KernelFamily, Site
from bitsmith.backends.c.kernels.mve.products import HELPERS, UNIT, refusal, settled, steps
from bitsmith.ir.integer import Linear

OUTPUTS = 4


class HeliumLinear(KernelFamily):
    """The input times four rows of weights: 10 instructions for 64 products."""

    name: ClassVar[str] = "helium linear"

    def refusal(self, site: Site) -> str | None:
        operation = site.operation
        if not isinstance(operation, Linear):
            return "it is no Linear"
        outputs, inputs = operation.weight.shape
        if math.prod(site.x.shape) != inputs:
            return "its input has several rows"
        if max(outputs + OUTPUTS, inputs) >= 1 << 16:
            return "it is larger than a constant counts"
        return refusal(site, operation)

    def kernel(self, site: Site) -> Kernel:
        operation = site.operation
        assert isinstance(operation, Linear)
        products = settled(site, operation)
        outputs, inputs = products.rows.shape
        blocks = -(-outputs // OUTPUTS)
        # The last block reads as many rows as the others.
        rows = np.zeros((OUTPUTS * blocks, inputs), np.int64)
        rows[:outputs] = products.rows
        return Kernel(
            self.name,
            "mve/linear.c.j2",
            context={
                "inputs": inputs,
                "outputs": outputs,
                "blocks": blocks,
                "rescale": rescale(operation.requantize, UNIT),
            },
            constants=(Constant("weight", "int8_t", rows, f"({len(rows)}, {inputs})"), steps(products, OUTPUTS)),
            helpers=HELPERS,
            scratch=0 if outputs % OUTPUTS == 0 else OUTPUTS * blocks,
            note="on vectors of 16 inputs",
        )
