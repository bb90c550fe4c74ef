"""What hangs between passes: a record of each, the float output held still, the stage's legal ops, dumps."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from bitsmith.errors import ArtifactError, BitsmithError, InternalError
from bitsmith.execution.export import to_onnx
from bitsmith.execution.runtime import Session
from bitsmith.ir.legal import illegal_nodes
from bitsmith.ir.validate import validate
from bitsmith.manager import Changes, Pass, Step

Array = npt.NDArray[Any]

TOLERANCE = 1e-4
"""How far a pass that preserves the float graph may move an output, as a part of its largest magnitude.

Folding reorders float32 sums: on ResNet-20, MobileNetV1 and V2 that moves no output by more than 1e-6. A
wrong rewrite moves outputs by percents.
"""


@dataclass(frozen=True)
class Record:
    """One pass as it was run."""

    one: Pass
    changes: Changes
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """What it did, without how long it took: the same for the same inputs."""
        return {
            "pass": str(self.one),
            "made": len(self.changes.made),
            "refused": [{"where": where, "reason": reason} for where, reason in self.changes.refused],
            "notes": list(self.changes.notes),
        }


@dataclass
class Recorder:
    """Keeps a record of each pass, and passes it on to `tell`."""

    tell: Callable[[Record], None] = lambda record: None
    records: list[Record] = field(default_factory=list)

    def __call__(self, step: Step) -> None:
        """Take note of a pass that has run."""
        if step.done is not None:
            self.records.append(Record(step.done, step.changes, step.seconds))
            self.tell(self.records[-1])


@dataclass(frozen=True)
class Announce:
    """Tells of each pass before it runs. Those of pipelines that a pass runs in turn are that pass's own affair."""

    names: Sequence[str]

    def __call__(self, step: Step) -> None:
        """Tell of the pass that comes next."""
        if step.index < len(self.names):
            step.module.progress(self.names[step.index], 0, 0)


class Gate:
    """Asks `check` about the module once, after `index` passes: before the work that takes long."""

    def __init__(self, index: int, check: Callable[[Step], None]) -> None:
        self._index = index
        self._check = check

    def __call__(self, step: Step) -> None:
        """Ask if it is time to."""
        if step.index == self._index:
            self._check(step)


class VerifyEach:
    """Runs the float graph on `inputs` after every pass and holds those that preserve it to that.

    inputs:     by graph input, (samples, ...) float32.
    normalised: after how many passes the float graph is in its normal form, which those that follow must keep
                to (ir/legal.py). An integer graph is held to its own rules (ir/validate.py).
    Raises InternalError naming the pass.
    """

    def __init__(self, inputs: Mapping[str, Array], normalised: int) -> None:
        self._inputs = dict(inputs)
        self._normalised = normalised
        self._before: bytes = b""
        self._outputs: list[Array] = []

    def __call__(self, step: Step) -> None:
        """Compare with how the graph was before the pass."""
        model = step.module.graph.to_onnx()
        now = model.SerializeToString(deterministic=True)
        if now != self._before:
            outputs = self._run(step, model)
            if step.done is not None and step.done.preserves:
                self._compare(step.done, outputs)
            self._before, self._outputs = now, outputs
            self._require_legal(step)
        if step.module.integer is not None:
            validate(step.module.integer)

    def _run(self, step: Step, model: onnx.ModelProto) -> list[Array]:
        try:
            return list(Session(model).run(self._inputs).values())
        except BitsmithError as fault:
            if step.done is None:
                raise
            raise InternalError(
                f"it left a graph that does not run: {fault.what}", where=f"pass {step.done}"
            ) from fault

    def _require_legal(self, step: Step) -> None:
        illegal = illegal_nodes(step.module.graph) if step.index > self._normalised else []
        if illegal:
            node, reason, _ = illegal[0]
            raise InternalError(
                f"it left {node.where}, which is not of normal form: {reason}", where=f"pass {step.done}"
            )

    def _compare(self, one: Pass, outputs: list[Array]) -> None:
        if len(outputs) != len(self._outputs):
            raise InternalError("it changed how many outputs there are", where=f"pass {one}")
        for index, (before, after) in enumerate(zip(self._outputs, outputs, strict=True)):
            if before.shape != after.shape:
                raise InternalError(
                    f"it changed the shape of output {index} from {before.shape} to {after.shape}", where=f"pass {one}"
                )
            moved = float(np.abs(after.astype(np.float64) - before).max(initial=0))
            largest = float(np.abs(before).max(initial=0))
            # Written so that a NaN fails.
            if not moved <= TOLERANCE * largest:
                raise InternalError(
                    f"it promises to preserve the float graph, but moved output {index} by {moved:g} "
                    f"(its largest magnitude is {largest:g})",
                    where=f"pass {one}",
                    fix="Report this model; until it is mended, leave the pass out of --pipeline.",
                )


class Dump:
    """Writes the model after each pass into `folder`: 00-import.onnx, 01-fold-batch-norm.onnx, ..."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        with _dump_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)

    def __call__(self, step: Step) -> None:
        """Write the float graph, or the integer graph once there is one."""
        name = f"{step.index:02d}-{step.done.name if step.done is not None else 'import'}.onnx"
        integer = step.module.integer
        model = step.module.graph.to_onnx() if integer is None else to_onnx(integer)
        with _dump_errors(self._folder):
            (self._folder / name).write_bytes(model.SerializeToString(deterministic=True))


@contextmanager
def _dump_errors(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as reason:
        raise ArtifactError(
            f"cannot be written: {reason.strerror}", where=str(folder), fix="Give --dump-dir another folder."
        ) from reason
