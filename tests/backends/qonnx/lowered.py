"""Float models lowered to integers with power-of-two scales and no zero points, as the FPGA backends ask for."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx

from bitsmith.dataset import Dataset
from bitsmith.importing.load import load_graph
from bitsmith.ir.graph import Graph
from bitsmith.ir.integer import IntegerGraph
from bitsmith.manager import Pipeline
from bitsmith.module import Module
from bitsmith.pipelines import NORMALISE
from bitsmith.target import Target

BITS = tuple(range(2, 17))
FABRIC = Target(
    "fabric", "qonnx", "", BITS, BITS, ("tensor", "channel"), symmetric_activations=True, scales="power-of-two"
)


def normalised(model: onnx.ModelProto) -> Graph:
    """The float graph that backends are asked about."""
    module = Module(load_graph(model), FABRIC)
    Pipeline.parse(NORMALISE).run(module)
    return module.graph


def integers(
    model: onnx.ModelProto,
    inputs: Mapping[str, tuple[int, ...]],
    weights: int = 6,
    activations: int = 6,
    granularity: str = "tensor",
    seed: int = 0,
) -> IntegerGraph:
    """The integer graph of a model, calibrated on noise."""
    generator = np.random.default_rng(seed)
    samples = {key: generator.normal(size=(16, *shape)).astype(np.float32) for key, shape in inputs.items()}
    module = Module(load_graph(model), FABRIC, Dataset.from_arrays(samples))
    po2 = "scales=power-of-two"
    Pipeline.parse(
        f"{NORMALISE},calibrate,quantize-weights{{bits={weights},granularity={granularity},{po2}}},"
        f"quantize-activations{{bits={activations},edges={activations},observer=min-max,symmetric=true,{po2}}},"
        "quantize-biases,integerize"
    ).run(module)
    return module.require_integer()
