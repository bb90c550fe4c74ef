"""A compiled folder: what `bitsmith compile` wrote, opened again."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from numpy.lib import format as npy

from bitsmith import registry
from bitsmith.backend import Backend
from bitsmith.dataset import BATCH_LIMIT
from bitsmith.errors import ArtifactError, BitsmithError, DataError, ModelError
from bitsmith.execution.export import from_onnx
from bitsmith.importing.onnx_file import parse
from bitsmith.ir.formats import IntegerArray
from bitsmith.ir.integer import IntegerGraph
from bitsmith.manifest import MANIFEST, file_hashes, read_manifest
from bitsmith.npz import NpzFile

INTEGER_MODEL = "integer.onnx"
VECTORS = "vectors.npz"
REPORT = "report.html"


@dataclass(frozen=True)
class Artifact:
    """A compiled folder and its manifest; what else is in it is read when it is asked for."""

    folder: Path
    manifest: Mapping[str, Any]

    @cached_property
    def integer_model(self) -> onnx.ModelProto:
        """The integer graph as the ONNX model in the folder."""
        path = self.folder / INTEGER_MODEL
        try:
            return parse(path)
        except ModelError as reason:
            raise _damaged("is missing" if not path.exists() else f"cannot be read ({reason.what})", path) from reason

    @cached_property
    def graph(self) -> IntegerGraph:
        """The integer graph: the meaning of the compiled model."""
        try:
            return from_onnx(self.integer_model)
        except BitsmithError as reason:
            raise _damaged(f"holds no integer graph: {reason.what}", self.folder / INTEGER_MODEL) from reason

    @cached_property
    def backend(self) -> Backend:
        """The backend that wrote the folder, as it is installed here."""
        backend: Backend = registry.find(registry.BACKENDS, self.manifest["target"]["backend"])()
        return backend

    @property
    def backend_files(self) -> str:
        """How results call what the backend wrote: the name of its one file, or else the backend's own."""
        return called(self.manifest.get("backend_files", []), self.backend)

    def damage(self) -> list[str]:
        """What differs between the files in the folder and those in the manifest: a line each."""
        listed, found = dict(self.manifest["files"]), file_hashes(self.folder)
        return [
            f"{name}: {_difference(listed.get(name), found.get(name))}"
            for name in sorted({*listed, *found})
            if listed.get(name) != found.get(name)
        ]

    def vectors(self) -> tuple[dict[str, IntegerArray], dict[str, IntegerArray]]:
        """The test vectors: integers in, and the integers that must come out, by name."""
        path = self.folder / VECTORS
        if not path.exists():
            raise _damaged("is missing", path)
        try:
            stored = NpzFile(path)
            inputs = {name: self._vector(stored, f"input.{name}", name) for name in self.graph.inputs}
            outputs = {name: self._vector(stored, f"output.{name}", name) for name in self.graph.outputs}
        except DataError as reason:
            raise _damaged(f"cannot be read ({reason.what})", path) from reason
        if len({len(array) for array in (*inputs.values(), *outputs.values())}) != 1:
            raise _damaged("holds more samples of one value than of another", path)
        return inputs, outputs

    def _vector(self, stored: NpzFile, key: str, name: str) -> IntegerArray:
        """The samples of one value, held to its type before anything is unpacked."""
        value, header = self.graph.values[name], stored.header(key)
        samples, sample = header.shape[:1], header.shape[1:]
        if header.dtype != value.format.type.storage or samples in ((), (0,)) or sample != value.shape:
            raise _damaged(f"{key} holds {header.dtype} {header.shape}, not samples of {name}", stored.path)
        if header.nbytes > BATCH_LIMIT:
            raise _damaged(f"{key} claims {header.nbytes} bytes", stored.path)
        (array,) = stored.rows(key, *samples, *samples)
        return array


def load(folder: str | os.PathLike[str]) -> Artifact:
    """The artifact in a folder that `bitsmith compile` wrote; ArtifactError if it did not."""
    path = Path(folder)
    return Artifact(path, read_manifest(path))


def write_vectors(path: Path, inputs: Mapping[str, npt.NDArray[Any]], outputs: Mapping[str, npt.NDArray[Any]]) -> None:
    """Write test vectors as an .npz that is the same bytes for the same arrays, whenever it is written."""
    arrays = {f"input.{name}": array for name, array in inputs.items()}
    arrays |= {f"output.{name}": array for name, array in outputs.items()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in arrays.items():
            # Its date is 1980, not now. Stored as it is: what a compressor makes depends on its version.
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
                npy.write_array(member, np.ascontiguousarray(array), version=(1, 0), allow_pickle=False)


def called(files: Sequence[str], backend: Backend) -> str:
    """The name of what a backend wrote: of its one file, or its own."""
    return files[0] if len(files) == 1 else backend.name


def _difference(listed: str | None, found: str | None) -> str:
    if found is None:
        return "is missing"
    return f"is not in {MANIFEST}" if listed is None else f"is not what {MANIFEST} says (its SHA-256 differs)"


def _damaged(what: str, path: Path) -> ArtifactError:
    return ArtifactError(what, where=str(path), fix="Compile the model again.")
