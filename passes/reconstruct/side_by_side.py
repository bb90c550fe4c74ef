"""The float network and the quantized one, run side by side over the calibration data, step by step."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from bitsmith.dataset import Dataset
from bitsmith.execution.fragment import fragment
from bitsmith.execution.spool import Room, Spool
from bitsmith.ir.formats import Format, IntegerArray, Plan
from bitsmith.ir.graph import Graph, Value
from bitsmith.ir.steps import Step

FloatArray = npt.NDArray[np.float32]
Array = npt.NDArray[Any]
Batch = dict[str, FloatArray]

MEMORY = 128 << 20
"""Bytes of activations in memory; what exceeds them waits on disk."""

LARGEST_BATCH = 16
LARGEST_ELEMENTS = 1 << 21
"""Of the largest activation of a batch: a step has several of its size at hand."""


class SideBySide:
    """The activations that later steps still read, of all samples, as either network makes them.

    Both networks have the same values by name. Those of the quantized one are held as integers of their format.
    """

    def __init__(self, graph: Graph, data: Dataset, plan: Plan) -> None:
        self.plan = plan
        self._room = Room(MEMORY)
        self._real: dict[str, Spool] = {value.name: Spool(self._room) for value in graph.inputs}
        self._rounded: dict[str, Spool] = {}
        self.samples = len(data)
        largest = max(math.prod(value.sample_shape) for value in graph.values() if value.constant is None)
        for batch in data.batches(max(1, min(LARGEST_BATCH, LARGEST_ELEMENTS // largest))):
            for name, array in batch.items():
                self._real[name].append(array)

    def __contains__(self, name: str) -> bool:
        """Whether both networks have made the value, and it is still held."""
        return name in self._real and name in self._rounded

    def real(self, *names: str) -> Iterator[Batch]:
        """Batches of values as the float network makes them: name -> float32 (n, ...)."""
        for parts in zip(*(self._real[name] for name in names), strict=True):
            yield dict(zip(names, parts, strict=True))

    def rounded(self, *names: str) -> Iterator[Batch]:
        """The same batches as the quantized network makes them, as the reals that its integers stand for."""
        for parts in zip(*(self._rounded[name] for name in names), strict=True):
            yield {name: on_grid(part, self.plan[name]) for name, part in zip(names, parts, strict=True)}

    def enter(self, value: Value, plan: Plan) -> None:
        """Quantize an input of the graph by the format that the plan now has for it."""
        self.put(value, (batch[value.name] for batch in self.real(value.name)), plan)

    def run_real(self, graph: Graph, step: Step, *more: Value) -> Iterator[Batch]:
        """Run a step of the float network and keep what it makes; yields its output, and `more`, batch by batch."""
        session = fragment(graph, step.nodes, list(dict.fromkeys([step.output, *more])), threads=1)
        kept = self._real[step.output.name] = Spool(self._room)
        for batch in self.real(*(value.name for value in step.reads)):
            made = session.run(batch)
            kept.append(made[step.output.name])
            yield made

    def run_unrounded(self, graph: Graph, step: Step) -> Iterator[FloatArray]:
        """What a step of the quantized network makes of its rounded inputs, batch by batch, before it is rounded."""
        session = fragment(graph, step.nodes, [step.output], threads=1)
        for batch in self.rounded(*(value.name for value in step.reads)):
            yield session.run(batch)[step.output.name]

    def held(self, batches: Iterable[Array]) -> Spool:
        """The batches, to be read several times; the caller closes it."""
        kept = Spool(self._room)
        for batch in batches:
            kept.append(batch)
        return kept

    def put(self, value: Value, batches: Iterable[FloatArray], plan: Plan) -> None:
        """Round what a step made by the format that the plan now has, and keep the integers."""
        self.plan = plan
        self._rounded[value.name] = self.held(to_integers(batch, plan[value.name]) for batch in batches)

    def drop(self, values: Sequence[Value]) -> None:
        """Forget values that nothing reads any more."""
        for value in values:
            self._real.pop(value.name).close()
            self._rounded.pop(value.name).close()


def to_integers(real: FloatArray, chosen: Format) -> IntegerArray:
    """As `Format.quantize`, in float32: a tie may fall to either side, which no statistics feel."""
    steps = real * np.float32(1 / chosen.scale[0])
    steps += np.float32(chosen.zero_point + 0.5)
    np.floor(steps, out=steps)
    np.clip(steps, chosen.type.lowest, chosen.type.highest, out=steps)
    integers: IntegerArray = steps.astype(chosen.type.storage)
    return integers


def on_grid(integers: IntegerArray, chosen: Format) -> FloatArray:
    """As `Format.dequantize`, in float32."""
    real = integers.astype(np.float32)
    real -= np.float32(chosen.zero_point)
    real *= np.float32(chosen.scale[0])
    return real
