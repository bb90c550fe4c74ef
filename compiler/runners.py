"""What can be evaluated: a float model, and each executable form of an artifact, all from reals to reals."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import onnx

from bitsmith.artifact import INTEGER_MODEL, Artifact
from bitsmith.errors import ModelError
from bitsmith.execution.batches import batch_size
from bitsmith.execution.integer_session import IntegerSession
from bitsmith.execution.reals import dequantize_outputs, quantize_inputs
from bitsmith.execution.runtime import Session
from bitsmith.importing.onnx_file import read_model
from bitsmith.importing.quantized.executable import executable

Array = npt.NDArray[Any]


FLOAT_BATCH = 32


class Runner(Protocol):
    """Something that makes real outputs of real inputs."""

    @property
    def name(self) -> str:
        """How results call it."""

    @property
    def samples(self) -> Mapping[str, tuple[int, ...]]:
        """Input name -> shape of one sample."""

    @property
    def batch(self) -> int:
        """How many samples to run at once."""

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """The real outputs for a batch (samples, ...) of every input, by name."""


class FloatModel:
    """A float32 model as its file has it, in ONNX Runtime.

    Raises ModelError for a file that cannot be read or run, or whose input shapes are not known.
    """

    def __init__(self, path: str | os.PathLike[str], input_shapes: Mapping[str, tuple[int, ...]] | None = None) -> None:
        self.name = Path(path).name
        model = executable(read_model(path))
        self._session = Session(model)
        given = input_shapes or {}
        shapes = {value.name: _shape(value) for value in _inputs(model, self.name)}
        self.samples = {name: _sample_shape(name, given.get(name, shape), self.name) for name, shape in shapes.items()}
        self.batch = FLOAT_BATCH
        fixed = [shape[0] for shape in shapes.values() if shape and shape[0] is not None]
        self._batch = min(fixed) if fixed else None

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """The outputs by name. A model exported for one batch size runs in pieces of it, the last filled up."""
        samples = len(next(iter(inputs.values())))
        size = self._batch or samples
        parts = []
        for start in range(0, samples, size):
            piece = {name: array[start : start + size] for name, array in inputs.items()}
            parts.append(self._session.run({name: _filled(array, size) for name, array in piece.items()}))
        return {name: np.concatenate([part[name] for part in parts])[:samples] for name in self._session.outputs}


class IntegerModel:
    """`integer.onnx` in ONNX Runtime, between the formats of its inputs and outputs."""

    def __init__(self, artifact: Artifact) -> None:
        self._graph = artifact.graph
        self._session = IntegerSession(self._graph, artifact.integer_model)
        self.name = INTEGER_MODEL
        self.samples = _samples(artifact)
        self.batch = batch_size(self._graph)

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """The outputs by name, dequantized, with what is left to the host applied."""
        integers = self._session.run(quantize_inputs(self._graph, inputs))
        return dequantize_outputs(self._graph, integers)


class BackendModel:
    """What the backend of an artifact wrote, run by that backend."""

    def __init__(self, artifact: Artifact) -> None:
        self._artifact = artifact
        self.name = artifact.backend_files
        self.samples = _samples(artifact)
        self.batch = batch_size(artifact.graph)

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """The outputs by name, dequantized, with what is left to the host applied."""
        graph = self._artifact.graph
        integers = self._artifact.backend.run(graph, self._artifact.folder, quantize_inputs(graph, inputs))
        return dequantize_outputs(graph, integers)


def _samples(artifact: Artifact) -> dict[str, tuple[int, ...]]:
    return {name: artifact.graph.values[name].shape for name in artifact.graph.inputs}


def _inputs(model: onnx.ModelProto, where: str) -> list[onnx.ValueInfoProto]:
    stored = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in stored]
    for value in inputs:
        if value.type.tensor_type.elem_type != onnx.TensorProto.FLOAT:
            raise ModelError(
                "does not take float32", where=f"{where}, input {value.name}", fix="Export the model in float32."
            )
    return inputs


def _shape(value: onnx.ValueInfoProto) -> tuple[int | None, ...]:
    return tuple(d.dim_value if d.HasField("dim_value") else None for d in value.type.tensor_type.shape.dim)


def _sample_shape(name: str, shape: tuple[int | None, ...], where: str) -> tuple[int, ...]:
    known = tuple(size for size in shape[1:] if size is not None)
    if not shape or len(known) != len(shape) - 1:
        example = ",".join(["1", *(str(size or 32) for size in shape[1:])])
        raise ModelError(
            f"its shape is [{', '.join(str(size or '?') for size in shape)}]; all but the first must be known",
            where=f"{where}, input {name}",
            fix=f"Give them, as in --input-shape {name}={example}.",
        )
    return known


def _filled(array: Array, size: int) -> Array:
    """The batch made `size` long by repeating its last sample."""
    missing = size - len(array)
    return np.concatenate([array, np.repeat(array[-1:], missing, axis=0)]) if missing else array
