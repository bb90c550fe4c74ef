"""Add and Mul: element by element, whichever operand is repeated along whichever axis."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from bitsmith.backends.c.kernels.kernel import Constant, Kernel, KernelFamily, Site
from bitsmith.backends.c.kernels.requantize import rescale_function
from bitsmith.backends.c.layout import last_first
from bitsmith.ir.bounds import INT32_MAGNITUDE
from bitsmith.ir.integer import Add, Mul, Shape

Array = npt.NDArray[np.integer[Any]]


@dataclass(frozen=True)
class Axis:
    """A loop: `extent` rounds, and how many elements each array moves on in a round, by its name."""

    extent: int
    strides: dict[str, int]


class PortableBinary(KernelFamily):
    """Add and Mul in plain C: one loop where the operands are alike, a nest where they broadcast."""

    name: ClassVar[str] = "element-wise"

    def refusal(self, site: Site) -> str | None:
        return None if isinstance(site.operation, Add | Mul) else "it is no Add or Mul"

    def kernel(self, site: Site) -> Kernel:
        operation = site.operation
        assert isinstance(operation, Add | Mul)
        rule, shape = operation.requantize, site.output.shape
        shapes: dict[str, Shape] = {"y": shape}
        constants: list[Constant] = []
        for position, name in enumerate("ab"):
            shapes[name] = site.inputs[position].shape
            if position in site.constants:
                held = site.constants[position]
                shapes[name] = held.shape
                constants.append(Constant(name, site.inputs[position].ctype, held, "x".join(map(str, held.shape))))
        for name, array in (("multiplier", rule.multiplier), ("caps", rule.caps)):
            if array is not None and not (array == array.flat[0]).all():
                full = last_first(array.reshape((1,) * (len(shape) - array.ndim) + array.shape))
                shapes[name] = full.shape
                constants.append(Constant(name, "int32_t", full))
        axes = loops(shapes)
        wide = isinstance(operation, Add) and site.magnitude + (1 << (rule.shift - 1)) > INT32_MAGNITUDE
        adds = isinstance(operation, Add)
        function = ("round_shift_wide" if wide else "round_shift") if adds else rescale_function(rule, site.magnitude)
        gaps = {
            position: max(site.output.elements - 1, 0) * max(site.output.itemsize - site.inputs[position].itemsize, 0)
            for position in site.parameters
            if site.inputs[position].elements == site.output.elements
        }
        return Kernel(
            self.name,
            "binary.c.j2",
            context={
                "axes": axes,
                "adds": adds,
                "multipliers": operation.multipliers if isinstance(operation, Add) else (),
                "zero_points": [tensor.zero_point for tensor in site.inputs],
                "wide": wide,
                "function": function,
                "rule": rule,
                "multiplier": None if "multiplier" in shapes else int(rule.multiplier.flat[0]),
                "cap": None if "caps" in shapes else int(rule.highest if rule.caps is None else rule.caps.flat[0]),
            },
            constants=tuple(constants),
            helpers=(f"{function}.c.j2",),
            gaps=gaps,
        )


def loops(shapes: dict[str, Shape]) -> list[Axis]:
    """The fewest loops over a result `y` whose operands broadcast to it, outermost first."""
    shape = shapes["y"]
    axes: list[Axis] = []
    for position, extent in enumerate(shape):
        if extent == 1:
            continue
        strides = {name: 0 if one[position] == 1 else math.prod(one[position + 1 :]) for name, one in shapes.items()}
        # Two loops are one where every array goes on in the outer as if the inner went on.
        if axes and all(axes[-1].strides[name] == strides[name] * extent for name in shapes):
            axes[-1] = Axis(axes[-1].extent * extent, strides)
        else:
            axes.append(Axis(extent, strides))
    return axes or [Axis(1, dict.fromkeys(shapes, 0))]
