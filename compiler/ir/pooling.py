"""The sliding window of a pool, with ceil_mode turned into padding at the end."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bitsmith.ir.graph import Node


@dataclass(frozen=True)
class Window:
    """kernel, strides, dilations: one entry a spatial axis. pads: before each axis, then after each.

    The end padding is what the last window reaches: more than the node declares where ceil_mode adds a window
    that runs over the edge, less where the last rows are read by none.
    declared_pads: as the node has them.
    """

    space: tuple[int, ...]
    out_space: tuple[int, ...]
    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    pads: tuple[int, ...]
    declared_pads: tuple[int, ...]

    def counts(self, include_pad: bool) -> npt.NDArray[np.int64]:
        """How many elements each window averages over, int64 (*out_space)."""
        per_axis = []
        for axis, size in enumerate(self.space):
            before = self.declared_pads[axis]
            after = self.declared_pads[axis + len(self.space)]
            low, high = (-before, size + after) if include_pad else (0, size)
            starts = np.arange(self.out_space[axis]) * self.strides[axis] - before
            taps = starts[:, None] + np.arange(self.kernel[axis]) * self.dilations[axis]
            per_axis.append(((taps >= low) & (taps < high)).sum(axis=1))
        counts = np.ones(self.out_space, dtype=np.int64)
        for axis, along in enumerate(per_axis):
            counts *= along.reshape([-1 if a == axis else 1 for a in range(len(self.space))])
        return counts


def window_of(node: Node) -> Window:
    """The window of MaxPool, AveragePool or GlobalAveragePool (which is one window over the whole space)."""
    space = node.operand(0).sample_shape[1:]
    out_space = node.output.sample_shape[1:]
    rank = len(space)
    if node.op == "GlobalAveragePool":
        return Window(space, out_space, space, (1,) * rank, (1,) * rank, (0,) * 2 * rank, (0,) * 2 * rank)
    kernel = tuple(int(k) for k in node.attribute("kernel_shape"))
    strides = tuple(int(s) for s in node.attribute("strides", [1] * rank))
    dilations = tuple(int(d) for d in node.attribute("dilations", [1] * rank))
    declared = tuple(int(p) for p in node.attribute("pads", [0] * 2 * rank))
    # A strided window may stop short of the declared end padding; what it does not read is not padding.
    ends = [
        max((out - 1) * stride + (k - 1) * dilation + 1 - before - size, 0)
        for out, stride, k, dilation, before, size in zip(
            out_space, strides, kernel, dilations, declared[:rank], space, strict=True
        )
    ]
    pads = (*declared[:rank], *ends)
    return Window(space, out_space, kernel, strides, dilations, pads, declared)
