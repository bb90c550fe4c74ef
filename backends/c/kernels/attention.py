"""What attention computes: products of two values, and softmaxes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from bitsmith.backends.c.kernels.kernel import Constant, Kernel, KernelFamily, Site
from bitsmith.backends.c.kernels.requantize import requantize_step
from bitsmith.ir.integer import MatMul, Shape, Softmax, Thresholds


@dataclass(frozen=True)
class Axis:
    """A loop: `extent` rounds, and how many elements each array moves on in a round, by its name."""

    extent: int
    strides: dict[str, int]


class PortableMatMul(KernelFamily):
    """One element of the result at a time, in plain C, wherever the operands' rows and columns lie."""

    name: ClassVar[str] = "product"

    def refusal(self, site: Site) -> str | None:
        return None if isinstance(site.operation, MatMul) else "it is no MatMul"

    def kernel(self, site: Site) -> Kernel:
        operation = site.operation
        assert isinstance(operation, MatMul)
        a, b, y = (tensor.logical for tensor in (*site.inputs, site.output))
        strides = {"a": strides_of(a), "b": strides_of(b), "y": strides_of(y)}
        step = requantize_step(operation.requantize, site.magnitude, y, channel_axis=-1)
        axes = [
            Axis(extent, {"y": strides["y"][i], "a": _repeated(a, strides["a"], i), "b": _repeated(b, strides["b"], i)})
            for i, extent in enumerate(y[:-2])
        ]
        axes.append(Axis(y[-2], {"y": strides["y"][-2], "a": strides["a"][-2], "b": 0}))
        axes.append(Axis(y[-1], {"y": strides["y"][-1], "a": 0, "b": strides["b"][-1]}))
        return Kernel(
            self.name,
            "matmul.c.j2",
            context={
                "axes": merged(axes),
                "inner": Axis(a[-1], {"a": strides["a"][-1], "b": strides["b"][-2]}),
                "zero_points": [tensor.zero_point for tensor in site.inputs],
                "step": step,
            },
            constants=()
            if operation.levels is None
            else (Constant("levels", "uint16_t", operation.levels, "what each integer of a stands for"),),
            helpers=step.helpers,
        )


class PortableSoftmax(KernelFamily):
    """One row after another, in plain C: its largest element, the sum of its exponentials, and its shares."""

    name: ClassVar[str] = "softmax"

    def refusal(self, site: Site) -> str | None:
        return None if isinstance(site.operation, Softmax) else "it is no Softmax"

    def kernel(self, site: Site) -> Kernel:
        operation = site.operation
        assert isinstance(operation, Softmax)
        shape = site.x.logical
        strides = strides_of(shape)
        rule = operation.requantize
        constants = [Constant("coarse", "int32_t", operation.coarse, "exponentials of distances to the largest")]
        if len(operation.fine) > 1:
            constants.append(Constant("fine", "int32_t", operation.fine, "exponentials of what is left of them"))
        helpers: tuple[str, ...] = ()
        step = None
        if isinstance(rule, Thresholds):
            constants.append(Constant("thresholds", "int32_t", rule.thresholds, "between powers, in 2^30ths"))
        else:
            step = requantize_step(rule, site.magnitude, shape, channel_axis=-1)
            helpers = step.helpers
        return Kernel(
            self.name,
            "softmax.c.j2",
            context={
                "axes": merged([Axis(extent, {"x": strides[i]}) for i, extent in enumerate(shape[:-1])]),
                "row": Axis(shape[-1], {"x": strides[-1]}),
                "width": len(operation.fine),
                "places": len(operation.fine).bit_length() - 1,
                "factor": int(operation.fine[0]),
                "shift": operation.shift,
                "step": step,
                "last": site.output.format.type.highest,
            },
            constants=tuple(constants),
            helpers=("reciprocal.c.j2", *helpers),
            gaps={0: None} if site.x.itemsize == site.output.itemsize else {},
        )


def strides_of(shape: Shape) -> list[int]:
    """Elements from one index of each axis of the integer graph to the next, where axis 0 lies last in memory."""
    return [1, *(shape[0] * math.prod(shape[axis + 1 :]) for axis in range(1, len(shape)))]


def merged(axes: list[Axis]) -> list[Axis]:
    """The fewest loops that visit the same places in the same order, outermost first."""
    found: list[Axis] = []
    for axis in axes:
        if axis.extent == 1:
            continue
        outer = found[-1] if found else None
        if outer and all(outer.strides[name] == stride * axis.extent for name, stride in axis.strides.items()):
            found[-1] = Axis(outer.extent * axis.extent, axis.strides)
        else:
            found.append(axis)
    return found


def _repeated(shape: Shape, strides: list[int], axis: int) -> int:
    """The stride of an axis along which an operand may be repeated."""
    return strides[axis] if shape[axis] > 1 else 0
