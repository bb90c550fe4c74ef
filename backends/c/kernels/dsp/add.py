"""Add of two values of one shape."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from bitsmith.backends.c.kernels.kernel import Kernel, KernelFamily, Site
from bitsmith.ir.bounds import INT32_MAGNITUDE
from bitsmith.ir.integer import Add

AT_ONCE = 8


class DspAdd(KernelFamily):
    """Both operands' zero points and the rounding are one number, which the accumulator starts from.

    What is left of an element are two loads, two multiply-accumulates, a shift with an addition, SSAT, and a store.
    """

    name: ClassVar[str] = "dsp add"

    def refusal(self, site: Site) -> str | None:
        operation = site.operation
        if not isinstance(operation, Add):
            return "it is no Add"
        if "dsp" not in site.target.features:
            return "the target has no DSP extension"
        if site.constants or any(one.shape != site.output.shape for one in site.inputs):
            return "an operand is constant, or of another shape"
        if any(one.format.type.storage != np.int8 for one in (*site.inputs, site.output)):
            return "it is not of signed 8-bit values"
        rule = operation.requantize
        if rule.caps is not None or (rule.multiplier != 1).any():
            return "its requantize step is more than a shift"
        # The sum less its zero points is bounded by `magnitude`; on the way there it may wrap around.
        if site.magnitude + (1 << (rule.shift - 1)) > INT32_MAGNITUDE:
            return "its sum passes 32 bits"
        return None

    def kernel(self, site: Site) -> Kernel:
        operation = site.operation
        assert isinstance(operation, Add)
        rule = operation.requantize
        start = 1 << (rule.shift - 1)
        for multiplier, operand in zip(operation.multipliers, site.inputs, strict=True):
            start -= multiplier * operand.zero_point
        return Kernel(
            self.name,
            "dsp/add.c.j2",
            context={
                "multipliers": [multiplier & 0xFFFFFFFF for multiplier in operation.multipliers],
                "start": start & 0xFFFFFFFF,
                "rule": rule,
                "elements": site.output.elements,
                "at_once": AT_ONCE,
            },
            helpers=("dsp/intrinsics.c.j2", "dsp/saturate.c.j2"),
            gaps={0: 0, 1: 0},
            note="start folded",
        )
