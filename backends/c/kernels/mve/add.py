"""Add on vectors of elements."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from bitsmith.backends.c.kernels.kernel import Kernel, KernelFamily, Site
from bitsmith.backends.c.kernels.mve.products import HELPERS
from bitsmith.ir.bounds import INT32_MAGNITUDE
from bitsmith.ir.integer import Add


class HeliumAdd(KernelFamily):
    """Two operands of one shape, four elements at a time, in 10 instructions."""

    name: ClassVar[str] = "helium add"

    def refusal(self, site: Site) -> str | None:
        operation = site.operation
        if not isinstance(operation, Add):
            return "it is no Add"
        if "mve" not in site.target.features:
            return "the target has no Helium"
        tensors = (*site.inputs, site.output)
        if site.constants or any(tensor.shape != site.output.shape for tensor in tensors):
            return "an operand is constant or is repeated"
        if any(tensor.format.type.storage != np.int8 for tensor in tensors):
            return "it is not of signed 8-bit values"
        rule = operation.requantize
        if rule.caps is not None or not 1 <= rule.shift <= 30:
            return "its requantize step has bounds by channel, or no shift of 1 to 30"
        bound = site.magnitude + (1 << (rule.shift - 1))
        return "its sums may pass int32" if bound > INT32_MAGNITUDE else None

    def kernel(self, site: Site) -> Kernel:
        operation = site.operation
        assert isinstance(operation, Add)
        rule = operation.requantize
        zeros = sum(
            tensor.zero_point * multiplier
            for tensor, multiplier in zip(site.inputs, operation.multipliers, strict=True)
        )
        half = 1 << (rule.shift - 1)
        # The zero point of the result rides in the start of the sums where 32 bits hold that too.
        folds = site.magnitude + half + abs(rule.zero_point << rule.shift) <= INT32_MAGNITUDE
        start = half - zeros + (rule.zero_point << rule.shift if folds else 0)
        return Kernel(
            self.name,
            "mve/add.c.j2",
            context={
                "start": start % (1 << 32),
                "after": 0 if folds else rule.zero_point,
                "multipliers": [multiplier % (1 << 32) for multiplier in operation.multipliers],
                "shift": rule.shift,
                "lowest": rule.lowest,
                "highest": rule.highest,
                "elements": site.output.elements,
            },
            helpers=HELPERS,
            gaps={0: 0, 1: 0},
            note="on vectors of 4 elements",
        )
