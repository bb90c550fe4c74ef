"""`bitsmith verify`: the files against the manifest, and each executable form against the integer reference."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import onnx

from bitsmith.artifact import INTEGER_MODEL, VECTORS, Artifact, load
from bitsmith.backend import Backend, Trial
from bitsmith.errors import BitsmithError
from bitsmith.execution.batches import Batch, batch_size, in_batches
from bitsmith.execution.reals import quantize_inputs
from bitsmith.execution.verify import Form, Verification, integer_onnx, verify_all
from bitsmith.ir.formats import IntegerArray
from bitsmith.ir.integer import IntegerGraph
from bitsmith.progress import Progress, silent
from bitsmith.target import Target
from bitsmith.windows import Window, input_batches, open_samples, windows_per_sample


@dataclass(frozen=True)
class Check:
    """One form held to the interpreter on some samples.

    data: which samples. must_be_equal: whether a single difference is a failure.
    """

    data: str
    must_be_equal: bool
    found: Verification

    @property
    def passed(self) -> bool:
        """Whether nothing differs that must not."""
        return self.found.exact or (not self.must_be_equal and self.found.total > 0)

    def to_json(self) -> dict[str, Any]:
        """As plain data; see `Verification`."""
        return {"data": self.data, "must_be_equal": self.must_be_equal, **self.found.to_json()}


@dataclass(frozen=True)
class Verified:
    """What `verify` found: files that are not what the manifest says, and a check per form and data.

    trial: on the target's own machine; None for artifacts that run here alone.
    """

    files: int
    damage: tuple[str, ...]
    checks: tuple[Check, ...]
    trial: Trial | None = None

    @property
    def passed(self) -> bool:
        """Whether every file is what it was, every check passed and no trial failed."""
        failed = self.trial is not None and self.trial.passed is False
        return not self.damage and not failed and all(check.passed for check in self.checks)

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "passed": self.passed,
            "files": self.files,
            "damage": list(self.damage),
            "checks": [check.to_json() for check in self.checks],
            "trial": None if self.trial is None else {"found": self.trial.found, "passed": self.trial.passed},
        }


def verify(
    folder: str | os.PathLike[str],
    data: str | os.PathLike[str] | None = None,
    *,
    window: Window | None = None,
    progress: Progress = silent,
) -> Verified:
    """Hold a compiled folder to its manifest, and what is in it to the integer reference.

    The interpreter runs the graph of `integer.onnx` on the test vectors, and on the samples of `data` if given.
    What it makes of the vectors must be what is stored; `integer.onnx` in ONNX Runtime must be equal to it in
    every element, and so must the backend's own files, unless the backend says that it rounds otherwise. What was
    made for another machine is tried there too, or on what emulates it, where that is installed.

    window: how samples of `data` that are longer than the model's input are cut.
    Raises ArtifactError for a folder that bitsmith did not write, DataError for data that does not fit.
    """
    artifact = load(folder)
    damage = artifact.damage()
    try:
        checks = tuple(_checks(artifact, data, window, progress))
        target = Target.from_json(artifact.manifest["target"])
        progress(f"try it on {target.name}", 0, 0)
        trial = artifact.backend.trial(artifact.graph, artifact.folder, target)
    except BitsmithError as fault:
        if not damage:
            raise
        # An altered file that cannot be run either: that it is altered says it all.
        return Verified(len(artifact.manifest["files"]), (*damage, str(fault)), ())
    return Verified(len(artifact.manifest["files"]), tuple(damage), checks, trial)


def _checks(
    artifact: Artifact, data: str | os.PathLike[str] | None, window: Window | None, progress: Progress
) -> Iterator[Check]:
    graph = artifact.graph
    inputs, stored = artifact.vectors()
    forms = Forms(graph, artifact.integer_model, artifact.backend, artifact.folder, artifact.backend_files)
    yield stored_vectors(graph, stored, inputs)
    yield from forms.check(in_batches(inputs, batch_size(graph)), "the test vectors", _samples(inputs), progress)
    if data is not None:
        shapes = {name: graph.values[name].shape for name in graph.inputs}
        dataset = open_samples(data, shapes, window)
        batches = (
            quantize_inputs(graph, {name: rows.reshape(-1, *rows.shape[2:]) for name, rows in batch.items()})
            for batch in input_batches(dataset, shapes, window, batch_size(graph))
        )
        samples = len(dataset) * windows_per_sample(dataset, window)
        yield from forms.check(batches, Path(data).name, samples, progress)


def stored_vectors(
    graph: IntegerGraph, stored: Mapping[str, IntegerArray], inputs: Mapping[str, IntegerArray]
) -> Check:
    """The outputs in vectors.npz against what the interpreter makes of its inputs."""
    position = 0

    def read(batch: Batch) -> Mapping[str, IntegerArray]:
        nonlocal position
        start, position = position, position + len(batch[graph.inputs[0]])
        return {name: array[start:position] for name, array in stored.items()}

    (found,) = verify_all(graph, [Form(VECTORS, read)], in_batches(inputs, batch_size(graph)))
    return Check("the test vectors", True, found)


class Forms:
    """The executable forms of a graph: `integer.onnx`, and what its backend wrote into `folder`, called `name`."""

    def __init__(self, graph: IntegerGraph, model: onnx.ModelProto, backend: Backend, folder: Path, name: str) -> None:
        self._graph = graph

        def run_backend(batch: Batch) -> Mapping[str, IntegerArray]:
            return cast(Mapping[str, IntegerArray], backend.run(graph, folder, batch))

        def trace_backend(batch: Batch) -> Mapping[str, IntegerArray] | None:
            return cast(Mapping[str, IntegerArray] | None, backend.trace(graph, folder, batch))

        self._forms = [integer_onnx(graph, model, INTEGER_MODEL), Form(name, run_backend, trace_backend)]
        self._exact = [True, backend.exact]

    def check(self, batches: Iterable[Batch], data: str, samples: int, progress: Progress) -> list[Check]:
        """Hold each form to one run of the interpreter over `samples` samples, which errors and reports call `data`."""
        found = verify_all(self._graph, self._forms, self._counted(batches, data, samples, progress))
        return [Check(data, exact, one) for exact, one in zip(self._exact, found, strict=True)]

    def _counted(self, batches: Iterable[Batch], data: str, samples: int, progress: Progress) -> Iterator[Batch]:
        done = 0
        progress(f"verify on {data}", done, samples)
        for batch in batches:
            yield batch
            done += _samples(batch)
            progress(f"verify on {data}", done, samples)


def _samples(batch: Mapping[str, IntegerArray]) -> int:
    return len(next(iter(batch.values())))
