"""From a float model to a compiled folder: every step of `bitsmith compile`, in order."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bitsmith.allocation.measured import costs_of_integers, require_within
from bitsmith.artifact import INTEGER_MODEL, REPORT, VECTORS, Artifact, called, load, write_vectors
from bitsmith.callbacks import Announce, Dump, Gate, Record, Recorder, VerifyEach
from bitsmith.command import command
from bitsmith.data_free import ranges_of, require_one_source
from bitsmith.dataset import Dataset
from bitsmith.describe import describe
from bitsmith.errors import InternalError, PipelineError, VerificationError
from bitsmith.execution.batches import batch_size, in_batches, vectors
from bitsmith.execution.export import to_onnx
from bitsmith.execution.heap import settle_heap, trim_heap
from bitsmith.execution.interpreter import run_batched
from bitsmith.execution.reals import quantize_inputs
from bitsmith.explain.explainer import Explainer
from bitsmith.fidelity import Fidelity, compare
from bitsmith.folder import refuse_to_replace, replacing
from bitsmith.importing.load import load_graph
from bitsmith.importing.quantized.load import Quantized, is_quantized, load_quantized
from bitsmith.ir.formats import IntegerArray
from bitsmith.ir.graph import Graph
from bitsmith.ir.integer import IntegerGraph
from bitsmith.legality import backend_of, require_legal
from bitsmith.manager import Callback, Pipeline, Step
from bitsmith.manifest import file_hashes, write_manifest
from bitsmith.measure import macs_in_all, sqnr
from bitsmith.module import Module
from bitsmith.progress import Progress, silent
from bitsmith.recipe import Recipe
from bitsmith.report import render
from bitsmith.spread import Spreads, spreads
from bitsmith.target import Target, load_target
from bitsmith.verification import Check, Forms

MADE_UP, FROM_DATA = 16, 32
"""Test vectors: samples that try the corners of the input's type, and calibration samples; on these the distance to
the float model is measured too."""

WORK = 8_000_000_000
"""Multiply-accumulates that verification may take; a large model is verified on fewer vectors, but on one of
each kind at least."""

NEED_NORMAL_FORM = ("distill-inputs", "estimate-statistics", "calibrate", "allocate-bits", "integerize")
"""Passes that take long, or that know the ops of a normalised graph alone."""

EACH = 4
"""Calibration samples on which `verify_each` runs the float graph."""


def compile(
    model: str | os.PathLike[str],
    target: Target | str | os.PathLike[str],
    calibration: str | os.PathLike[str] | None,
    out: str | os.PathLike[str],
    *,
    recipe: Recipe | None = None,
    verify_each: bool = False,
    dump_dir: str | os.PathLike[str] | None = None,
    explain: bool = True,
    progress: Progress = silent,
    tell: Callable[[Record], None] | None = None,
) -> Artifact:
    """Compile the ONNX model at `model` for a target, and write the folder `out`.

    A model that others quantized keeps its formats; it needs no calibration, and what is made of it is held to what
    the file computes, operation by operation.

    calibration: an .npz file of samples; None for a recipe that is data-free, or takes no statistics.
    recipe:      bits, observers, or a pipeline of your own; by default what the target prefers.
    verify_each: run the float graph after every pass and stop at one that moves what it promises to preserve.
    dump_dir:    where to write the model after every pass.
    explain:     measure what rounding each layer costs, and what would help the worst.
    tell:        told of each pass when it has run.

    Where the C library is glibc, `mallopt` is set for the whole process, for good (execution/heap.py).

    The same inputs give the same bytes in every file. Whatever stops it, `out` stays what it was. Raises a
    BitsmithError for anything wrong with what it was given.
    """
    settle_heap()
    recipe = recipe or Recipe()
    chosen = recipe.applied(target if isinstance(target, Target) else load_target(target))
    is_adopted = is_quantized(model)
    pipeline = recipe.adopting() if is_adopted else recipe.passes(chosen)
    if verify_each and is_adopted:
        raise PipelineError(
            "passes cannot be verified one by one on a model that is quantized already",
            fix="Leave --verify-each out: each operation is held to the original's at the end.",
        )
    require_one_source(pipeline, recipe, given=calibration is not None)
    refuse_to_replace(Path(os.path.realpath(out)), Path(out))
    quantized = load_quantized(model, recipe.input_shapes) if is_adopted else None
    graph = load_graph(model, recipe.input_shapes) if quantized is None else quantized.graph
    samples = {value.name: value.sample_shape for value in graph.inputs}
    dataset = None if calibration is None else Dataset.open(calibration, samples)
    module = Module(
        graph,
        chosen,
        dataset,
        recipe.seed or 0,
        progress,
        input_ranges=ranges_of(graph, recipe.input_ranges),
        allocation=recipe.allocation,
        sensitivity=recipe.sensitivity,
        quantizers=None if quantized is None else quantized.quantizers,
    )
    limits = recipe.limits(chosen)
    recorder = Recorder(tell) if tell is not None else Recorder()
    normalised = _normalised(pipeline)
    callbacks: list[Callback] = [recorder, Gate(normalised, _refuse_illegal)]
    if dump_dir is not None:
        callbacks.append(Dump(Path(dump_dir)))
    if verify_each:
        callbacks.append(VerifyEach(_few_samples(graph, dataset, module.seed), normalised))
    explainer = Explainer() if explain and not is_adopted else None
    if explainer is not None:
        callbacks.append(explainer)
    callbacks.append(Announce([one.name for one in pipeline.passes]))
    with replacing(Path(out)) as folder:
        original = graph.copy()
        pipeline.run(module, callbacks)
        if limits:
            require_within(costs_of_integers(module.require_integer(), chosen, backend_of(chosen)), limits)
        spread = spreads(module.require_integer(), module.statistics, {} if explainer is None else explainer.weights())
        explained = None if explainer is None else explainer.finish(module)
        again = command(model, target, calibration, recipe, explain=explain)
        manifest = _write(
            folder, original, module, model, pipeline, recorder.records, explained, limits, quantized, spread, again
        )
        write_manifest(folder, manifest)
    return load(out)


def _normalised(pipeline: Pipeline) -> int:
    """How many passes come before the first that takes long and needs normal form, such as calibrate."""
    names = [one.name for one in pipeline.passes]
    found = [names.index(name) for name in NEED_NORMAL_FORM if name in names]
    return min(found, default=len(names))


def _refuse_illegal(step: Step) -> None:
    target = step.module.target
    require_legal(step.module.graph, target, backend_of(target))


def _few_samples(graph: Graph, dataset: Dataset | None, seed: int) -> Mapping[str, npt.NDArray[Any]]:
    """Inputs to run a float graph on: the first of the data, or noise where there is none."""
    if dataset is not None:
        return next(dataset.batches(EACH))
    random = np.random.default_rng(seed)
    return {value.name: random.normal(size=(EACH, *value.sample_shape)).astype(np.float32) for value in graph.inputs}


def _write(
    folder: Path,
    original: Graph,
    module: Module,
    model: str | os.PathLike[str],
    pipeline: Pipeline,
    records: list[Record],
    explained: dict[str, Any] | None,
    limits: Mapping[str, float],
    quantized: Quantized | None,
    spread: Spreads,
    again: Sequence[str],
) -> dict[str, Any]:
    """Write every file but the manifest, which is returned."""
    integer, backend = module.require_integer(), backend_of(module.target)
    module.progress("write the artifact", 0, 0)
    trim_heap()
    exported = to_onnx(integer)
    (folder / INTEGER_MODEL).write_bytes(exported.SerializeToString(deterministic=True))
    inputs, real = _vectors(integer, module)
    outputs = run_batched(integer, inputs)
    write_vectors(folder / VECTORS, inputs, outputs)
    measured, fidelity = None, None
    if quantized is not None:
        fidelity = _compared(quantized, module, integer, inputs, real)
    elif real is not None:
        count = len(next(iter(real.values())))
        measured = sqnr(original, integer, real, {name: array[-count:] for name, array in outputs.items()})
    files = [path.as_posix() for path in backend.emit(integer, module.target, folder)]
    samples = len(next(iter(inputs.values())))
    verified = Forms(integer, exported, backend, folder, called(files, backend)).check(
        in_batches(inputs, batch_size(integer)), "the test vectors", samples, module.progress
    )
    _require_equal(verified)
    manifest = describe(
        module,
        original,
        Path(model),
        str(pipeline),
        records,
        verified,
        measured,
        explained,
        limits,
        fidelity,
        spread,
        again,
    )
    manifest |= {"artifact": dict(backend.figures(integer, folder)), "backend_files": files}
    (folder / REPORT).write_text(render(manifest), encoding="utf-8")
    return {**manifest, "files": file_hashes(folder)}


def _compared(
    quantized: Quantized,
    module: Module,
    integer: IntegerGraph,
    inputs: Mapping[str, IntegerArray],
    real: Mapping[str, npt.NDArray[np.float32]] | None,
) -> Fidelity:
    """The file beside the integer graph, on the real samples, or on the test vectors where there are none."""
    samples = real or {name: integer.values[name].format.dequantize(array) for name, array in inputs.items()}
    if module.adopted is None:
        raise InternalError("quantizers that were not adopted")
    found = compare(quantized.original, quantized.quantizers, module.adopted, integer, samples)
    found.require()
    return found


def _require_equal(checks: Sequence[Check]) -> None:
    """Refuse to hand out what does not compute what its integer graph says."""
    for check in checks:
        if not check.passed:
            raise VerificationError(f"{check.found}; none may, so nothing is written", fix="Report this model.")


def _vectors(
    graph: IntegerGraph, module: Module
) -> tuple[dict[str, IntegerArray], dict[str, npt.NDArray[np.float32]] | None]:
    """Made-up inputs that try the corners, then real ones where there is data; and these as reals."""
    affordable = max(WORK // max(macs_in_all(graph), 1) // 2, 1)
    inputs = vectors(graph, min(MADE_UP, affordable), module.seed)
    if module.calibration is None:
        return inputs, None
    batch = next(module.calibration.batches(min(FROM_DATA, affordable)))
    real = quantize_inputs(graph, batch)
    return {name: np.concatenate([inputs[name], real[name]]) for name in graph.inputs}, batch
