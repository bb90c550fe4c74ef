"""Float ONNX models in ONNX Runtime: batches of any size, and its complaints as errors that a user can read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as states

from bitsmith.errors import ModelError

Array = npt.NDArray[Any]

FAULTS: tuple[type[Exception], ...] = (
    *(kind for kind in vars(states).values() if isinstance(kind, type) and issubclass(kind, Exception)),
    RuntimeError,
    ValueError,
)
"""What ONNX Runtime raises: classes of its own, which share no base, and Python's."""


class FloatModel:
    """A float32 model in ONNX Runtime, on the processor.

    samples: input name -> shape of one sample. outputs: the names of what it makes.
    Raises ModelError where ONNX Runtime refuses the model, or an input's shape is not known.
    """

    def __init__(
        self,
        model: onnx.ModelProto,
        name: str,
        input_shapes: Mapping[str, tuple[int, ...]] | None = None,
        optimize: bool = True,
    ) -> None:
        self._name = name
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        if not optimize:
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        try:
            self._session = onnxruntime.InferenceSession(
                model.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
        except FAULTS as fault:
            raise self._refused(fault) from fault
        inputs = {one.name: one for one in self._session.get_inputs()}
        given = input_shapes or {}
        self.samples = {key: self._sample_shape(key, given.get(key, tuple(one.shape))) for key, one in inputs.items()}
        self.outputs = tuple(one.name for one in self._session.get_outputs())
        batches = {one.shape[0] for one in inputs.values() if one.shape and isinstance(one.shape[0], int)}
        self._batch = min(batches) if batches else None
        for key, one in inputs.items():
            if one.type != "tensor(float)":
                raise ModelError(
                    f"takes {one.type}, not float32", where=f"{name}, input {key}", fix="Export it in float32."
                )

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """The outputs for a batch (samples, ...) of every input, by name.

        A model that was exported for one batch size is run in pieces of it, the last filled up.
        """
        samples = len(next(iter(inputs.values())))
        size = self._batch or samples
        parts: list[list[Array]] = []
        for start in range(0, samples, size):
            part = {key: array[start : start + size] for key, array in inputs.items()}
            filled = {key: _filled(array, size) for key, array in part.items()} if self._batch else part
            try:
                parts.append(self._session.run(list(self.outputs), filled))
            except FAULTS as fault:
                raise self._refused(fault) from fault
        joined = [np.concatenate(outputs)[:samples] for outputs in zip(*parts, strict=True)]
        return dict(zip(self.outputs, joined, strict=True))

    def _sample_shape(self, key: str, shape: tuple[int | str | None, ...]) -> tuple[int, ...]:
        known = tuple(size for size in shape[1:] if isinstance(size, int))
        if len(known) != len(shape) - 1:
            example = ",".join(["1", *(str(size) if isinstance(size, int) else "32" for size in shape[1:])])
            raise ModelError(
                f"its shape is {list(shape)}; all but the first dimension must be known",
                where=f"{self._name}, input {key}",
                fix=f"Give them, as in --input-shape {key}={example}.",
            )
        return known

    def _refused(self, fault: Exception) -> ModelError:
        first_line = str(fault).strip().splitlines()[0] if str(fault).strip() else type(fault).__name__
        return ModelError(f"ONNX Runtime cannot run it: {first_line}", where=self._name)


def _filled(array: Array, size: int) -> Array:
    """The batch made `size` long by repeating its last sample."""
    return array if len(array) == size else np.concatenate([array, np.repeat(array[-1:], size - len(array), axis=0)])
