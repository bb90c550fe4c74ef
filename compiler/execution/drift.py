"""How far integers have drifted from the float network: a whole compile judged without labels."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from bitsmith.dataset import Dataset
from bitsmith.execution.batches import batch_size
from bitsmith.execution.divergence import SOFTENED, Divergence, outputs_of
from bitsmith.execution.export import to_onnx
from bitsmith.execution.integer_session import IntegerSession
from bitsmith.execution.observe import fitting_batch
from bitsmith.execution.reals import dequantize_outputs, quantize_inputs
from bitsmith.ir.fusion import materialised
from bitsmith.ir.graph import Graph
from bitsmith.ir.integer import IntegerGraph

BATCH = 16

SURE = 3.0
"""Standard errors by which one drift must be less than another to be held to be: several are compared with one."""


class Drift:
    """Nats of softened divergence (see Divergence) between a float graph and integers that were made of it.

    graph: in normal form. data: samples of its inputs; what they make of it is kept.
    """

    def __init__(self, graph: Graph, data: Dataset) -> None:
        self._data = data
        self._real = outputs_of(graph, data, fitting_batch(materialised(graph), BATCH))
        self._divergence = Divergence.between(graph, self._real, SOFTENED)

    def of(self, integer: IntegerGraph) -> npt.NDArray[np.float64]:
        """How far an integer graph that was made of the float graph is from it, sample by sample: (n,)."""
        session = IntegerSession(integer, to_onnx(integer))
        parts = []
        for batch in self._data.batches(batch_size(integer)):
            integers = session.run(quantize_inputs(integer, batch))
            # What is left to the host is a Softmax, which the divergence has in itself.
            parts.append(dequantize_outputs(integer, integers, host=False))
        found = (np.concatenate([part[name] for part in parts]) for name in integer.outputs)
        shaped = {name: one.reshape(self._real[name].shape) for name, one in zip(self._real, found, strict=True)}
        return self._divergence.each(self._real, shaped)


def surely_less(one: Sequence[float], other: Sequence[float]) -> bool:
    """Whether a drift is less than another on the same samples by more than which samples these are can explain.

    A paired test: the mean difference against its standard error.
    """
    if one == other:
        return False
    saved = np.asarray(other) - np.asarray(one)
    error = float(saved.std(ddof=1)) / math.sqrt(len(saved)) if len(saved) > 1 else math.inf
    return bool(saved.mean() > SURE * error)
