"""hls4ml: a project for Vitis, Vivado, Quartus or Catapult, whose C simulation equals the integer graph.

`hls4ml/` is the project: firmware, weights, a test bench with vectors, and the vendor tool's script. Beside it,
`model.qonnx.onnx` is what it was converted from, channels last. Nothing is written that hls4ml is known to get wrong,
and what is written is compiled with g++ and held to the integer graph before it is handed out.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from bitsmith.backend import Arrays, Backend, Refusal
from bitsmith.backends.hls4ml.capabilities import refusals, require_exact
from bitsmith.backends.hls4ml.layout import ChannelsLast
from bitsmith.backends.hls4ml.luts import luts
from bitsmith.backends.hls4ml.options import options_of
from bitsmith.backends.hls4ml.project import INTERFACE, write_project, write_vectors
from bitsmith.backends.hls4ml.readme import readme
from bitsmith.backends.hls4ml.simulate import simulate, trace
from bitsmith.backends.qonnx import FILE
from bitsmith.execution.batches import vectors
from bitsmith.execution.interpreter import run
from bitsmith.ir.graph import Graph
from bitsmith.ir.integer import IntegerGraph
from bitsmith.target import Target

__all__ = ["FOLDER", "Hls4mlBackend"]

FOLDER, README = "hls4ml", "README.md"
VECTORS = 32


class Hls4mlBackend(Backend):
    """Writes a project folder that the vendor's tool takes as it is."""

    name: ClassVar[str] = "hls4ml"

    def refusals(self, graph: Graph, target: Target) -> list[Refusal]:
        """What in a target or a graph hls4ml would get wrong, or stop at."""
        return refusals(graph, target)

    def luts(self, graph: IntegerGraph, target: Target) -> dict[str, float] | None:
        """An estimate, where every product has adders of its own; None where multipliers are used in turn."""
        options = options_of(target)
        unrolled = (options.strategy, options.reuse_factor, options.layers) == ("latency", 1, "")
        return luts(graph) if unrolled else None

    def emit(self, graph: IntegerGraph, target: Target, folder: Path) -> list[Path]:
        """Write the project, with vectors for its test bench."""
        require_exact(graph)
        options = options_of(target)
        lowering = ChannelsLast(graph, depthwise=options.has_depthwise)
        model = lowering.model()
        (folder / FILE).write_bytes(model.SerializeToString(deterministic=True))
        project = folder / FOLDER
        project.mkdir()
        told = self.luts(graph, target)
        described = write_project(graph, model, lowering.owners, options, project)
        described["luts"] = None if told is None else round(sum(told.values()))
        (project / INTERFACE).write_text(json.dumps(described, indent=2) + "\n", encoding="utf-8")
        (project / README).write_text(readme(graph.name, described, options), encoding="utf-8")
        inputs = vectors(graph, VECTORS, seed=0)
        write_vectors(
            graph,
            project,
            [("tb_input_features.dat", inputs), ("tb_output_predictions.dat", run(graph, inputs))],
        )
        return sorted(path.relative_to(folder) for path in [folder / FILE, *project.rglob("*")] if path.is_file())

    def figures(self, graph: IntegerGraph, folder: Path) -> dict[str, int]:
        """What the circuit takes, where that can be told: an estimate of ours, which no vendor's tool was asked for."""
        told = json.loads((folder / FOLDER / INTERFACE).read_text(encoding="utf-8"))["luts"]
        return {} if told is None else {"LUTs, estimated without multipliers": told}

    def run(self, graph: IntegerGraph, folder: Path, inputs: Arrays) -> dict[str, npt.NDArray[np.generic]]:
        """What the C simulation of the written project makes of a batch of integers."""
        return simulate(graph, folder / FOLDER, inputs)

    def trace(self, graph: IntegerGraph, folder: Path, inputs: Arrays) -> dict[str, npt.NDArray[np.generic]]:
        """What the C simulation makes layer by layer, of all operations that hls4ml has a layer for."""
        return trace(graph, folder / FOLDER, inputs)
