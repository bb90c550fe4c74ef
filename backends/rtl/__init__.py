"""RTL: the integer graph as a pipeline of adders, by distributed arithmetic (da4ml), equal in every element.

`OUT/rtl/` holds Verilog (and VHDL in `vhdl/`) of any FPGA, a testbench with golden vectors, a Makefile, and
`circuit.json`, the same circuit for da4ml's interpreter. Every operation is unrolled: every clock edge takes a sample.

da4ml is LGPL-3 and an extra of this package, so nothing here imports it before it is asked for.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from bitsmith.backend import Arrays, Backend, Refusal
from bitsmith.backends.rtl.capabilities import Options, refusals, require_installed
from bitsmith.execution.batches import vectors
from bitsmith.execution.interpreter import run
from bitsmith.ir.graph import Graph
from bitsmith.ir.integer import IntegerGraph
from bitsmith.target import Target

__all__ = ["RtlBackend"]

FOLDER, CIRCUIT, GOLDEN = "rtl", "circuit.json", 64


class RtlBackend(Backend):
    """Writes a folder of Verilog and VHDL."""

    name: ClassVar[str] = "rtl"

    def refusals(self, graph: Graph, target: Target) -> list[Refusal]:
        """What in the target is no option, and what in the graph is too much to be unrolled."""
        return refusals(graph, target)

    def emit(self, graph: IntegerGraph, target: Target, folder: Path) -> list[Path]:
        """Write the design, a testbench of it and how to run both into `folder/rtl`."""
        require_installed()
        from bitsmith.backends.rtl.design import design
        from bitsmith.backends.rtl.emit import project, sources, tables, vhdl_sources

        made = design(graph, Options.of(target).levels)
        inputs = vectors(graph, GOLDEN, seed=0)
        texts = {CIRCUIT: made.text(), **sources(made), **project(made, inputs, run(graph, inputs))}
        texts |= {f"vhdl/{name}": text for name, text in (vhdl_sources(made) | tables(made)).items()}
        (folder / FOLDER / "vhdl").mkdir(parents=True)
        for name, text in texts.items():
            (folder / FOLDER / name).write_text(text, encoding="utf-8")
        return [Path(FOLDER) / name for name in texts]

    def luts(self, graph: IntegerGraph, target: Target) -> dict[str, float]:
        """da4ml's estimate, of the circuit as it would be written."""
        require_installed()
        from bitsmith.backends.rtl.circuit import luts

        return luts(graph)

    def figures(self, graph: IntegerGraph, folder: Path) -> dict[str, int]:
        """What the written circuit takes: estimates of da4ml's, and what is so by construction. No times."""
        from bitsmith.backends.rtl.design import read

        made = read(graph, folder / FOLDER / CIRCUIT)
        return {
            "LUTs, estimated": made.luts,
            "bits of registers": made.registers,
            "stages": made.stages,
            "cycles from input to output": made.latency,
            "initiation interval": 1,
        }

    def run(self, graph: IntegerGraph, folder: Path, inputs: Arrays) -> dict[str, npt.NDArray[np.generic]]:
        """What da4ml's interpreter makes of a batch of integers, stage by stage of the written circuit."""
        require_installed()
        from bitsmith.backends.rtl.design import read

        made = read(graph, folder / FOLDER / CIRCUIT)
        results = made.run([np.asarray(inputs[name]) for name in graph.inputs])
        return dict(zip(graph.outputs, results, strict=True))

    def trace(self, graph: IntegerGraph, folder: Path, inputs: Arrays) -> dict[str, npt.NDArray[np.generic]]:
        """What every operation makes in the circuit of the graph, before it is cut into stages."""
        require_installed()
        from bitsmith.backends.rtl.circuit import circuit
        from bitsmith.backends.rtl.design import evaluate, unflattened
        from bitsmith.backends.rtl.layout import Port

        wanted = [operation.output for operation in graph]
        flat = evaluate(circuit(graph, wanted), [np.asarray(inputs[name]) for name in graph.inputs])
        values = unflattened([Port(name, graph.values[name]) for name in wanted], flat)
        return dict(zip(wanted, values, strict=True))
