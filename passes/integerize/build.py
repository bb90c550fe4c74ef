"""The integer graph while it is being built from a float graph and its plan."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from bitsmith.errors import InternalError
from bitsmith.ir import graph as float_ir
from bitsmith.ir.dyadic import dyadic
from bitsmith.ir.formats import Format, IntegerArray, Plan
from bitsmith.ir.fusion import caps_of, clamp_of, group_output
from bitsmith.ir.integer import HostOperation, Operation, Requantize, Value


@dataclass
class Build:
    """What has been lowered so far. A lowering reads formats from `plan` and adds values and operations."""

    plan: Plan
    values: dict[str, Value] = field(default_factory=dict)
    constants: dict[str, IntegerArray] = field(default_factory=dict)
    operations: list[Operation] = field(default_factory=list)
    host: list[HostOperation] = field(default_factory=list)
    renamed: dict[str, str] = field(default_factory=dict)
    """Float value name -> integer value name, where a host op took the float name away from its input."""

    def add(self, operation: Operation) -> None:
        self.operations.append(operation)

    def format(self, value: float_ir.Value) -> Format:
        return self.plan[value.name]

    def operand(self, value: float_ir.Value) -> str:
        """The integer value that stands for a float activation."""
        name = self.renamed.get(value.name, value.name)
        if name not in self.values:
            raise InternalError(f"{name} is read before it is lowered")
        return name

    def operands(self, node: float_ir.Node) -> tuple[str, ...]:
        """The integer values of all operands of a node whose constants are values like any other."""
        names = []
        for value in node.inputs:
            if value is None:
                raise InternalError("an operand that is left out", where=node.where)
            if value.constant is not None and value.name not in self.values:
                self._add_constant(value, node.output.rank)
            names.append(self.operand(value))
        return tuple(names)

    def _add_constant(self, value: float_ir.Value, rank: int) -> None:
        array = value.constant
        if array is None:
            raise InternalError("a constant without an array", where=value.name)
        if array.ndim == rank:
            # The reader's first dimension is the batch, over which a constant is repeated.
            if array.shape[0] != 1:
                raise InternalError("a constant with a batch dimension", where=value.name)
            array = array[0]
        self.constants[value.name] = self.format(value).quantize(array)
        self.values[value.name] = Value(value.name, array.shape, self.format(value))

    def result(self, value: float_ir.Value) -> str:
        """Describe the integer value that a float one becomes, and return its name."""
        name = self.renamed.get(value.name, value.name)
        self.values[name] = Value(name, value.sample_shape, self.format(value))
        return name

    def group_result(self, node: float_ir.Node) -> str:
        """The result of a node together with the bias and activation that ride in its requantize step."""
        return self.result(group_output(node))

    def requantize(self, node: float_ir.Node, ratio: npt.ArrayLike, bits: int = 31) -> Requantize:
        """Rescale an accumulator of `node` by `ratio` (real units of it, over the output's scale)."""
        multiplier, shift = dyadic(ratio, bits)
        return self.clamp(node, multiplier, shift)

    def clamp(self, node: float_ir.Node, multiplier: npt.NDArray[np.int64], shift: int) -> Requantize:
        """A requantize step into the format of the node's group, with its fused activation as the clamp.

        Caps are reals, rounded to the grid here and only here; those that bound nothing beyond the clamp are left out.
        """
        output, real = self.format(group_output(node)), caps_of(node)
        lowest, highest = (_on_grid(bound, output) for bound in clamp_of(node))
        caps = None
        if real is not None:
            on_grid = np.minimum(output.quantize(real).astype(np.int64), highest)
            highest = int(on_grid.max())
            if on_grid.min() < highest:
                caps = on_grid.reshape(-1, *[1] * (node.output.rank - 2))
        return Requantize(np.atleast_1d(multiplier), shift, output.zero_point, lowest, highest, caps)


def _on_grid(bound: float, output: Format) -> int:
    """The integer that a real clamp bound falls on; an infinite one is the end of the type."""
    if math.isinf(bound):
        return output.type.highest if bound > 0 else output.type.lowest
    return int(output.quantize(bound))
