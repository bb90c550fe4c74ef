"""C for microcontrollers: integers only, no heap, nothing interpreted, equal to the integer graph in every element.

`OUT/c/` holds model.h, model.c with the kernels that are used, model_constants.h with all constants, and what is needed
to try them: model_test.c with golden vectors, a Makefile and a CMakeLists.txt.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from bitsmith.backend import Arrays, Backend, Chosen, Footprint, MemoryMap, Refusal, Trial
from bitsmith.backends.c import host
from bitsmith.backends.c.capabilities import refusals
from bitsmith.backends.c.choices import choices
from bitsmith.backends.c.code import code
from bitsmith.backends.c.emit import project, sources
from bitsmith.backends.c.kernels.preferences import OPTION
from bitsmith.backends.c.machines import costs, machine_for, missing, packages, prices, run_texts
from bitsmith.backends.c.memory_map import memory_map
from bitsmith.backends.c.program import Program, build
from bitsmith.backends.c.verify import run_sources, trace
from bitsmith.errors import ArtifactError, BudgetError
from bitsmith.execution.batches import Batch, vectors
from bitsmith.execution.interpreter import run
from bitsmith.ir.graph import Graph
from bitsmith.ir.integer import IntegerGraph
from bitsmith.progress import Progress
from bitsmith.target import Target

__all__ = ["CBackend", "Program", "build", "sources"]

FOLDER = "c"
GOLDEN, GOLDEN_BYTES = 8, 1 << 16
SOURCES = ("model.h", "model.c", "model_constants.h")


class CBackend(Backend):
    """Writes a folder of C99 that a firmware project takes in as it is."""

    name: ClassVar[str] = "c"
    options: ClassVar[frozenset[str]] = frozenset((OPTION,))

    def refusals(self, graph: Graph, target: Target) -> list[Refusal]:
        """What in the target no kernel knows; and a machine without a compiler, on which nothing could be checked."""
        missing = host.host_compiler() is None
        return [*refusals(target), *([Refusal(f"target {target.name}", *host.NO_COMPILER)] if missing else [])]

    def footprint(self, graph: IntegerGraph, target: Target) -> Footprint:
        """The constants that kernels read, the arena, and code where the target has prices for it."""
        program = build(graph, target)
        names = [stage.steps[-1].site.operation.name for stage in program.stages]
        return Footprint(
            program.constants,
            program.memory.total,
            {name: program.memory.needed[position] for position, name in enumerate(names)},
            None if isinstance(target.code, int) else code(program, target.code),
        )

    def choices(self, graph: IntegerGraph, target: Target) -> list[Chosen]:
        """The arena, and the kernel of every step."""
        return choices(build(graph, target))

    def memory(self, graph: IntegerGraph, target: Target) -> MemoryMap:
        """The arena, stage by stage."""
        return memory_map(build(graph, target))

    def measure(self, target: Target, progress: Progress) -> Mapping[str, float] | None:
        """Cycles by widths, of convolutions run on an emulated machine with the target's core."""
        return costs.measure(target, progress)

    def measure_code(self, target: Target, progress: Progress) -> Mapping[str, float] | None:
        """Prices of what kernels are made of, from the sizes of small networks as the target's compiler builds them."""
        return prices.measure(target, progress)

    def emit(self, graph: IntegerGraph, target: Target, folder: Path) -> list[Path]:
        """Write the sources, a test of them and how to build both into `folder/c`."""
        program = build(graph, target)
        inputs = golden(graph)
        texts = {**sources(program), **project(program, inputs, run(graph, inputs))}
        (folder / FOLDER).mkdir()
        for name, text in texts.items():
            (folder / FOLDER / name).write_text(text, encoding="utf-8")
        return [Path(FOLDER) / name for name in texts]

    def run(self, graph: IntegerGraph, folder: Path, inputs: Arrays) -> dict[str, npt.NDArray[np.generic]]:
        """Compile the written C for this machine, under sanitizers, and run it on a batch of integers."""
        return run_sources(build(graph, HOST), self._sources(folder), inputs)

    def trace(self, graph: IntegerGraph, folder: Path, inputs: Arrays) -> dict[str, npt.NDArray[np.generic]]:
        """What every operation of the written C makes on a batch of integers."""
        return trace(build(graph, HOST), self._sources(folder), inputs)

    def trial(self, graph: IntegerGraph, folder: Path, target: Target) -> Trial | None:
        """Build the written C with the target's own compiler, and run its golden vectors on its core under QEMU."""
        if not target.toolchain:
            # What `run` runs is this already, on vectors where the machine has them.
            lacks = "avx2" in target.features and not host.has_avx2()
            return Trial(f"{target.name}: run as plain C, for this machine has no AVX2", None) if lacks else None
        machine = machine_for(target)
        if machine is None:
            return Trial(f"{target.name}: not run, for no machine with its core is known", None)
        absent = missing(machine, target)
        if absent:
            needed = " ".join(packages(absent))
            advice = f" (on Debian: apt-get install {needed})" if needed else ""
            return Trial(f"{target.name}: not run, for want of {', '.join(absent)}{advice}", None)
        texts = self._sources(folder, *SOURCES, "model_test.c", "model_vectors.h")
        try:
            outcome = run_texts(machine, build(graph, target), texts, count=True)
        except BudgetError as fault:
            return Trial(f"{target.name}: not run, {fault.what}", None)
        measured = "" if outcome.counts is None else f", {outcome.counts.total:,} instructions an inference"
        return Trial(f"{target.name} under QEMU ({machine.name}): {outcome.meaning}{measured}", outcome.passed)

    def _sources(self, folder: Path, *names: str) -> dict[str, str]:
        try:
            return {name: (folder / FOLDER / name).read_text(encoding="utf-8") for name in names or SOURCES}
        except (OSError, UnicodeDecodeError) as fault:
            raise ArtifactError(
                f"cannot be read ({fault})", where=str(folder / FOLDER), fix="Compile the model again."
            ) from fault


def golden(graph: IntegerGraph) -> Batch:
    """Inputs for the golden vectors: the corners of their types and some noise, as many as a small flash can hold."""
    inputs = vectors(graph, GOLDEN, seed=0)
    size = sum(values.nbytes for values in inputs.values()) // GOLDEN
    kept = min(max(GOLDEN_BYTES // size, 1), GOLDEN)
    # The last are noise, the first are all one value.
    return {name: values[-kept:] for name, values in inputs.items()}


HOST = Target("host", "c")
"""Layouts and names do not depend on the target, so the sources of any can be run with this one's."""
