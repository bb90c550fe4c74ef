"""Averages of windows, four channels at a time."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from bitsmith.backends.c.kernels.kernel import Kernel, KernelFamily, Site
from bitsmith.backends.c.kernels.requantize import requantize_step
from bitsmith.backends.c.kernels.window import gap, window
from bitsmith.ir.integer import AveragePool

AT_ONCE = 4
LONGEST = 255
"""Taps whose sum of 8-bit values always fits into 16 bits."""


class DspAverage(KernelFamily):
    """A word holds four channels of a pixel: SXTAB16 adds two of them to sums of 16 bits, and two more."""

    name: ClassVar[str] = "dsp average"

    def refusal(self, site: Site) -> str | None:
        operation = site.operation
        if not isinstance(operation, AveragePool):
            return "it is no AveragePool"
        if "dsp" not in site.target.features:
            return "the target has no DSP extension"
        if site.x.format.type.storage != np.int8:
            return "it is not of signed 8-bit values"
        if site.x.shape[-1] % AT_ONCE:
            return f"its channels are no multiple of {AT_ONCE}"
        over = window(site, operation.kernel, operation.strides, operation.pads, operation.dilations)
        if over.is_padded:
            return "its windows reach beyond the image"
        return "its sums pass 16 bits" if over.taps > LONGEST else None

    def kernel(self, site: Site) -> Kernel:
        operation = site.operation
        assert isinstance(operation, AveragePool)
        over = window(site, operation.kernel, operation.strides, operation.pads, operation.dilations)
        step = requantize_step(operation.requantize, site.magnitude, site.output.logical)
        return Kernel(
            self.name,
            "dsp/average.c.j2",
            context={
                "over": over,
                "channels": site.x.shape[-1],
                "start": -site.x.zero_point * over.taps,
                "step": step,
            },
            constants=step.constants,
            helpers=("dsp/intrinsics.c.j2", "dsp/lanes.c.j2", *step.helpers),
            # Four channels are read before any of them is written: no less than where each is written after its own.
            gaps={0: gap(site, over.first_reads(), buffered=False)},
            note="four channels a word",
        )
