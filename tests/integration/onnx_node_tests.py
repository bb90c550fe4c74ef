"""ONNX's own backend tests, put through the compiler one by one: each compiles and agrees, or is refused by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnx.backend.test
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator

from bitsmith.dataset import Dataset
from bitsmith.errors import BitsmithError
from bitsmith.execution.interpreter import run
from bitsmith.importing.load import load_graph
from bitsmith.legality import backend_of, require_legal
from bitsmith.manager import Pipeline
from bitsmith.module import Module
from bitsmith.pipelines import NORMALISE
from bitsmith.target import load_target

Arrays = dict[str, npt.NDArray[Any]]

FOLDERS = ("node", "simple", "pytorch-operator", "pytorch-converted")
QUANTIZE = "calibrate,quantize-weights,quantize-activations{observer=min-max},quantize-biases,integerize"
AS_THEY_STAND, CONSTANT = FORMS = ("as they stand", "operands constant")
"""Operands constant: all inputs but the first are made initializers, as the weights of a layer are."""

BOUND = 0.02
"""Of the span of a test's output: what 8 bits for inputs, weights and outputs may cost."""


class Verdict(Enum):
    """How a test ended. An output beyond the bound is a defect, and so is any exception but a refusal."""

    AGREES = "compiles and agrees"
    REFUSED = "refused by name"
    DISAGREES = "compiles and disagrees"


@dataclass(frozen=True)
class Outcome:
    """What became of one test. text: the refusal, or what went wrong."""

    name: str
    verdict: Verdict
    text: str = ""


def cases() -> list[Path]:
    """The folders of all tests that come with their model."""
    root = Path(onnx.backend.test.__file__).parent / "data"
    return sorted(path.parent for folder in FOLDERS for path in (root / folder).glob("*/model.onnx"))


def outcome(folder: Path, form: str) -> Outcome:
    """Compile a test's model to 8 bits, calibrated on the test's own input, and compare what it makes of that.

    form: one of FORMS.
    """
    try:
        model, inputs = read_case(folder, form)
    except (TypeError, NotImplementedError, ValueError) as fault:
        return Outcome(folder.name, Verdict.REFUSED, f"its data are not arrays: {fault}")
    try:
        found, expected = _both(model, inputs)
    except BitsmithError as refusal:
        return Outcome(folder.name, Verdict.REFUSED, str(refusal))
    for name, exact in expected.items():
        away = float(np.abs(found[name] - exact).max(initial=0.0))
        span = float(np.abs(exact).max(initial=0.0))
        if found[name].shape != exact.shape or not away <= BOUND * span:
            return Outcome(folder.name, Verdict.DISAGREES, f"{name} is {away:.4g} away, of {span:.4g}")
    return Outcome(folder.name, Verdict.AGREES)


def read_case(folder: Path, form: str) -> tuple[onnx.ModelProto, Arrays]:
    model = onnx.load(folder / "model.onnx")
    initial = {tensor.name for tensor in model.graph.initializer}
    wanted = [value.name for value in model.graph.input if value.name not in initial]
    inputs: Arrays = {}
    for index, name in enumerate(wanted):
        tensor = onnx.TensorProto()
        tensor.ParseFromString((folder / "test_data_set_0" / f"input_{index}.pb").read_bytes())
        inputs[name] = numpy_helper.to_array(tensor)
    if form == CONSTANT:
        for name in wanted[1:]:
            model.graph.initializer.append(numpy_helper.from_array(inputs.pop(name), name))
        keep = [value for value in model.graph.input if value.name in inputs or value.name in initial]
        del model.graph.input[:]
        model.graph.input.extend(keep)
    return model, inputs


def _both(model: onnx.ModelProto, inputs: Arrays) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """What the integers make of the inputs, as reals, and what the float model does of the same on their grid."""
    target = load_target("onnxruntime")
    graph = load_graph(model)
    samples = {value.name: value.sample_shape for value in graph.inputs}
    module = Module(graph, target, Dataset.from_arrays({name: inputs[name] for name in samples}))
    Pipeline.parse(NORMALISE).run(module)
    require_legal(module.graph, target, backend_of(target))
    Pipeline.parse(QUANTIZE).run(module)
    integer = module.require_integer()
    given = {name: integer.values[name].format.quantize(inputs[name]) for name in integer.inputs}
    made = run(integer, given)
    found = {name: integer.values[name].format.dequantize(made[name]) for name in integer.outputs}
    on_grid = {name: integer.values[name].format.dequantize(array).astype(np.float32) for name, array in given.items()}
    names = [value.name for value in model.graph.output]
    expected = dict(zip(names, ReferenceEvaluator(model).run(None, {**inputs, **on_grid}), strict=True))
    # Beyond what was calibrated for, outputs saturate: rounding an input may take it there, as close to a pole.
    ends = {name: integer.values[name].format for name in found}
    reach = {name: one.dequantize(np.array([one.type.lowest, one.type.highest])) for name, one in ends.items()}
    return found, {name: np.clip(expected[name], *reach[name]) for name in found}
