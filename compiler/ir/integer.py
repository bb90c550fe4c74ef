"""The integer graph: the meaning of a compiled model, in integers alone.

Every operation is a frozen record of its operands, its constants and, where it accumulates, of how its
int32 accumulator is requantized. The scales that ride along in each value's `Format` say what the integers
stand for; no operation reads them. Shapes are those of one sample: the batch dimension is not part of them,
and axes count from 0 without it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from bitsmith.errors import InternalError
from bitsmith.ir.formats import Format, IntegerArray

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Value:
    """One tensor: its name, the shape of one sample, and the format of its integers."""

    name: str
    shape: Shape
    format: Format


@dataclass(frozen=True, eq=False)
class Requantize:
    """`q = min(clamp(((acc * multiplier + 2^(shift-1)) >> shift) + zero_point, lowest, highest), caps)`.

    acc is int32, the product 64 bits wide, the shift arithmetic: round half up, rounded once.

    multiplier: int64 in [1, 2^31), of a shape that broadcasts against one sample of the output. All channels
                share `shift`, so that a kernel keeps it in its code; a channel whose ratio is far below the
                largest has fewer bits in its multiplier, which costs it at most 2^-31 of the largest ratio.
    shift:      1 to 62.
    zero_point: of the output. lowest, highest: the clamp, which is where a fused Relu or Clip lives.
    caps:       an upper bound of each channel's own, int64 in [lowest, highest], of a shape that broadcasts against
                one sample of the output: where a fused Min lives. None, as a rule, where `highest` serves all.
    """

    multiplier: npt.NDArray[np.int64]
    shift: int
    zero_point: int
    lowest: int
    highest: int
    caps: npt.NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        _freeze(self, "multiplier", np.int64)
        if self.multiplier.size == 0 or self.multiplier.min() < 1 or self.multiplier.max() >= 1 << 31:
            raise InternalError("a requantize multiplier outside [1, 2^31)")
        if not 1 <= self.shift <= 62:
            raise InternalError(f"a requantize shift of {self.shift}, outside 1 to 62")
        if self.lowest > self.highest:
            raise InternalError(f"an empty clamp [{self.lowest}, {self.highest}]")
        if self.caps is not None:
            _freeze(self, "caps", np.int64)
            if self.caps.size == 0 or self.caps.min() < self.lowest or self.caps.max() > self.highest:
                raise InternalError(f"caps outside of the clamp [{self.lowest}, {self.highest}]")


@dataclass(frozen=True, eq=False)
class Thresholds:
    """`q` is how many of the thresholds acc is below: what a format of powers takes in place of a requantize step.

    thresholds: int64, falling, above 0; 2^bits - 1 of them.
    """

    thresholds: npt.NDArray[np.int64]

    def __post_init__(self) -> None:
        _freeze(self, "thresholds", np.int64)


def requantized(rule: Requantize, accumulator: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """What a rule makes of accumulators, which its multipliers and caps broadcast against: int64."""
    wide: npt.NDArray[np.int64] = accumulator.astype(np.int64) * rule.multiplier
    wide += 1 << (rule.shift - 1)
    wide >>= rule.shift
    wide += rule.zero_point
    np.clip(wide, rule.lowest, rule.highest, out=wide)
    return wide if rule.caps is None else np.minimum(wide, rule.caps)


@dataclass(frozen=True, eq=False)
class Operation:
    """One step: reads `inputs`, makes `output`, and is named `name` for reports and errors."""

    name: str
    inputs: tuple[str, ...]
    output: str

    @property
    def kind(self) -> str:
        """The name of its class."""
        return type(self).__name__


@dataclass(frozen=True, eq=False)
class Conv(Operation):
    """`acc[o] = bias[o] + sum weight[o, i, k] * (x[i, ...] - x_zero_point)` over 1 or 2 spatial axes.

    x: (channels, *space). weight: (out, channels / groups, *kernel), integers of weight_format; bias: int32
    (out,). pads: before each spatial axis, then after each (ONNX order); padding contributes nothing to acc.
    requantize.multiplier: (out, 1[, 1]) or (1,).
    """

    weight: IntegerArray
    bias: npt.NDArray[np.int32]
    weight_format: Format
    strides: tuple[int, ...]
    pads: tuple[int, ...]
    dilations: tuple[int, ...]
    groups: int
    requantize: Requantize

    def __post_init__(self) -> None:
        _freeze(self, "weight", self.weight_format.type.storage)
        _freeze(self, "bias", np.int32)


@dataclass(frozen=True, eq=False)
class Linear(Operation):
    """`acc[..., m] = bias[m] + sum_k weight[m, k] * (x[..., k] - x_zero_point)`, over the last axis of x.

    weight: (out, in), integers of weight_format; bias: int32 (out,). requantize.multiplier: (out,) or (1,).
    """

    weight: IntegerArray
    bias: npt.NDArray[np.int32]
    weight_format: Format
    requantize: Requantize

    def __post_init__(self) -> None:
        _freeze(self, "weight", self.weight_format.type.storage)
        _freeze(self, "bias", np.int32)


@dataclass(frozen=True, eq=False)
class Add(Operation):
    """`acc = (a - a_zero_point) * multipliers[0] + (b - b_zero_point) * multipliers[1]`; operands broadcast.

    The operands meet in one scale and are rounded once: requantize.multiplier is 1, its shift does the work.
    A negative multiplier subtracts. acc is 64 bits wide; for operands of 8 bits multipliers are chosen so that
    it fits int32 with its rounding added.
    """

    multipliers: tuple[int, int]
    requantize: Requantize


@dataclass(frozen=True, eq=False)
class Mul(Operation):
    """`acc = (a - a_zero_point) * (b - b_zero_point)`; operands broadcast."""

    requantize: Requantize


@dataclass(frozen=True, eq=False)
class MatMul(Operation):
    """`acc[..., i, j] = sum_k (a[..., i, k] - a_zero_point) * (b[..., k, j] - b_zero_point)`.

    Both operands are computed: (..., rows, inner) and (..., inner, columns), of one rank, whose leading axes broadcast.
    A number that scales the product, as attention's 1 / sqrt(width) does, is part of requantize's multiplier.

    levels: int64 (2^bits,), not negative, where a is in a format of powers: `levels[a]` takes the place of
            `a - a_zero_point`. None as a rule.
    """

    requantize: Requantize
    levels: npt.NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        if self.levels is not None:
            _freeze(self, "levels", np.int64)


@dataclass(frozen=True, eq=False)
class Softmax(Operation):
    """`exp(x_j) / sum_i exp(x_i)` over the last axis, as 2^30ths of one, without float and without division.

        d_j = max_i x_i - x_j
        e_j = (coarse[d_j div F] * fine[d_j mod F]) >> shift,  F = len(fine)
        S = sum_j e_j,  k such that 2^30 <= S * 2^k < 2^31
        acc_j = ((e_j * 2^k) * reciprocal(S * 2^k)) >> 30

    acc is requantized as any accumulator, or compared with thresholds where the result is in a format of powers;
    `reciprocal` (ir/softmax.py) is that of a number of 31 bits.

    coarse, fine: int64 of 0 to 2^31 - 1, falling, len(coarse) * len(fine) = 2^bits of x; coarse[0] * fine[0] >> shift
    is 1 or more, and n times it, for rows of n, less than 2^31. `exponentials` makes them of the scale of x: one table
    (fine = [1], shift = 0) of up to 8 bits, two of more.

    Where e_j is within v of E * exp(-scale * d_j), the result is off the true softmax p of the same reals by at most

        |acc_j / 2^30 - p_j| <= v * (1 + n * p_j) / S + 2^-27,  S >= E,

    before requantize rounds it to a grid. With one table v = 1/2, with two v = 2, and E = 2^23 for rows of 255 or
    fewer: of 64 elements in 8 bits none is off by more than 2^-17. (Max-subtraction as I-BERT has it, Kim et al. 2021,
    arXiv:2101.01321, section 3.5; tables and a reciprocal stand for its polynomial and its division.)
    """

    coarse: npt.NDArray[np.int64]
    fine: npt.NDArray[np.int64]
    shift: int
    requantize: Requantize | Thresholds

    def __post_init__(self) -> None:
        _freeze(self, "coarse", np.int64)
        _freeze(self, "fine", np.int64)

    @property
    def one(self) -> int:
        """The largest e: that of the largest x."""
        return int(self.coarse[0]) * int(self.fine[0]) >> self.shift


@dataclass(frozen=True, eq=False)
class LayerNorm(Operation):
    """`(x_j - mean x) / sqrt(var x + epsilon) * gain_j + offset_j` over the last axis, without float and division.

        d_j = (n * x_j - sum x) * 2^finer                     n times what x_j is off the mean, exactly
        V = (n * sum x^2 - (sum x)^2) * 4^finer + epsilon     n^2 times the variance, exactly
        k such that 2^29 <= T < 2^31, T = V * 4^k rounded down
        normal_j = (d_j * reciprocal_root(T)) >> (45 - fraction - k)
        acc_j = normal_j * gain_j + offset_j, in 64 bits, rounded once by requantize, whose multiplier is 1

    with x less its zero point. `reciprocal_root` (ir/layer_norm.py) is 2^45 / sqrt(T).

    gain, offset: int64 (n,), of both signs: with gamma and beta in steps of the result, gamma_j * 2^(shift - fraction)
    and beta_j * 2^shift. epsilon: 1 or more; that of the reals is epsilon * (scale of x / (n * 2^finer))^2, and finer
    is there so that it need not be rounded much. fraction: bits behind the point of `normal`, which reaches sqrt(n)
    and fits in 31 bits.

    Before requantize rounds it to a grid, the result is off that of the real function of the same x and epsilon, in
    steps of the result and with N = |x_j - mean| / sqrt(var + epsilon) <= sqrt(n - 1), by at most

        |gamma_j| * (2^-fraction + N * 2^-28) + (N + 1) * 2^(fraction - shift - 1) + 2^-(shift + 1):

    of rows of 64 with 8 bits less than 2^-18 of the widest result. Rounding the model's epsilon to an integer moves V
    by 1 at most, and N by a part of 1 / (2 * V), V >= (n - 1) * 4^finer wherever x is not constant. (Of I-BERT, Kim et
    al. 2021, arXiv:2101.01321, section 3.6, it has the integer moments; Newton's steps need no division here.)
    """

    gain: npt.NDArray[np.int64]
    offset: npt.NDArray[np.int64]
    epsilon: int
    finer: int
    fraction: int
    requantize: Requantize

    def __post_init__(self) -> None:
        _freeze(self, "gain", np.int64)
        _freeze(self, "offset", np.int64)


@dataclass(frozen=True, eq=False)
class AveragePool(Operation):
    """`acc = sum (x - x_zero_point)` over a window; requantize's multiplier holds the 1/count.

    Padding contributes nothing to acc. Where the count of real elements differs between positions
    (count_include_pad = 0), requantize.multiplier has one entry a position, (1, *out_space); else (1,).
    A global average is the window that covers the whole space.
    """

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    pads: tuple[int, ...]
    dilations: tuple[int, ...]
    requantize: Requantize


@dataclass(frozen=True, eq=False)
class MaxPool(Operation):
    """The largest element of each window; padding never wins. Input and output share one format."""

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    pads: tuple[int, ...]
    dilations: tuple[int, ...]


@dataclass(frozen=True)
class Function:
    """The real function that a table tabulates: an ONNX op, its attributes and its constant operands.

    A table is complete without it. It serves backends that have the function itself (QDQ graphs, reports).

    constants: float operands that follow the first input, each as (shape, values).
    """

    op: str
    attributes: tuple[tuple[str, float | str], ...] = ()
    constants: tuple[tuple[Shape, tuple[float, ...]], ...] = ()


@dataclass(frozen=True, eq=False)
class Table(Operation):
    """`y = entries[x - lowest of x's type]`, element by element; one row a channel (axis 0) or one for all.

    entries: (rows, 2^bits), integers of the output's type.
    """

    entries: IntegerArray
    function: Function

    def __post_init__(self) -> None:
        _freeze(self, "entries", self.entries.dtype)


KNOT_FRACTION = 4
"""Bits of a knot below one step."""

WIDEST_SEGMENT = 9
"""Places of the widest segment: with knots of KNOT_MAGNITUDE, 2^30 are not passed, and differences stay in int32."""

KNOT_MAGNITUDE = 1 << (30 - WIDEST_SEGMENT)


@dataclass(frozen=True, eq=False)
class InterpolatedTable(Operation):
    """A table of wide inputs of which only knots are kept, and lines between them; element by element.

        i = x - lowest of x's type,      s = i >> width,       p = places[s],     r = i mod 2^width
        k = starts[s] + (r >> p),        o = r mod 2^p,        f = KNOT_FRACTION
        y = clamp((knots[k] * 2^p + (knots[k + 1] - knots[k]) * o + 2^(f + p - 1)) >> (f + p), lowest, highest)

    with width = segment_places: there are 2^(bits - width) segments, of 2^width inputs each. int32 holds everything.
    What `fitted` (ir/interpolation.py) makes is within one step of the table with all entries, at every input.

    knots:  int32 (rows, points), in 2^-f of a step, 2^21 of these at most; one row a channel (axis 0) or one for all.
    starts: uint16, of each segment its first knot. places: uint8, 0 to width; 0 has a knot for every input.
    lowest, highest: the clamp, as a function may leave the output's grid between its knots.
    """

    knots: npt.NDArray[np.int32]
    starts: npt.NDArray[np.uint16]
    places: npt.NDArray[np.uint8]
    segment_places: int
    lowest: int
    highest: int
    function: Function

    def __post_init__(self) -> None:
        _freeze(self, "knots", np.int32)
        _freeze(self, "starts", np.uint16)
        _freeze(self, "places", np.uint8)

    @property
    def inputs_counted(self) -> int:
        """How many integers x may be."""
        return len(self.starts) << self.segment_places

    @property
    def nbytes(self) -> int:
        """Of its constants."""
        return self.knots.nbytes + self.starts.nbytes + self.places.nbytes


@dataclass(frozen=True, eq=False)
class Concat(Operation):
    """The inputs side by side along `axis`. All share one format."""

    axis: int


@dataclass(frozen=True, eq=False)
class Reshape(Operation):
    """The same elements in the same order under the output's shape."""


@dataclass(frozen=True, eq=False)
class Transpose(Operation):
    """Output axis i is input axis `permutation[i]`."""

    permutation: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Slice(Operation):
    """`starts[i] : starts[i] + steps[i] * size : steps[i]` along each axis; size is the output's, steps not 0."""

    starts: tuple[int, ...]
    steps: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Pad(Operation):
    """`value` around the input: pads before each axis, then after each (ONNX order)."""

    pads: tuple[int, ...]
    value: int


@dataclass(frozen=True, eq=False)
class Resize(Operation):
    """Nearest-neighbour resize: output index i along axis a reads input index `indices[a][i]`."""

    indices: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class HostOperation:
    """A float op left to the host, applied to the dequantized output (a classifier's Softmax)."""

    output: str
    op: str
    attributes: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, eq=False)
