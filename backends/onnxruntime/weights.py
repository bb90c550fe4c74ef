"""Weights as they are kept in the file: in the narrowest ONNX type that ORT runs, and what makes reals of them.

A DequantizeLinear straight from a type of fewer than 8 bits keeps ORT 1.31 from its integer kernels (4 bits), or from
loading the model at all above the basic level of optimization (2 bits and float8: it fuses them into QLinearConv and
QGemm, which take neither). So the narrow integers are first made bytes, by ops that ORT folds into a constant as it
loads: the file is small, and what runs are the kernels of 8 bits.

    integers of 2 or 4 bits             Cast
    a run of integers for each channel  Cast, Sub of the channel's zero point, Cast
    indices into a codebook             Cast, Gather of the levels

Two kinds of weights have no bytes that mean the same, and are multiplied in float:

    codes of groups                     DequantizeLinear with a block_size, Reshape
    levels beyond 8 bits                float8 where that holds each of them, else int16; Cast, Mul by the scale
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum

import numpy as np
import numpy.typing as npt
from onnx import TensorProto, helper

from bitsmith.backends.onnxruntime.writer import Writer, is_wide, scales_of
from bitsmith.errors import UnsupportedError
from bitsmith.ir.formats import Format
from bitsmith.ir.grids import Codebook, Grouped
from bitsmith.ir.integer import Conv, IntegerGraph, Linear, MatMul

Integers = npt.NDArray[np.integer]

SUB_BYTE = {
    (2, True): TensorProto.INT2,
    (2, False): TensorProto.UINT2,
    (4, True): TensorProto.INT4,
    (4, False): TensorProto.UINT4,
}
FLOAT8 = {int(TensorProto.FLOAT8E4M3FN): "e4m3", int(TensorProto.FLOAT8E5M2): "e5m2"}
WIDEST = 16


class Form(Enum):
    """What is kept of a weight."""

    INTEGERS = "integers"
    OFFSETS = "offsets from each channel's lowest integer"
    INDICES = "indices into a codebook"
    CODES = "codes of groups"
    LEVELS = "levels"


@dataclass(frozen=True)
class Storage:
    """How weights of a format are kept: in which form, and in which type of TensorProto."""

    form: Form
    type: int

    @property
    def type_name(self) -> str:
        return str(TensorProto.DataType.Name(self.type)).lower()

    @property
    def is_float(self) -> bool:
        """Whether ORT multiplies by them in float."""
        return self.form in (Form.CODES, Form.LEVELS)

    def to_json(self) -> dict[str, object]:
        return {"type": self.type_name, "form": self.form.value, "kernels": "float" if self.is_float else "integer"}


def storage(chosen: Format) -> Storage:
    """How weights of this format are kept."""
    grid, kind = chosen.grid, chosen.type
    if isinstance(grid, Grouped):
        return Storage(Form.CODES, _integers(grid.bits, signed=True))
    if kind.bits > 8:
        return Storage(Form.LEVELS, _level_type(chosen))
    if isinstance(grid, Codebook) and grid.bits <= 4:
        narrow = _integers(grid.bits, signed=False)
        if _is_run(grid):
            return Storage(Form.OFFSETS, narrow)
        # Where the levels themselves fit as narrow a type, nothing need be looked up.
        width = 2 if grid.bits <= 2 else 4
        if not -(1 << (width - 1)) <= grid.lowest <= grid.highest < 1 << (width - 1):
            return Storage(Form.INDICES, narrow)
        return Storage(Form.INTEGERS, _integers(width, signed=True))
    return Storage(Form.INTEGERS, _integers(kind.bits, kind.signed))


def storages(graph: IntegerGraph) -> dict[str, Storage]:
    """How the weights of every operation that has some are kept, by its name."""
    return {one.name: storage(one.weight_format) for one in graph if isinstance(one, Conv | Linear)}


def in_float(graph: IntegerGraph) -> set[str]:
    """The operations that ORT runs in float, by name: no 8-bit integers hold their weights, inputs or outputs,
    or they read powers."""
    wide = {one.name for one in graph if any(map(is_wide, (*graph.operands(one), graph.result(one))))}
    wide |= {one.name for one in graph if isinstance(one, MatMul) and one.levels is not None}
    return wide | {name for name, kept in storages(graph).items() if kept.is_float}


def write_weight(writer: Writer, operation: Conv | Linear) -> str:
    """Write the weight of an operation, and what makes reals of it; returns the float tensor."""
    chosen = operation.weight_format
    if chosen.type.bits > WIDEST:
        raise UnsupportedError(
            f"ONNX Runtime runs no weights of {chosen.type}",
            where=f"{operation.kind} {operation.name}",
            fix=f"Give weights {WIDEST} bits or fewer.",
        )
    kept = storage(chosen)
    match kept.form:
        case Form.CODES:
            return _codes(writer, operation, kept)
        case Form.LEVELS:
            return _levels(writer, operation, kept)
        case Form.OFFSETS:
            integers = _offsets(writer, operation, kept)
        case Form.INDICES:
            integers = _looked_up(writer, operation, kept)
        case Form.INTEGERS:
            integers = _widened(writer, operation, kept)
    kind = np.dtype(np.uint8 if kept.type == TensorProto.UINT8 else np.int8)
    return writer.dequantize_rows(operation, "weight", integers, kind, scales_of(chosen))


def _integers(bits: int, signed: bool) -> int:
    """The narrowest type that holds integers of so many bits, 8 at most."""
    if bits > 4:
        return int(TensorProto.INT8 if signed else TensorProto.UINT8)
    return int(SUB_BYTE[2 if bits <= 2 else 4, signed])


def _is_run(grid: Codebook) -> bool:
    """Whether each channel uses a run of integers, not all of them the same one around 0."""
    return len(grid.rows) > 1 and all(row[-1] - row[0] == len(row) - 1 for row in grid.rows)


def _level_type(chosen: Format) -> int:
    """float8 where it holds every level that there may be, else 16-bit integers."""
    grid = chosen.grid
    if isinstance(grid, Codebook):
        levels = np.array(sorted({level for row in grid.rows for level in row}), np.float64)
        own = [kind for kind, name in FLOAT8.items() if name == grid.kind]
        for kind in (*own, *FLOAT8):
            scaled = levels * _unit(kind, grid)
            if np.array_equal(_as(kind, scaled).astype(np.float64), scaled):
                return kind
    return int(TensorProto.INT16 if chosen.type.signed else TensorProto.UINT16)


def _unit(kind: int, grid: Codebook) -> float:
    """A power of two that takes the largest level into the last binade of a float8, whose subnormals lie lowest."""
    top = {"e4m3": 8, "e5m2": 15}[FLOAT8[kind]]
    return 2.0 ** (top - math.floor(math.log2(max(-grid.lowest, grid.highest))))


def _as(kind: int, array: npt.ArrayLike) -> npt.NDArray[np.generic]:
    """An array of a type of TensorProto."""
    # By way of float32: float8 and the integers below a byte are types that numpy itself cannot cast to from all.
    converted: npt.NDArray[np.generic] = np.asarray(array, np.float32).astype(helper.tensor_dtype_to_np_dtype(kind))
    return converted


def _name(operation: Conv | Linear, what: str) -> str:
    return f"{operation.name}_weight_{what}"


def _cast(writer: Writer, operation: Conv | Linear, tensor: str, to: int, what: str) -> str:
    return writer.node("Cast", [tensor], _name(operation, what), to=to)


def _widened(writer: Writer, operation: Conv | Linear, kept: Storage) -> str:
    """Integers as they are, made bytes where they are narrower."""
    tensor = writer.constant(_name(operation, "quantized"), _as(kept.type, operation.weight))
    if kept.type in (TensorProto.INT8, TensorProto.UINT8):
        return tensor
    return _cast(writer, operation, tensor, TensorProto.INT8, "widen")


def _offsets(writer: Writer, operation: Conv | Linear, kept: Storage) -> str:
    """Unsigned integers less the zero point of each channel."""
    grid, weight = operation.weight_format.grid, operation.weight
    assert isinstance(grid, Codebook)
    zero_points = -np.array([row[0] for row in grid.rows], np.int32).reshape(-1, *[1] * (weight.ndim - 1))
    tensor = writer.constant(_name(operation, "quantized"), _as(kept.type, weight + zero_points))
    around = writer.constant(_name(operation, "zero_points"), zero_points)
    wide = _cast(writer, operation, tensor, TensorProto.INT32, "widen")
    centred = writer.node("Sub", [wide, around], _name(operation, "centre"))
    return _cast(writer, operation, centred, TensorProto.INT8, "narrow")


def _looked_up(writer: Writer, operation: Conv | Linear, kept: Storage) -> str:
    """Indices of levels; those of channels with rows of their own count from where their row starts."""
    grid, weight = operation.weight_format.grid, operation.weight
    assert isinstance(grid, Codebook)
    rows = grid.rows if len(grid.rows) > 1 else grid.rows * len(weight)
    indices = np.stack([np.searchsorted(row, one) for row, one in zip(rows, weight, strict=True)])
    tensor = writer.constant(_name(operation, "quantized"), _as(kept.type, indices))
    levels = writer.constant(
        _name(operation, "levels"), np.array([level for row in grid.rows for level in row], np.int8)
    )
    wide = _cast(writer, operation, tensor, TensorProto.INT32, "widen")
    if len(grid.rows) > 1:
        starts = np.cumsum([0, *map(len, grid.rows[:-1])]).astype(np.int32).reshape(-1, *[1] * (weight.ndim - 1))
        wide = writer.node(
            "Add", [wide, writer.constant(_name(operation, "starts"), starts)], _name(operation, "place")
        )
    return writer.node("Gather", [levels, wide], _name(operation, "look_up"), axis=0)


def _codes(writer: Writer, operation: Conv | Linear, kept: Storage) -> str:
    """Codes in rows of a channel, with a scale for each run of `size`."""
    chosen, weight = operation.weight_format, operation.weight
    grid = chosen.grid
    assert isinstance(grid, Grouped)
    rows = weight.reshape(len(weight), -1)
    codes = rows // grid.spread(rows.shape[1]).astype(np.int64)
    scales = scales_of(chosen).astype(np.float64).reshape(-1, 1) * np.array(grid.multipliers)
    tensor = writer.constant(_name(operation, "quantized"), _as(kept.type, codes))
    scale = writer.constant(_name(operation, "scale"), scales.astype(np.float32))
    label = _name(operation, "dequantize")
    real = writer.node("DequantizeLinear", [tensor, scale], label, axis=1, block_size=grid.size)
    if weight.ndim == 2:
        return real
    shape = writer.constant(_name(operation, "shape"), np.array(weight.shape, np.int64))
    return writer.node("Reshape", [real, shape], _name(operation, "unroll"))


def _levels(writer: Writer, operation: Conv | Linear, kept: Storage) -> str:
    """Levels in float8, or 16-bit integers, times the scale. A power of two in between costs no rounding."""
    chosen, weight = operation.weight_format, operation.weight
    unit = _unit(kept.type, chosen.grid) if kept.type in FLOAT8 and isinstance(chosen.grid, Codebook) else 1.0
    scales = scales_of(chosen) / np.float32(unit)
    per_channel = scales.reshape(-1, *[1] * (weight.ndim - 1)) if scales.size > 1 else scales.reshape(())
    tensor = writer.constant(_name(operation, "quantized"), _as(kept.type, weight * unit))
    real = _cast(writer, operation, tensor, TensorProto.FLOAT, "widen")
    return writer.node(
        "Mul", [real, writer.constant(_name(operation, "scale"), per_channel)], _name(operation, "scaled")
    )
