"""Windows with nothing left to defaults: auto_pad and, where runtimes allow it, ceil_mode as explicit pads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from bitsmith.ir.graph import Graph, Node
from bitsmith.manager import Changes, Pass
from bitsmith.module import Module


@dataclass(frozen=True)
class ExplicitPadding(Pass):
    """Write kernel, strides, dilations and pads of every Conv and pool out, with auto_pad and ceil_mode folded in.

    SAME pads to ceil(size / stride) windows, the odd element after (UPPER) or before (LOWER). A pool in ceil_mode
    has windows that reach past its pads; pads after that reach as far give the same windows in floor mode. What
    lies there never wins a maximum, and is not counted by an average with count_include_pad = 0. With
    count_include_pad = 1 the pads are counted but not what lies past them: then the pads become a Pad of zeros
    in front, which is counted as data, and what lies past them the pads of an average that leaves them out.

    Where the pads after would be as wide as the kernel, which runtimes refuse, ceil_mode stays. Runtimes disagree
    on SAME where windows lie so far apart that it would crop, and for dilated pools: both are refused.
    """

    name: ClassVar[str] = "explicit-padding"

    def run(self, module: Module) -> Changes:
        changes = Changes()
        for node in module.graph.nodes("Conv", "MaxPool", "AveragePool"):
            before = node.attributes
            reason = _spell_out(module.graph, node)
            if reason is not None:
                changes.refuse(node, reason)
            elif node.attributes != before:
                changes.change(node)
        return changes


def _spell_out(graph: Graph, node: Node) -> str | None:
    value, made = node.operand(0), node.outputs[0]
    space, out = value.sample_shape[1:], made.sample_shape[1:]
    ones, zeros = [1] * len(space), [0] * len(space)
    if node.op == "Conv":
        weight = node.constant(1)
        if weight is None:
            return f"its weight {node.operand(1).name} is not constant"
        kernel = list(weight.shape[2:])
    else:
        kernel = list(node.attribute("kernel_shape"))
    strides = list(node.attribute("strides", ones))
    dilations = list(node.attribute("dilations", ones))
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    if str(node.attribute("auto_pad", "NOTSET")).startswith("SAME"):
        if node.op != "Conv" and any(d != 1 for d in dilations):
            return "it is dilated and says SAME, which runtimes read differently"
        if any((-(-n // s) - 1) * s + r - n < -1 for n, s, r in zip(space, strides, reach, strict=True)):
            return "its windows lie apart and it says SAME, which runtimes read differently"
    begin, end = _pads(node, space, strides, reach, zeros)
    needed = [(o - 1) * s + r - n - b for o, s, r, n, b in zip(out, strides, reach, space, begin, strict=True)]
    over = [max(0, need - had) for need, had in zip(needed, end, strict=True)]
    # Runtimes take no pad as wide as its kernel, which a dilated window in ceil_mode can ask for.
    stays_ceiling = any(had + more >= k for had, more, k in zip(end, over, kernel, strict=True) if more)
    if stays_ceiling:
        node.set_attributes(ceil_mode=1)
    elif any(over) and node.op == "AveragePool" and node.attribute("count_include_pad", 0) and any([*begin, *end]):
        _pad_in_front(graph, node, begin, end)
        begin, end = zeros, over
        node.set_attributes(count_include_pad=0)
    elif any(over):
        end = [had + more for had, more in zip(end, over, strict=True)]
        if node.op == "AveragePool":
            node.set_attributes(count_include_pad=0)
    node.set_attributes(kernel_shape=kernel, strides=strides, pads=[*begin, *end])
    node.drop_attributes("auto_pad", "storage_order", *([] if stays_ceiling else ["ceil_mode"]))
    if node.op != "AveragePool" or any(d != 1 for d in dilations):
        node.set_attributes(dilations=dilations)
    else:
        node.drop_attributes("dilations")
    if node.op == "Conv":
        node.set_attributes(group=node.attribute("group", 1))
    if node.op == "AveragePool":
        node.set_attributes(count_include_pad=node.attribute("count_include_pad", 0))
    return None


def _pads(
    node: Node, space: tuple[int, ...], strides: list[int], reach: list[int], zeros: list[int]
) -> tuple[list[int], list[int]]:
    """The pads before and after each spatial axis, as auto_pad asks for them."""
    mode = node.attribute("auto_pad", "NOTSET")
    if mode in ("NOTSET", ""):
        pads = list(node.attribute("pads", [*zeros, *zeros]))
        return pads[: len(space)], pads[len(space) :]
    if mode == "VALID":
        return zeros, zeros
    total = [max(0, (-(-n // s) - 1) * s + r - n) for n, s, r in zip(space, strides, reach, strict=True)]
    small, large = [t // 2 for t in total], [t - t // 2 for t in total]
    return (small, large) if mode == "SAME_UPPER" else (large, small)


def _pad_in_front(graph: Graph, node: Node, begin: list[int], end: list[int]) -> None:
    value = node.operand(0)
    shape = [None, value.sample_shape[0]]
    shape += [b + n + e for b, n, e in zip(begin, value.sample_shape[1:], end, strict=True)]
    pads = np.array([0, 0, *begin, 0, 0, *end], np.int64)
    inputs = [
        value,
        graph.add_constant(f"{node.name}.pads", pads),
        graph.add_constant(f"{node.name}.zero", np.zeros((), np.float32)),
    ]
    node.set_input(0, graph.add_node("Pad", inputs, f"{node.name}.pad", shape, mode="constant").output)
