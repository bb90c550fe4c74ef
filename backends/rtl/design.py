"""A circuit cut into pipeline stages: what it takes, how it is kept in a file, and what it computes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Context, localcontext
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
from da4ml.trace import to_pipeline
from da4ml.trace.fixed_variable import LookupTable
from da4ml.types import CombLogic, JSONEncoder, Op, Pipeline, minimal_kif

from bitsmith.backends.rtl.circuit import EXACT_DIGITS, circuit
from bitsmith.backends.rtl.constants import INPUT, LOOKUP, MUX, aligned
from bitsmith.backends.rtl.layout import Port, ports
from bitsmith.errors import ArtifactError
from bitsmith.ir.formats import IntegerArray
from bitsmith.ir.integer import IntegerGraph


@dataclass(frozen=True)
class Field:
    """Where an element of an output lies among the bits that a circuit makes, `width` of them from `start` up.

    They are the element's own from bit `shift` up; those above are copies of the highest where it is signed.
    """

    start: int
    width: int
    shift: int
    signed: bool


@dataclass(frozen=True)
class Design:
    """A pipeline that takes a sample and gives one in every clock cycle."""

    pipeline: Pipeline
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]

    @property
    def stages(self) -> int:
        """Between registers."""
        return len(self.pipeline.solutions)

    @property
    def latency(self) -> int:
        """Clock edges from an input to its output: a register before every stage, and one behind the last."""
        return self.stages + 1

    @property
    def luts(self) -> int:
        """da4ml's estimate of look-up tables of six inputs."""
        return round(float(self.pipeline.cost))

    @property
    def registers(self) -> int:
        """Bits of flip-flops."""
        return int(self.pipeline.reg_bits)

    def fields(self) -> list[Field]:
        """For each element of each output, in order."""
        found, start = [], 0
        for interval in self.pipeline.out_qint:
            signed, whole, fraction = minimal_kif(interval)
            width = int(signed) + whole + fraction
            found.append(Field(start, max(width, 0), -fraction, bool(signed)))
            start += max(width, 0)
        return found

    def text(self) -> str:
        """As JSON, which `read` takes."""
        return json.dumps(self.pipeline, cls=JSONEncoder, separators=(",", ":")) + "\n"

    def run(self, arrays: Sequence[IntegerArray]) -> list[npt.NDArray[np.generic]]:
        """What da4ml's interpreter computes with the stages: (samples, *shape) for each output."""
        return unflattened(self.outputs, evaluate(joined(self.pipeline.solutions), arrays))


def design(graph: IntegerGraph, levels: int) -> Design:
    """The circuit of a graph with a register at the latest after so many adders."""
    with localcontext(Context(prec=EXACT_DIGITS)):
        stages = to_pipeline(circuit(graph), levels, verbose=False)
    return Design(aligned(stages), *ports(graph))


def read(graph: IntegerGraph, path: Path) -> Design:
    """The design in a file that `Design.text` was written to."""
    try:
        state = path.stat()
        return Design(_pipeline(path, state.st_mtime_ns, state.st_size), *ports(graph))
    except (OSError, ValueError, TypeError, LookupError) as fault:
        raise ArtifactError(f"cannot be read ({fault})", where=str(path), fix="Compile the model again.") from fault


@lru_cache(maxsize=2)
def _pipeline(path: Path, changed: int, size: int) -> Pipeline:
    """Kept for the last designs, since a data set is run batch by batch."""
    found = Pipeline.deserialize(json.loads(path.read_text(encoding="utf-8")))
    if not found.solutions:
        raise ValueError("it has no stages")
    return found


def evaluate(circuit: CombLogic, arrays: Sequence[IntegerArray]) -> npt.NDArray[np.float64]:
    """What da4ml's interpreter makes of (samples, *shape) integers for each input: (samples, elements)."""
    samples = len(arrays[0])
    flat = np.concatenate([array.reshape(samples, -1) for array in arrays], axis=1).astype(np.float64)
    return np.asarray(circuit.predict(np.ascontiguousarray(flat), 1)).reshape(samples, -1)


def joined(stages: Sequence[CombLogic]) -> CombLogic:
    """The stages as one circuit, wires in the place of registers.

    da4ml's interpreter takes inputs of 32 bits at the most, which what passes from stage to stage need not be.
    """
    ops: list[Op] = []
    tables: list[LookupTable] = []
    made: list[int] = []
    for stage in stages:
        places: list[int] = []
        for op in stage.ops:
            if op.opcode == INPUT and stage is not stages[0]:
                places.append(made[op.id0])
                continue
            places.append(len(ops))
            ops.append(op if op.opcode == INPUT else _moved(op, places, len(tables)))
        tables += stage.lookup_tables or ()
        made = [places[index] for index in stage.out_idxs]
    first, last = stages[0], stages[-1]
    return last._replace(
        shape=(first.shape[0], last.shape[1]),
        inp_shifts=first.inp_shifts,
        out_idxs=made,
        ops=ops,
        lookup_tables=tuple(tables) or None,
    )


def _moved(op: Op, places: Sequence[int], tables: int) -> Op:
    """An operation whose operands have moved, and that so many tables have come before."""
    data = op.data
    if abs(op.opcode) == MUX:
        data = (data >> 32 << 32) + places[data & 0xFFFFFFFF]
    elif op.opcode == LOOKUP:
        data += tables
    left, right = (places[index] if index >= 0 else index for index in (op.id0, op.id1))
    return op._replace(id0=left, id1=right, data=data)


def unflattened(values: Sequence[Port], flat: npt.NDArray[np.float64]) -> list[npt.NDArray[np.generic]]:
    """(samples, elements) as integers of each value's own shape and type."""
    ends = np.cumsum([port.elements for port in values])[:-1]
    parts = np.split(flat, ends, axis=1)
    return [
        part.reshape(-1, *port.value.shape).astype(port.type.storage) for port, part in zip(values, parts, strict=True)
    ]
