"""Functions of one value: a Relu or LeakyRelu where that is what the table holds, thresholds where it never falls."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from onnx import helper

from bitsmith.backends.qonnx.exact import MANTISSA_BITS, exponent
from bitsmith.backends.qonnx.writer import QONNX_DOMAIN, Writer
from bitsmith.errors import UnsupportedError
from bitsmith.ir.formats import Format
from bitsmith.ir.integer import IntegerGraph, Table


def lower_table(writer: Writer, graph: IntegerGraph, operation: Table) -> None:
    """Write a table as what QONNX has for it. Raises UnsupportedError for one that falls somewhere.

    A MultiThreshold counts the thresholds that a value reaches, and starts from the lowest entry: the form that FINN
    gives to all its activations.
    """
    source, result = graph.values[operation.inputs[0]], graph.result(operation)
    slope = closed_form(operation, source.format, result.format)
    if slope is not None:
        _rectify(writer, operation, slope, source.format, result.format)
        return
    entries = operation.entries.astype(np.int64)
    if (np.diff(entries, axis=1) < 0).any():
        raise UnsupportedError(
            f"{operation.function.op} falls somewhere, and QONNX has no table for that",
            where=f"Table {operation.name}",
            fix="Use Relu, LeakyRelu with a slope that is a power of two, Sigmoid or Tanh.",
        )
    base = int(entries.min())
    rises = int(entries.max() - base)
    scale, lowest = source.format.scale[0], source.format.type.lowest
    thresholds = np.full((len(entries), max(rises, 1)), np.float32(np.finfo(np.float32).max), np.float32)
    for row, values in enumerate(entries):
        for step in range(rises):
            reached = np.flatnonzero(values - base > step)
            if reached.size:
                thresholds[row, step] = (lowest + int(reached[0])) * scale
    kind = result.format
    writer.nodes.append(
        helper.make_node(
            "MultiThreshold",
            [operation.inputs[0], writer.constant(f"{operation.output}_thresholds", thresholds)],
            [operation.output],
            name=f"MultiThreshold_{operation.output}",
            domain=QONNX_DOMAIN,
            out_dtype="FLOAT32",
            out_scale=kind.scale[0],
            out_bias=float(base * kind.scale[0]),
            data_layout={1: "NC", 2: "NCW", 3: "NCHW"}[len(source.shape)],
        )
    )


def closed_form(operation: Table, source: Format, result: Format) -> float | None:
    """The slope s of `max(x, 0) + s * min(x, 0)`, a power of two or 0, where the table is that in every entry.

    None where it is not, so that nothing rests on what the table says it is. The sum is rounded half up to the grid of
    `result`, and saturates.
    """
    if operation.function.op not in ("Relu", "LeakyRelu") or len(operation.entries) != 1:
        return None
    slope = 0.0
    if operation.function.op == "LeakyRelu":
        slope = float(dict(operation.function.attributes).get("alpha", 0.01))
        if slope <= 0 or np.frexp(slope)[0] != 0.5:
            return None
    x = np.arange(source.type.lowest, source.type.highest + 1, dtype=np.float64) * source.scale[0]
    fits: npt.NDArray[np.bool_] = result.quantize(np.where(x < 0, slope * x, x)) == operation.entries[0]
    finest = exponent(source, operation.name) + (int(np.log2(slope)) if slope else 0)
    reach = 2.0 ** (source.type.bits + exponent(source, operation.name)) + result.scale[0]
    return slope if fits.all() and reach < 2.0 ** (finest + MANTISSA_BITS) else None


def _rectify(writer: Writer, operation: Table, slope: float, source: Format, result: Format) -> None:
    made = writer.fresh(f"{operation.output}_rectified")
    if slope:
        writer.node("LeakyRelu", operation.inputs, made, alpha=slope)
    else:
        writer.node("Relu", operation.inputs, made)
    if result.scale[0] > source.scale[0] * (slope or 1.0):
        kind = Format(type(result.type)(2), (result.scale[0] / 2,))
        half = writer.quantized_constant(f"{operation.output}_half", np.ones((), np.int64), kind)
        made = writer.node("Add", [made, half], writer.fresh(f"{operation.output}_rounded"))
    writer.quant(made, operation.output, result)
