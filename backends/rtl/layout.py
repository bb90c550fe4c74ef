"""How tensors lie in words: element by element from the lowest bit up, each in the bits of its type."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bitsmith.ir.formats import IntegerArray, IntegerType
from bitsmith.ir.integer import IntegerGraph, Value


@dataclass(frozen=True)
class Port:
    """An input or output of a circuit: one value, all of its elements at once."""

    name: str
    value: Value

    @property
    def type(self) -> IntegerType:
        return self.value.format.type

    @property
    def elements(self) -> int:
        return math.prod(self.value.shape)

    @property
    def bits(self) -> int:
        """Its width."""
        return self.elements * self.type.bits


def ports(graph: IntegerGraph) -> tuple[tuple[Port, ...], tuple[Port, ...]]:
    """The inputs and the outputs, under names that Verilog and VHDL take."""
    return _named("in", graph, graph.inputs), _named("out", graph, graph.outputs)


def _named(prefix: str, graph: IntegerGraph, names: Sequence[str]) -> tuple[Port, ...]:
    plain = [f"{prefix}_{re.sub('[^a-z0-9]+', '_', name.lower()).strip('_') or 'value'}" for name in names]
    made = [
        name if plain.count(name) == 1 else f"{name}_{plain[:index].count(name)}n" for index, name in enumerate(plain)
    ]
    return tuple(Port(name, graph.values[value]) for name, value in zip(made, names, strict=True))


def to_words(given: Iterable[Port], arrays: Sequence[IntegerArray]) -> list[str]:
    """A sample a line, in hexadecimal: the ports one after the other, the first in the lowest bits.

    arrays: for each port, (samples, *shape) integers.
    """
    parts = []
    for port, array in zip(given, arrays, strict=True):
        wide = array.reshape(len(array), -1, 1).astype(np.int64)
        parts.append(((wide >> np.arange(port.type.bits)) & 1).reshape(len(array), -1).astype(np.uint8))
    packed = np.packbits(np.concatenate(parts, axis=1), axis=1, bitorder="little")
    return [row[::-1].tobytes().hex() for row in packed]


def from_words(made: Iterable[Port], lines: Sequence[str]) -> list[npt.NDArray[np.generic]]:
    """The integers in lines of hexadecimal, (samples, *shape) for each port; the reverse of `to_words`."""
    rows = [np.frombuffer(bytes.fromhex(line.zfill(len(line) + len(line) % 2))[::-1], np.uint8) for line in lines]
    bits = np.unpackbits(np.stack(rows), axis=1, bitorder="little").astype(np.int64)
    found, start = [], 0
    for port in made:
        part = bits[:, start : start + port.bits].reshape(len(lines), port.elements, port.type.bits)
        places = 1 << np.arange(port.type.bits, dtype=np.int64)
        if port.type.signed:
            places[-1] = -places[-1]
        found.append((part @ places).astype(port.type.storage).reshape(len(lines), *port.value.shape))
        start += port.bits
    return found
