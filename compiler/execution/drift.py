"""How far integers have drifted from the float network: one figure for a whole compile, without labels."""

from __future__ import annotations

import numpy as np

from bitsmith.dataset import Dataset
from bitsmith.execution.batches import batch_size
from bitsmith.execution.divergence import SOFTENED, Divergence, outputs_of
from bitsmith.execution.export import to_onnx
from bitsmith.execution.observe import fitting_batch
from bitsmith.execution.reals import dequantize_outputs, quantize_inputs
from bitsmith.execution.runtime import Session
from bitsmith.ir.fusion import materialised
from bitsmith.ir.graph import Graph
from bitsmith.ir.integer import IntegerGraph

BATCH = 16


class Drift:
    """Nats of softened divergence (see Divergence), in the mean over some samples, between a float graph and integers.

    graph: in normal form. data: samples of its inputs; what they make of it is kept.
    """

    def __init__(self, graph: Graph, data: Dataset) -> None:
        self._data = data
        self._real = outputs_of(graph, data, fitting_batch(materialised(graph), BATCH))
        self._divergence = Divergence.between(graph, self._real, SOFTENED)

    def of(self, integer: IntegerGraph) -> float:
        """How far an integer graph that was made of the float graph is from it."""
        session = Session(to_onnx(integer))
        parts = []
        for batch in self._data.batches(batch_size(integer)):
            integers = session.run(quantize_inputs(integer, batch))
            # What is left to the host is a Softmax, which the divergence has in itself.
            parts.append(dequantize_outputs(integer, integers, host=False))
        found = (np.concatenate([part[name] for part in parts]) for name in integer.outputs)
        shaped = {name: one.reshape(self._real[name].shape) for name, one in zip(self._real, found, strict=True)}
        return self._divergence(self._real, shaped)
