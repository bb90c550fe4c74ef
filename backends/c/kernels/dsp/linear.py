"""Linear: one input times four rows at a time."""

from __future__ import annotations

import math
from typing import ClassVar

from bitsmith.backends.c.kernels.dsp.packed import FEW, GROUP, UNIT, rescale, settle, stream, unroll, why_not
from bitsmith.backends.c.kernels.kernel import Constant, Kernel, KernelFamily, Site
from bitsmith.ir.integer import Linear

OUTPUTS = 4


class DspLinear(KernelFamily):
    """The input expanded to 16 bits once, times four rows of packed weights: 14 instructions for 16 products."""

    name: ClassVar[str] = "dsp linear"

    def refusal(self, site: Site) -> str | None:
        operation = site.operation
        if not isinstance(operation, Linear):
            return "it is no Linear"
        if math.prod(site.x.shape) != operation.weight.shape[1]:
            return "its input has several rows"
        return why_not(site, operation)

    def kernel(self, site: Site) -> Kernel:
        operation = site.operation
        assert isinstance(operation, Linear)
        outputs, inputs = operation.weight.shape
        groups = -(-inputs // GROUP)
        settled = settle(site, operation.weight, operation, UNIT)
        assert settled is not None
        return Kernel(
            self.name,
            "dsp/linear.c.j2",
            context={
                "inputs": inputs,
                "outputs": outputs,
                "groups": groups,
                "few": FEW,
                "unroll": unroll(groups - 1),
                "rescale": rescale(operation.requantize, UNIT),
            },
            constants=(
                Constant(
                    "stream",
                    "uint32_t",
                    stream(settled, OUTPUTS),
                    "of four outputs each: weights of four inputs, starts, the other weights, multipliers",
                ),
            ),
            helpers=("dsp/intrinsics.c.j2", *(["dsp/expand_one.c.j2"] if inputs // GROUP > FEW else [])),
            scratch=8 * groups,
            gaps={0: -site.output.bytes},
            note="packed in pairs for SMLAD",
        )