class IntegerGraph:
    """Operations in an order that may be executed, over named values. Checked when made, never changed.

    constants: the integers of values that no operation makes and no caller gives, without a batch dimension.
    host:      what is left to do in float on the outputs; not part of the integer meaning.
    """

    name: str
    values: Mapping[str, Value]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    operations: tuple[Operation, ...]
    constants: Mapping[str, IntegerArray] = field(default_factory=dict)
    host: tuple[HostOperation, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", MappingProxyType(dict(self.values)))
        object.__setattr__(self, "constants", MappingProxyType(dict(self.constants)))
        known = set(self.inputs) | set(self.constants)
        for operation in self.operations:
            missing = [name for name in operation.inputs if name not in known]
            if missing:
                raise InternalError(f"reads {missing[0]} before it is made", where=operation.name)
            if operation.output in known:
                raise InternalError(f"makes {operation.output} a second time", where=operation.name)
            known.add(operation.output)
        unknown = [name for name in self.outputs if name not in known] + sorted(known - set(self.values))
        if unknown:
            raise InternalError(f"value {unknown[0]} is not described or never made", where=self.name)

    def __iter__(self) -> Iterator[Operation]:
        return iter(self.operations)

    def operands(self, operation: Operation) -> tuple[Value, ...]:
        """The values that an operation reads, in order."""
        return tuple(self.values[name] for name in operation.inputs)

    def result(self, operation: Operation) -> Value:
        """The value that an operation makes."""
        return self.values[operation.output]


def _freeze(record: object, name: str, dtype: npt.DTypeLike) -> None:
    """Give a frozen record its own read-only copy of an array."""
    array = np.array(getattr(record, name), dtype=dtype)
    array.flags.writeable = False
    object.__setattr__(record, name, array)
