"""Linear: one input times four rows at a time."""

from __future__ import annotations

from typing import ClassVar

from bitsmith.backends.c.kernels.dsp.packed import FEW, GROUP, Sums, stream, sums_of_bytes, unroll
from bitsmith.backends.c.kernels.kernel import Constant, FittingFamily, Kernel, Site
from bitsmith.backends.c.kernels.served import row_linear

OUTPUTS = 4


class DspLinear(FittingFamily[Sums]):
    """The input expanded to 16 bits once, times four rows of packed weights: 14 instructions for 16 products."""

    name: ClassVar[str] = "dsp linear"

    def fit(self, site: Site) -> Sums | str:
        operation = row_linear(site)
        return operation if isinstance(operation, str) else sums_of_bytes(site, operation)

    def made(self, site: Site, fit: Sums) -> Kernel:
        outputs, inputs = fit.settled.rows.shape
        groups = -(-inputs // GROUP)
        return Kernel(
            self.name,
            "dsp/linear.c.j2",
            context={
                "inputs": inputs,
                "outputs": outputs,
                "groups": groups,
                "few": FEW,
                "unroll": unroll(groups - 1),
                "rescale": fit.rescale,
            },
            constants=(
                Constant(
                    "stream",
                    "uint32_t",
                    stream(fit.settled, OUTPUTS),
                    "of four outputs each: weights of four inputs, starts, the other weights, multipliers",
                ),
            ),
            helpers=("dsp/intrinsics.c.j2", *(["dsp/expand_one.c.j2"] if inputs // GROUP > FEW else [])),
            scratch=8 * groups,
            gaps={0: -site.output.bytes},
            note="packed in pairs for SMLAD",
        )
