"""What a model that others quantized says of its integers, beside the float graph that is left of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from bitsmith.ir.formats import Format

QUANTIZER = "Quantizer"
"""The op, in a float graph on its way in, that rounds its operand to a grid. No graph that is compiled has one."""


@dataclass(frozen=True)
class Quantizer:
    """One place where the model rounds an activation.

    format: the grid. tensor: the value of the file that holds the result, for whoever runs the file beside us; empty
    where it rounds earlier than the file does. holds_integers: whether that value holds the integers, or the reals that
    they stand for.
    """

    format: Format
    tensor: str
    holds_integers: bool


@dataclass(frozen=True, eq=False)
class FixedWeight:
    """Integers of a weight, less their zero point: int64, (outputs, inputs), the scale of each output, and the bits."""

    integers: npt.NDArray[np.int64]
    scales: npt.NDArray[np.float32]
    bits: int


@dataclass(frozen=True)
class Quantizers:
    """All of them: of activations by the name of their node, of constants by the name of the float one.

    dialect: how the file says it: QDQ, QOperator or QONNX.
    weights: of Conv, Gemm and MatMul. operands: of constants that are read as values like any activation; None for one
    with a scale per channel, which can only be a bias.
    """

    dialect: str
    activations: Mapping[str, Quantizer] = field(default_factory=dict)
    weights: Mapping[str, FixedWeight] = field(default_factory=dict)
    operands: Mapping[str, Format | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("activations", "weights", "operands"):
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))


@dataclass(frozen=True)
class Adopted:
    """What became of them.

    quantizers: by integer value, what says its integers in the file. derived: what the file leaves in float, outputs
    and operands of sums, and that was given formats. rounded: by node whose bias is no whole number of the steps of its
    accumulator, or beyond what that can hold: per output, how many steps rounding them may move it.
    """

    quantizers: Mapping[str, Quantizer]
    derived: tuple[str, ...]
    rounded: Mapping[str, npt.NDArray[np.float64]]
