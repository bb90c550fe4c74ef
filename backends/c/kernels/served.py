"""What kernels of several machines ask of an operation before anything else: it, or why it cannot be served."""

from __future__ import annotations

import math

from bitsmith.backends.c.kernels.kernel import Site
from bitsmith.ir.integer import Conv, Linear


def whole_conv(site: Site) -> Conv | str:
    """A convolution each of whose outputs reads all channels."""
    operation = site.operation
    if not isinstance(operation, Conv):
        return "it is no convolution"
    return operation if operation.groups == 1 else "it has groups"


def row_linear(site: Site) -> Linear | str:
    """A Linear whose input is one row."""
    operation = site.operation
    if not isinstance(operation, Linear):
        return "it is no Linear"
    return operation if math.prod(site.x.shape) == operation.weight.shape[1] else "its input has several rows"
