"""Layer normalisations: rows less their means, over the roots of their variances."""

from __future__ import annotations

from typing import ClassVar

from bitsmith.backends.c.kernels.attention import Axis, merged, strides_of
from bitsmith.backends.c.kernels.kernel import Constant, Kernel, KernelFamily, Site
from bitsmith.ir.bounds import INT32_MAGNITUDE
from bitsmith.ir.integer import LayerNorm


class PortableLayerNorm(KernelFamily):
    """One row after another, in plain C: its sum and sum of squares, a reciprocal root, and its elements."""

    name: ClassVar[str] = "layer-norm"

    def refusal(self, site: Site) -> str | None:
        return None if isinstance(site.operation, LayerNorm) else "it is no LayerNorm"

    def kernel(self, site: Site) -> Kernel:
        operation = site.operation
        assert isinstance(operation, LayerNorm)
        shape, zero_point = site.x.logical, site.x.zero_point
        strides = strides_of(shape)
        farthest = site.ranges[0].minus(zero_point).magnitude
        return Kernel(
            self.name,
            "layer_norm.c.j2",
            context={
                "axes": merged([Axis(extent, {"x": strides[i]}) for i, extent in enumerate(shape[:-1])]),
                "row": Axis(shape[-1], {"x": strides[-1]}),
                "squares": 32 if shape[-1] * farthest**2 <= INT32_MAGNITUDE else 64,
                "finer": operation.finer,
                "epsilon": operation.epsilon,
                "places": 45 - operation.fraction,
                "zero_point": zero_point,
                "rule": operation.requantize,
            },
            constants=(
                Constant(
                    "gain", "int32_t", operation.gain, f"over 2^{operation.requantize.shift - operation.fraction}"
                ),
                Constant("offset", "int64_t", operation.offset, f"over 2^{operation.requantize.shift}"),
            ),
            helpers=("reciprocal_root.c.j2", "round_shift_wide.c.j2"),
            gaps={0: None} if site.x.itemsize == site.output.itemsize else {},
        )
