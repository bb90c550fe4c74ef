"""Formats of weights, biases and constant operands, whose integers the file has settled."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from bitsmith.errors import UnsupportedError
from bitsmith.ir.formats import Format, IntegerType
from bitsmith.ir.graph import Graph, Node, Value
from bitsmith.ir.linear import LINEAR, bias_value, output_axis, weight_value
from bitsmith.ir.quantizers import Quantizers
from bitsmith.ir.sharing import constant_operands
from bitsmith.passes.adopt_quantizers.grids import for_target, require_scales
from bitsmith.passes.adopt_quantizers.settle import QUANTIZE_BOTH
from bitsmith.target import Target

Reals = npt.NDArray[np.float64]

CLOSE = 1e-5
"""How far, as a part of the largest, a weight may be off its integer times its scale: float32, and a fold or two."""

WHOLE = 1e-2
"""How far from a whole number of steps a bias may be that was stored in them, beside what float32 loses."""


def operand_formats(graph: Graph, quantizers: Quantizers, target: Target) -> dict[Value, Format]:
    """The format of each constant that is read like an activation."""
    found = {}
    for value in constant_operands(graph):
        if value.name not in quantizers.operands:
            raise UnsupportedError(
                f"its constant operand {value.name} is not quantized", where=value.consumers[0].where, fix=QUANTIZE_BOTH
            )
        found[value] = for_target(quantizers.operands[value.name], value.name, target)
    return found


def parameter_formats(
    graph: Graph, quantizers: Quantizers, formats: Mapping[Value, Format], target: Target
) -> tuple[dict[str, Format], set[str]]:
    """Formats of weights and biases by name; and the nodes whose bias has to be rounded for it."""
    found: dict[str, Format] = {}
    rounded: set[str] = set()
    for node in graph.nodes(*LINEAR):
        if node.operand(0) not in formats:
            raise UnsupportedError(f"it reads {node.operand(0).name} in float", where=node.where, fix=QUANTIZE_BOTH)
        weight, bias = weight_value(node), bias_value(node)
        step = formats[node.operand(0)].scale[0]
        scales = _weight_scales(node, quantizers, target)
        is_shared = bool(np.ptp(scales) <= CLOSE * scales.max())
        if is_shared or "channel" not in target.granularities:
            _require_shared(node, is_shared, target)
            scales = scales[:1]
        axis = None if is_shared else output_axis(node)
        kind = IntegerType(quantizers.weights[weight.name].bits)
        found[weight.name] = Format(kind, tuple(float(one) for one in scales), axis=axis)
        require_scales(found[weight.name].scale, weight.name, target)
        if bias is not None and bias.constant is not None:
            products = step * np.array(found[weight.name].scale)
            if bias.constant.size not in (1, len(products)) and len(products) > 1:
                raise UnsupportedError(
                    f"a bias of {bias.constant.size} numbers for {len(products)} outputs",
                    where=node.where,
                    fix="Give it one number an output.",
                )
            integers = bias.constant.astype(np.float64).ravel() / products
            _require_fits(node, integers)
            off = np.abs(integers - np.rint(integers)) - np.abs(integers) * 2.0**-22
            if off.max(initial=0) > WHOLE:
                rounded.add(node.name)
            bias_axis = None if len(products) == 1 else max(bias.constant.ndim - 1, 0)
            found[bias.name] = Format(IntegerType(32), tuple(products), axis=bias_axis)
    return found, rounded


def _weight_scales(node: Node, quantizers: Quantizers, target: Target) -> Reals:
    """The scale of each output's weights; the file's own where all are 0.

    They are read off the float weights, which normalising may have scaled since: a batch normalisation behind the
    layer, or a Gemm's alpha, multiplies an output's weights all alike, and their integers with them.
    """
    weight = weight_value(node)
    fixed = quantizers.weights.get(weight.name)
    if fixed is None or weight.constant is None:
        raise UnsupportedError(f"its weight {weight.name} is not quantized", where=node.where, fix=QUANTIZE_BOTH)
    if fixed.bits not in target.weight_bits:
        raise UnsupportedError(
            f"its weights have {fixed.bits} bits",
            where=f"{node.where}, target {target.name}",
            fix=f"It runs weights of {', '.join(map(str, target.weight_bits))} bits.",
        )
    real = np.moveaxis(weight.constant.astype(np.float64), output_axis(node), 0)
    real = real.reshape(len(real), -1)
    at = np.abs(fixed.integers).argmax(axis=1)[:, None]
    largest = np.take_along_axis(fixed.integers, at, axis=1).astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        scales = (np.take_along_axis(real, at, axis=1) / largest).astype(np.float32).astype(np.float64)
    expected = np.where(np.isnan(scales), 0.0, fixed.integers * scales)
    if np.any(np.abs(real - expected) > CLOSE * np.abs(expected).max(axis=1, keepdims=True, initial=0)):
        raise UnsupportedError(
            "what stands in float around it would change its integers",
            where=node.where,
            fix="Fold batch normalisation and scaling into the weights before quantizing.",
        )
    kind = IntegerType(fixed.bits)
    turned = (scales < 0) & np.any(fixed.integers == kind.lowest, axis=1, keepdims=True)
    if turned.any():
        raise UnsupportedError(
            f"a negative factor behind it would turn {kind.lowest} into {-kind.lowest}, which {fixed.bits} bits lack",
            where=node.where,
            fix="Fold batch normalisation into the weights before quantizing.",
        )
    found = np.where(np.isnan(scales[:, 0]), fixed.scales, np.abs(scales[:, 0]))
    # Divided out of float32 products, a scale is off in its last bit; one that nothing changed is the file's own.
    untouched = np.abs(found - fixed.scales) <= CLOSE * fixed.scales
    return np.where(untouched, fixed.scales.astype(np.float64), found)


def _require_shared(node: Node, is_shared: bool, target: Target) -> None:
    if not is_shared:
        raise UnsupportedError(
            "its weights have a scale per channel",
            where=f"{node.where}, target {target.name}",
            fix="Quantize weights per tensor.",
        )


def _require_fits(node: Node, integers: Reals) -> None:
    if np.abs(integers).max(initial=0) >= 1 << 31:
        raise UnsupportedError(
            "its bias is beyond 2^31 steps of its accumulator, input scale times weight scale",
            where=node.where,
            fix="Give the channel a larger weight scale: next to such a bias its weights are too small to matter.",
        )
