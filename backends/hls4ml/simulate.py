"""C simulation: a written project compiled for this machine and run on integers. Needs g++, and nothing of hls4ml."""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bitsmith.backend import Arrays
from bitsmith.backends.hls4ml.project import INTERFACE, PROJECT, channels_last
from bitsmith.backends.qonnx.verify import integers
from bitsmith.errors import ArtifactError
from bitsmith.ir.integer import IntegerGraph

BUILD = "build_lib.sh"
OPTIMIZE = "-O1"
"""Compiles in half the time that hls4ml's -O3 takes, and runs nearly as fast."""


def simulate(graph: IntegerGraph, folder: Path, inputs: Arrays) -> dict[str, npt.NDArray[np.generic]]:
    """What the project in `folder` makes of integer inputs, (samples, *shape), as integers."""
    library, _home = _library(str(folder), _digest(folder))
    function = getattr(library, f"{PROJECT}_double")
    given = [
        channels_last(graph.values[name].format.dequantize(inputs[name]).astype(np.float64)) for name in graph.inputs
    ]
    samples = len(given[0])
    outputs = _outputs(graph, folder)
    made = [np.zeros((samples, *_last(graph.values[name].shape))) for name in outputs]
    for index in range(samples):
        function(*(array[index].ctypes.data_as(ctypes.POINTER(ctypes.c_double)) for array in (*given, *made)))
    found = {
        name: integers(graph, name, np.moveaxis(array, -1, 1) if array.ndim > 2 else array)
        for name, array in zip(outputs, made, strict=True)
    }
    return {name: found[name] for name in graph.outputs}


def _outputs(graph: IntegerGraph, folder: Path) -> list[str]:
    """The graph's outputs in the order of the top function's arguments."""
    path = folder / INTERFACE
    try:
        names = [str(one["name"]) for one in json.loads(path.read_text(encoding="utf-8"))["outputs"]]
    except (OSError, ValueError, KeyError, TypeError) as fault:
        raise ArtifactError(f"cannot be read ({fault})", where=str(path), fix="Compile the model again.") from fault
    if sorted(names) != sorted(graph.outputs):
        raise ArtifactError("names other outputs than the model has", where=str(path), fix="Compile the model again.")
    return names


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


@lru_cache(maxsize=8)
def _library(folder: str, digest: str) -> tuple[Any, tempfile.TemporaryDirectory[str]]:
    """The project, compiled; and the folder that it lives in while it is kept."""
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
    except OSError as fault:
        raise ArtifactError(f"cannot be read ({fault})", where=folder, fix="Compile the model again.") from fault
    # Catapult's script reads MGC_HOME, which may be unset; its own headers are in the project.
    environment = {"MGC_HOME": "", **os.environ}
    try:
        done = subprocess.run(
            ["bash", BUILD], cwd=project, capture_output=True, text=True, env=environment, check=False
        )
    except OSError as fault:
        raise ArtifactError(f"cannot be compiled ({fault})", where=folder, fix="Install bash and g++.") from fault
    built = sorted((project / "firmware").glob("*.so"))
    if done.returncode or not built:
        last = (done.stderr or done.stdout).strip().splitlines()[-1:] or ["no message"]
        raise ArtifactError(
            f"g++ does not compile it ({last[0]})", where=folder, fix="Install g++, or report this model."
        )
    return ctypes.CDLL(str(built[0])), home
