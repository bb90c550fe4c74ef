"""What the manifest says of a compile: plain data, and the same for the same inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import onnx
from onnx.external_data_helper import ExternalDataInfo, uses_external_data

from bitsmith.allocation.measured import costs_of_integers
from bitsmith.callbacks import Record
from bitsmith.dataset import Dataset
from bitsmith.fidelity import Fidelity
from bitsmith.figures import layers
from bitsmith.ir.bounds import bounds
from bitsmith.ir.graph import Graph
from bitsmith.ir.integer import IntegerGraph
from bitsmith.legality import backend_of
from bitsmith.manifest import FORMAT, file_sha256
from bitsmith.measure import Distance, macs_in_all, sizes
from bitsmith.module import Module
from bitsmith.spread import Spreads
from bitsmith.verification import Check

PACKAGES = ("bitsmith", "numpy", "onnx", "onnxruntime")
"""Whose versions decide what a compile gives."""


def describe(
    module: Module,
    original: Graph,
    model: Path,
    pipeline: str,
    records: Sequence[Record],
    verified: Sequence[Check],
    distance: Distance | None,
    explained: Mapping[str, Any] | None,
    limits: Mapping[str, float],
    fidelity: Fidelity | None,
    spread: Spreads,
    command: Sequence[str],
) -> dict[str, Any]:
    """The manifest, less the hashes of the files. No times and no folders are in it."""
    graph, backend = module.require_integer(), backend_of(module.target)
    memory = backend.memory(graph, module.target)
    return {
        "format": FORMAT,
        "command": list(command),
        "versions": {name: version(name) for name in PACKAGES},
        "model": {
            "name": graph.name,
            "file": model.name,
            "sha256": file_sha256(model),
            "external_data": external_data(model),
        },
        "calibration": _data(module.calibration, module.made_up),
        "data_free": module.batch_norms is not None,
        "quantized_by_others": None if fidelity is None else _adopted(module, fidelity),
        "target": module.target.to_json(),
        "pipeline": pipeline,
        "seed": module.seed,
        "inputs": list(graph.inputs),
        "outputs": list(graph.outputs),
        "left_to_host": [
            {"output": step.output, "op": step.op, "attributes": dict(step.attributes)} for step in graph.host
        ],
        "size": sizes(original, graph),
        "macs": macs_in_all(graph),
        "costs": costs_of_integers(graph, module.target, backend),
        "budgets": dict(limits),
        "choices": [one.to_json() for one in backend.choices(graph, module.target)],
        "memory": None if memory is None else memory.to_json(),
        "allocation": None if module.allocation is None else module.allocation.to_json(),
        "program": None if module.solution is None else module.solution.to_json(),
        "sensitivity": None if module.sensitivity is None else module.sensitivity.to_json(),
        "distance": None if distance is None else {"samples": distance.samples, "sqnr_db": distance.sqnr_db},
        "verification": [one.to_json() for one in verified],
        "layers": [layer.to_json() for layer in layers(graph, bounds(graph))],
        "values": _values(graph),
        "weights": _weights(graph),
        "explain": explained,
        "spreads": spread.to_json(),
        "passes": [record.to_json() for record in records],
    }


def external_data(model: Path) -> dict[str, str]:
    """The SHA-256 of each file that an ONNX model keeps weights in, by its place beside the model."""
    tensors = onnx.load(model, load_external_data=False).graph.initializer
    files = {ExternalDataInfo(tensor).location for tensor in tensors if uses_external_data(tensor)}
    return {file: file_sha256(model.parent / file) for file in sorted(files)}


def _data(data: Dataset | None, made_up: str | None) -> dict[str, Any] | None:
    """The calibration samples: from which file, or how they were made up."""
    if data is None:
        return None
    file = Path(data.source.name).name if made_up is None else None
    return {"file": file, "made_up": made_up, "sha256": data.sha256(), "samples": len(data)}


def _adopted(module: Module, fidelity: Fidelity) -> dict[str, Any]:
    """Where formats came from, and how near the integers are to what the file computes."""
    derived = () if module.adopted is None else module.adopted.derived
    formats = {"formats": "of the file", "derived": list(derived)}
    return {**formats, **fidelity.to_json()}


def _values(graph: IntegerGraph) -> dict[str, Any]:
    """Shape of one sample and format of every value."""
    return {
        name: {"shape": list(value.shape), "format": value.format.to_json()} for name, value in graph.values.items()
    }


def _weights(graph: IntegerGraph) -> dict[str, Any]:
    """Format of the weights of every operation that has some, by its name."""
    formats = {operation.name: getattr(operation, "weight_format", None) for operation in graph}
    return {name: found.to_json() for name, found in formats.items() if found is not None}
