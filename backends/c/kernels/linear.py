"""Linear: every output is a row of weights times the input."""

from __future__ import annotations

import math
from typing import ClassVar

from bitsmith.backends.c.kernels.accumulate import bias
from bitsmith.backends.c.kernels.kernel import Kernel, KernelFamily, Site
from bitsmith.backends.c.kernels.requantize import requantize_step
from bitsmith.backends.c.kernels.weights import weights
from bitsmith.ir.integer import Linear


class PortableLinear(KernelFamily):
    """One output at a time, in plain C.

    Of a value of higher rank the features are the last axis in the integer graph, but in memory the channels follow
    them: (rows, features, columns). Each column is then gathered first.
    """

    name: ClassVar[str] = "linear"

    def refusal(self, site: Site) -> str | None:
        return None if isinstance(site.operation, Linear) else "it is no Linear"

    def kernel(self, site: Site) -> Kernel:
        operation = site.operation
        assert isinstance(operation, Linear)
        outputs, inputs = operation.weight.shape
        columns = site.x.logical[0] if len(site.x.shape) > 1 else 1
        stored = weights(operation.weight, operation.weight_format)
        start = bias(site, operation.weight, operation.bias)
        step = requantize_step(operation.requantize, site.magnitude, site.output.logical, channel_axis=-1)
        return Kernel(
            self.name,
            "linear.c.j2",
            context={
                "rows": math.prod(site.x.shape) // (inputs * columns),
                "columns": columns,
                "inputs": inputs,
                "outputs": outputs,
                "weights": stored,
                "zero_point": start.zero_point,
                "step": step,
            },
            constants=(*stored.constants, start.constant, *step.constants),
            helpers=step.helpers,
            scratch=inputs * site.x.itemsize if columns > 1 else 0,
            note=stored.description,
        )
