"""Pools: sums and maxima of windows."""

from __future__ import annotations

from typing import ClassVar

from bitsmith.backends.c.kernels.kernel import Kernel, KernelFamily, Site
from bitsmith.backends.c.kernels.requantize import requantize_step
from bitsmith.backends.c.kernels.window import gap, window
from bitsmith.ir.integer import AveragePool, MaxPool


class PortableAveragePool(KernelFamily):
    """The sum of each window, rescaled, in plain C."""

    name: ClassVar[str] = "average"

    def refusal(self, site: Site) -> str | None:
        return None if isinstance(site.operation, AveragePool) else "it is no AveragePool"

    def kernel(self, site: Site) -> Kernel:
        operation = site.operation
        assert isinstance(operation, AveragePool)
        over = window(site, operation.kernel, operation.strides, operation.pads, operation.dilations)
        step = requantize_step(operation.requantize, site.magnitude, site.output.logical)
        # Sums of the elements as they are start from what their zero points come to, where that is the same everywhere.
        start = 0 if over.is_padded else -site.x.zero_point * over.taps
        return Kernel(
            self.name,
            "average_pool.c.j2",
            context={
                "over": over,
                "channels": site.x.shape[-1],
                "zero_point": site.x.zero_point if over.is_padded else 0,
                "start": start,
                "step": step,
            },
            constants=step.constants,
            helpers=step.helpers,
            gaps={0: gap(site, over.first_reads(), buffered=False)},
        )


class PortableMaxPool(KernelFamily):
    """The largest element of each window, in plain C."""

    name: ClassVar[str] = "maximum"

    def refusal(self, site: Site) -> str | None:
        return None if isinstance(site.operation, MaxPool) else "it is no MaxPool"

    def kernel(self, site: Site) -> Kernel:
        operation = site.operation
        assert isinstance(operation, MaxPool)
        over = window(site, operation.kernel, operation.strides, operation.pads, operation.dilations)
        return Kernel(
            self.name,
            "max_pool.c.j2",
            context={"over": over, "channels": site.x.shape[-1], "lowest": site.x.format.type.lowest},
            gaps={0: gap(site, over.first_reads(), buffered=False)},
        )
