"""C simulation: a written project compiled for this machine and run on integers. Needs g++, and nothing of hls4ml."""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bitsmith.backend import Arrays
from bitsmith.backends.hls4ml.project import INTERFACE, PROJECT, channels_last
from bitsmith.backends.hls4ml.watch import Layer, watch
from bitsmith.backends.qonnx.verify import integers
from bitsmith.disk import DISK, full, run_tool
from bitsmith.errors import ArtifactError
from bitsmith.ir.integer import IntegerGraph

Reals = npt.NDArray[np.float64]

BUILD = "build_lib.sh"
OPTIMIZE = "-O1"
"""Compiles in half the time that hls4ml's -O3 takes, and runs nearly as fast."""


def simulate(graph: IntegerGraph, folder: Path, inputs: Arrays) -> dict[str, npt.NDArray[np.generic]]:
    """What the project in `folder` makes of integer inputs, (samples, *shape), as integers."""
    outputs, _layers = _interface(graph, folder)
    made: dict[str, Reals] = {name: np.zeros((_samples(inputs), *_last(graph.values[name].shape))) for name in outputs}
    _call(_library(str(folder), _digest(folder)).function, graph, inputs, list(made.values()))
    return {name: _integers(graph, name, made[name]) for name in graph.outputs}


def trace(graph: IntegerGraph, folder: Path, inputs: Arrays) -> dict[str, npt.NDArray[np.generic]]:
    """As `simulate`, of the result of every operation that hls4ml has a layer for."""
    outputs, layers = _interface(graph, folder)
    built = _library(str(folder), _digest(folder), traced=True)
    samples = _samples(inputs)
    ends = [np.zeros((samples, *_last(graph.values[name].shape))) for name in outputs]
    results = {one.output: one for one in graph}
    by_operation = {one.name: one.output for one in results.values()}
    seen: dict[str, list[Reals]] = {by_operation[layer.operation]: [] for layer in layers}
    for index in range(samples):
        one = {name: array[index : index + 1] for name, array in inputs.items()}
        built.library.allocate_trace_storage(ctypes.c_size_t(ctypes.sizeof(ctypes.c_double)))
        _call(built.function, graph, one, [array[index : index + 1] for array in ends])
        for name, array in _collected(built.library, layers).items():
            seen[by_operation[name]].append(array)
        built.library.free_trace_storage()
    shaped = {name: np.stack(rows).reshape(samples, *_last(graph.values[name].shape)) for name, rows in seen.items()}
    return {name: _integers(graph, name, array) for name, array in shaped.items()}


def _samples(inputs: Arrays) -> int:
    return len(next(iter(inputs.values())))


def _call(function: Any, graph: IntegerGraph, inputs: Arrays, made: Sequence[Reals]) -> None:
    """Give the samples to the top function, one by one; it writes into `made`."""
    given = [
        channels_last(graph.values[name].format.dequantize(inputs[name]).astype(np.float64)) for name in graph.inputs
    ]
    for index in range(len(given[0])):
        function(*(array[index].ctypes.data_as(ctypes.POINTER(ctypes.c_double)) for array in (*given, *made)))


def _integers(graph: IntegerGraph, name: str, made: Reals) -> npt.NDArray[np.generic]:
    """Reals with channels last as the integers of a value."""
    return integers(graph, name, np.moveaxis(made, -1, 1) if made.ndim > 2 else made)


class _Traced(ctypes.Structure):
    """What the bridge of a project gives of a layer."""

    _fields_ = (("name", ctypes.c_char_p), ("data", ctypes.POINTER(ctypes.c_double)))


def _collected(library: ctypes.CDLL, layers: Sequence[Layer]) -> dict[str, Reals]:
    """The values of each layer in the last call, flat, by operation."""
    found = (_Traced * len(layers))()
    library.collect_trace_output(found)
    of = {layer.name: layer for layer in layers}
    traced = [(of[one.name.decode()], one.data) for one in found]
    return {layer.operation: np.ctypeslib.as_array(data, shape=(layer.size,)).copy() for layer, data in traced}


def _interface(graph: IntegerGraph, folder: Path) -> tuple[list[str], list[Layer]]:
    """The graph's outputs in the order of the top function's arguments, and the layers that can be watched."""
    path = folder / INTERFACE
    try:
        described = json.loads(path.read_text(encoding="utf-8"))
        names = [str(one["name"]) for one in described["outputs"]]
        layers = [Layer.of(one) for one in described["layers"]]
    except (OSError, ValueError, KeyError, TypeError) as fault:
        raise ArtifactError(f"cannot be read ({fault})", where=str(path), fix="Compile the model again.") from fault
    known = {one.name for one in graph}
    if sorted(names) != sorted(graph.outputs) or any(layer.operation not in known for layer in layers):
        raise ArtifactError("names what the model does not have", where=str(path), fix="Compile the model again.")
    return names, layers


def _last(shape: tuple[int, ...]) -> tuple[int, ...]:
    return (*shape[1:], shape[0]) if len(shape) > 1 else shape


def _digest(folder: Path) -> str:
    """What the files of a project hash to, so that one that was changed is compiled again."""
    total = hashlib.sha256()
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    for path in paths:
        total.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes())
    if not paths:
        raise ArtifactError("holds no project", where=str(folder), fix="Compile the model again.")
    return total.hexdigest()


@dataclass(frozen=True)
class Built:
    """A project, compiled; and the folder that it lives in while it is kept."""

    library: ctypes.CDLL
    home: tempfile.TemporaryDirectory[str]

    @property
    def function(self) -> Any:
        """The top function, of doubles."""
        return getattr(self.library, f"{PROJECT}_double")


@lru_cache(maxsize=8)
def _library(folder: str, digest: str, traced: bool = False) -> Built:
    """Compile a project. traced: with all layers watched."""
    del digest  # what is cached depends on it
    home = tempfile.TemporaryDirectory(prefix="bitsmith-hls4ml-")
    project = Path(home.name) / "project"
    try:
        shutil.copytree(folder, project)
        script = project / BUILD
        script.write_text(script.read_text(encoding="utf-8").replace("-O3", OPTIMIZE), encoding="utf-8")
        # Catapult's bridge reads weights as it runs, from a path.
        bridge = project / f"{PROJECT}_bridge.cpp"
        text = bridge.read_text(encoding="utf-8").replace('"./firmware/weights"', f'"{project}/firmware/weights"')
        bridge.write_text(text, encoding="utf-8")
        if traced:
            watch(project, [Layer.of(one) for one in json.loads((project / INTERFACE).read_text("utf-8"))["layers"]])
    except OSError as fault:
        if fault.errno in DISK:
            raise full(str(fault.strerror), home.name) from fault
        raise ArtifactError(f"cannot be read ({fault})", where=folder, fix="Compile the model again.") from fault
    # Catapult's script reads MGC_HOME, which may be unset; its own headers are in the project.
    environment = {"MGC_HOME": os.environ.get("MGC_HOME", "")}
    try:
        done = run_tool(["bash", BUILD], project, environment)
    except OSError as fault:
        raise ArtifactError(f"cannot be compiled ({fault})", where=folder, fix="Install bash and g++.") from fault
    built = sorted((project / "firmware").glob("*.so"))
    if done.returncode or not built:
        last = (done.stderr or done.stdout).strip().splitlines()[-1:] or ["no message"]
        raise ArtifactError(
            f"g++ does not compile it ({last[0]})", where=folder, fix="Install g++, or report this model."
        )
    return Built(ctypes.CDLL(str(built[0])), home)
