"""What a backend is: a folder that turns an integer graph into an artifact, and can run what it wrote."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from bitsmith.ir.graph import Graph
from bitsmith.ir.integer import IntegerGraph
from bitsmith.progress import Progress
from bitsmith.target import Target

Arrays = Mapping[str, npt.NDArray[np.generic]]


@dataclass(frozen=True)
class Refusal:
    """A node that a backend cannot do: where it is, why, and what to do about it."""

    where: str
    reason: str
    fix: str = ""

    def __str__(self) -> str:
        return f"{self.where}: {self.reason}" + (f". {self.fix}" if self.fix else "")


@dataclass(frozen=True)
class Code:
    """What a part of an artifact's code takes, which some operations share.

    part: says what it is: the same in two artifacts, and it is the same part. operations: that need it, each once; none
    where it is there whatever the operations are.
    """

    part: str
    bytes: int
    operations: tuple[str, ...]


@dataclass(frozen=True)
class Footprint:
    """What an artifact takes on its machine.

    flash:  bytes of constants by the operation that reads them, code apart.
    ram:    bytes of activations and scratch that the machine must have in all.
    steps:  of these, the bytes that are in use while each operation runs, by its name; those that take none left out.
    code:   by the target's prices for it; None where nothing is known of it.
    """

    flash: Mapping[str, int]
    ram: int
    steps: Mapping[str, int]
    code: tuple[Code, ...] | None = None


def code_bytes(footprint: Footprint | None, target: Target) -> int | None:
    """Bytes of code: what the backend says, or the figure in the target's file; None where neither is known."""
    if footprint is not None and footprint.code is not None:
        return sum(one.bytes for one in footprint.code)
    return target.code if isinstance(target.code, int) and target.code else None


@dataclass(frozen=True)
class Chosen:
    """How one part of an artifact is done. where: the operations. what: was taken. why: it, and not another."""

    where: str
    what: str
    why: str

    def to_json(self) -> dict[str, str]:
        """As the manifest holds it."""
        return {"where": self.where, "what": self.what, "why": self.why}


@dataclass(frozen=True)
class Block:
    """Bytes of memory that hold one thing for some steps.

    name: of a value, or of what scratch is for. offset, bytes: where it lies. first, last: the steps between which it
    is in use, both included. scratch: whether only the step itself needs it.
    """

    name: str
    offset: int
    bytes: int
    first: int
    last: int
    scratch: bool = False

    def to_json(self) -> dict[str, Any]:
        """All of it, under the names of the fields."""
        return dataclasses.asdict(self)


@dataclass(frozen=True)
class MemoryMap:
    """Where an artifact keeps its values while it runs. bytes: in all. steps: the operations of each, in order."""

    bytes: int
    steps: tuple[tuple[str, ...], ...]
    blocks: tuple[Block, ...]

    def to_json(self) -> dict[str, Any]:
        """As the manifest holds it."""
        return {
            "bytes": self.bytes,
            "steps": [list(step) for step in self.steps],
            "blocks": [block.to_json() for block in self.blocks],
        }


@dataclass(frozen=True)
class Trial:
    """An artifact tried on the machine that it was compiled for: what was found, or why it could not be tried.

    passed: None where it was not tried.
    """

    found: str
    passed: bool | None


class Backend(ABC):
    """Emits one kind of artifact from an integer graph. Made without arguments; holds no state.

    Found by the entry point group `bitsmith.backends`; its package may hold a folder `targets` of TOML files.
    """

    name: ClassVar[str]
    exact: ClassVar[bool] = True
    """Whether the artifact must equal the integer graph in every element."""

    options: ClassVar[frozenset[str]] = frozenset()
    """Of `Target.options`, those that it knows."""

    def refusals(self, graph: Graph, target: Target) -> list[Refusal]:
        """What in a normalised float graph this backend cannot do. Asked before any work is done."""
        return []

    def footprint(self, graph: IntegerGraph, target: Target) -> Footprint | None:
        """What the artifact of a graph takes; None where that is what the graph's own figures say.

        Those are compiler/figures.py for flash, and compiler/allocation/memory.py for memory.
        """
        return None

    def luts(self, graph: IntegerGraph, target: Target) -> Mapping[str, float] | None:
        """Look-up tables that each operation takes, by its name; None for what is no circuit.

        An estimate before place and route: the backend says of what.
        """
        return None

    def choices(self, graph: IntegerGraph, target: Target) -> Sequence[Chosen]:
        """Of what it could have done in several ways, what was taken and why, in the order of the artifact."""
        return []

    def memory(self, graph: IntegerGraph, target: Target) -> MemoryMap | None:
        """Where the artifact keeps its values, step by step; None where it does not say."""
        return None

    def measure(self, target: Target, progress: Progress) -> Mapping[str, float] | None:
        """Cycles of a multiply-accumulate by pair of widths, such as "4x8", as `Target.cycles` has them.

        Measured by running kernels on the target, or on what counts its instructions; None where that cannot be done
        here. The pairs that are left out are those that the target has no kernel for.
        """
        return None

    def measure_code(self, target: Target, progress: Progress) -> Mapping[str, float] | None:
        """Prices of what code is made of, as a table `Target.code` has them; None where that cannot be found out here.

        They are measured with the target's compiler. The names are the backend's own.
        """
        return None

    @abstractmethod
    def emit(self, graph: IntegerGraph, target: Target, folder: Path) -> list[Path]:
        """Write the artifact's files into an existing folder; returns them, relative to it."""

    def figures(self, graph: IntegerGraph, folder: Path) -> Mapping[str, int]:
        """What is known of an artifact once it is written into a folder, by names for people to read in the summary."""
        return {}

    @abstractmethod
    def run(self, graph: IntegerGraph, folder: Path, inputs: Arrays) -> dict[str, npt.NDArray[np.generic]]:
        """Run the emitted artifact on one batch of the graph's integer inputs; returns its integer outputs."""

    def trial(self, graph: IntegerGraph, folder: Path, target: Target) -> Trial | None:
        """Try the written artifact on the target's own machine; None for artifacts that run here alone."""
        return None

    def trace(self, graph: IntegerGraph, folder: Path, inputs: Arrays) -> dict[str, npt.NDArray[np.generic]] | None:
        """What operations make in the artifact, as integers by value, all that can be seen; None where nothing can.

        Asked to find the first layer that differs.
        """
        return None
