"""Formats of weights, biases and constant operands, whose integers the file has settled."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from bitsmith.errors import UnsupportedError
from bitsmith.faults import Faults
from bitsmith.ir.formats import Format, IntegerType, symmetric
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

LARGEST_BIAS = 1 << 30
"""A bias may fill half of its int32 accumulator. The weights of an output whose bias would not fit get a larger scale:
next to such a bias they are too small to matter."""

WHOLE = 1e-2
"""How far from a whole number of steps a bias may be that was stored in them, beside what float32 loses."""


def operand_formats(graph: Graph, quantizers: Quantizers, target: Target, faults: Faults) -> dict[Value, Format]:
    """The format of each constant that is read like an activation."""
    found = {}
    for value in constant_operands(graph):
        # One at fault stands in for itself, so that what reads it is looked at all the same.
        found[value] = symmetric(float(np.abs(value.array).max(initial=0)) or 1.0, IntegerType(8))
        with faults.held():
            found[value] = for_target(_operand_format(value, quantizers), value.name, target)
    return found


def _operand_format(value: Value, quantizers: Quantizers) -> Format:
    """The file's own format of a constant."""
    where = value.consumers[0].where
    if value.name not in quantizers.operands:
        raise UnsupportedError(f"its constant operand {value.name} is not quantized", where=where, fix=QUANTIZE_BOTH)
    format = quantizers.operands[value.name]
    if format is None:
        raise UnsupportedError(
            f"its constant operand {value.name} has a scale per channel", where=where, fix="Quantize it per tensor."
        )
    return format


def parameter_formats(
    graph: Graph, quantizers: Quantizers, formats: Mapping[Value, Format], target: Target, faults: Faults
) -> tuple[dict[str, Format], dict[str, Reals]]:
    """Formats of weights and biases by name; and, by node where something has to be rounded for it, see `Adopted`."""
    found: dict[str, Format] = {}
    rounded: dict[str, Reals] = {}
    for node in graph.nodes(*LINEAR):
        with faults.held():
            _settle_layer(node, quantizers, formats, target, found, rounded)
    return found, rounded


def _settle_layer(
    node: Node,
    quantizers: Quantizers,
    formats: Mapping[Value, Format],
    target: Target,
    found: dict[str, Format],
    rounded: dict[str, Reals],
) -> None:
    """Find the formats of one layer's weight and bias, and by how much rounding them moves it."""
    if node.operand(0) not in formats:
        raise UnsupportedError(f"it reads {node.operand(0).name} in float", where=node.where, fix=QUANTIZE_BOTH)
    weight, bias = weight_value(node), bias_value(node)
    step = formats[node.operand(0)].scale[0]
    scales = _weight_scales(node, quantizers, target)
    real = np.zeros_like(scales) if bias is None or bias.constant is None else _bias(node, bias.constant, scales)
    coarser = np.maximum(scales, np.abs(real) / step / LARGEST_BIAS)
    is_shared = bool(np.ptp(coarser) <= CLOSE * coarser.max())
    if is_shared or "channel" not in target.granularities:
        _require_shared(node, is_shared, target)
        coarser = coarser[:1]
    axis = None if is_shared else output_axis(node)
    kind = IntegerType(quantizers.weights[weight.name].bits)
    found[weight.name] = Format(kind, tuple(float(one) for one in coarser), axis=axis)
    require_scales(found[weight.name].scale, weight.name, target)
    products = step * np.array(found[weight.name].scale)
    steps = real / products
    is_whole = np.abs(steps - np.rint(steps)) <= WHOLE + np.abs(steps) * 2.0**-22
    # Weights on a coarser grid are off by half a step of it at most, times inputs of this reach.
    inputs = quantizers.weights[weight.name].integers.shape[1] * (1 << formats[node.operand(0)].type.bits)
    moved = np.where(is_whole, 0.0, 0.5) + np.where(coarser > scales, 0.5 * inputs, 0.0)
    if moved.any():
        rounded[node.name] = moved
    if bias is not None and bias.constant is not None:
        bias_axis = None if len(products) == 1 else max(bias.constant.ndim - 1, 0)
        found[bias.name] = Format(IntegerType(32), tuple(products), axis=bias_axis)


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


def _bias(node: Node, bias: npt.NDArray[np.float32], scales: Reals) -> Reals:
    """The bias of each output."""
    if bias.size not in (1, len(scales)):
        raise UnsupportedError(
            f"a bias of {bias.size} numbers for {len(scales)} outputs",
            where=node.where,
            fix="Give it one number an output.",
        )
    return np.broadcast_to(bias.astype(np.float64).ravel(), len(scales))
