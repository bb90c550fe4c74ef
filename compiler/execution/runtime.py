"""ONNX Runtime: the one place that sets its options and names its exceptions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as native

from bitsmith.errors import ModelError
from bitsmith.execution.threads import session_threads
from bitsmith.ir.graph import Graph

Array = npt.NDArray[Any]
FloatArray = npt.NDArray[np.float32]

SILENT = 4

RUNTIME_ERRORS: tuple[type[Exception], ...] = (
    # Classes of its own, which share no base but Exception; the last two it raises as Python has them.
    *(kind for kind in vars(native).values() if isinstance(kind, type) and issubclass(kind, Exception)),
    RuntimeError,
    ValueError,
)


def session_options(threads: int = 0) -> Any:
    """Options of every session: silent, the same results each time, memory given back after each run.

    threads: how many compute one operator; 0 for one per core, or as many as the process may have.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = SILENT
    options.intra_op_num_threads = session_threads(threads)
    options.use_deterministic_compute = True
    # An arena keeps all that the largest batch took, for each session apart: half the peak of a compile, for no time
    # that could be measured.
    options.enable_cpu_mem_arena = False
    # Between two runs the threads that wait by spinning would take the processor from whoever works on the results.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


class Session:
    """A float graph, or a model, loaded into ONNX Runtime on the processor.

    inputs:  the values that `run` is to be given.
    outputs: the values that `run` gives, in this order: any that a node makes, or else the graph's own outputs.
             What none of them depends on is not computed.
    threads: as in `session_options`.
    weights: by name, the constants that a model says are `elsewhere`; a graph has its own.
    once:    whether it runs a few times only, so that copies of weights in the order that suits kernels do not pay.
             Without them, float sums may be taken in another order.
    as_written: whether a quantized model is computed as its file says, in float between its quantizers: ONNX Runtime's
             own integer kernels may differ by a step, or saturate (x86 without VNNI).
    Raises ModelError where ONNX Runtime cannot load the model.
    """

    def __init__(
        self,
        model: Graph | onnx.ModelProto,
        outputs: Sequence[str] | None = None,
        *,
        threads: int = 0,
        weights: Mapping[str, Array] = MappingProxyType({}),
        once: bool = False,
        as_written: bool = False,
    ) -> None:
        exported, weights = model.to_onnx_apart() if isinstance(model, Graph) else (model, weights)
        self._name = exported.graph.name
        self.outputs = tuple(outputs) if outputs is not None else tuple(one.name for one in exported.graph.output)
        if outputs is not None:
            exported = _with_outputs(exported, outputs)
        options = session_options(threads)
        if as_written or isinstance(model, Graph):
            # A float graph computes in float. Where activations are rounded to a grid (simulate.py), ONNX Runtime would
            # fuse what rounds them, and first quantize the weights between to 8 bits per tensor by itself.
            options.add_session_config_entry("session.disable_quant_qdq", "1")
        if once:
            options.add_session_config_entry("session.disable_prepacking", "1")
        # Large weights are handed over as they are: in a protobuf they would be copied three times.
        self._weights = [
            onnxruntime.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(array)) for array in weights.values()
        ]
        if weights:
            options.add_external_initializers(list(weights), self._weights)
        try:
            self._session = onnxruntime.InferenceSession(
                exported.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
        except RUNTIME_ERRORS as fault:
            raise self._refused("load", fault) from fault
        self.inputs = tuple(one.name for one in self._session.get_inputs())

    def run(self, batch: Mapping[str, Array]) -> dict[str, Array]:
        """The outputs, name -> (n, ...), for a batch of every input, name -> (n, ...); float32 where the model is."""
        try:
            results = self._session.run(list(self.outputs), dict(batch))
        except RUNTIME_ERRORS as fault:
            raise self._refused("run", fault) from fault
        return dict(zip(self.outputs, results, strict=True))

    def _refused(self, doing: str, fault: Exception) -> ModelError:
        lines = str(fault).strip().splitlines() or [type(fault).__name__]
        return ModelError(
            f"ONNX Runtime {onnxruntime.__version__} cannot {doing} the model: {lines[0]}",
            where=self._name,
            fix="Check that the model runs there as it is.",
        )


def _with_outputs(model: onnx.ModelProto, outputs: Sequence[str]) -> onnx.ModelProto:
    """A copy of the model with these outputs and no others; ONNX Runtime infers their types."""
    tapped = onnx.ModelProto()
    tapped.CopyFrom(model)
    del tapped.graph.output[:]
    tapped.graph.output.extend(onnx.ValueInfoProto(name=name) for name in outputs)
    return tapped
