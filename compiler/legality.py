"""Whether a model can be compiled at all: asked before any long work, and by `bitsmith check`."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bitsmith import registry
from bitsmith.backend import Backend, Refusal
from bitsmith.errors import UnsupportedError
from bitsmith.faults import Faults
from bitsmith.importing.load import load_graph
from bitsmith.importing.quantized.load import is_quantized, load_quantized
from bitsmith.ir.graph import Graph
from bitsmith.ir.legal import illegal_nodes
from bitsmith.manager import Pipeline
from bitsmith.module import Module
from bitsmith.pipelines import ADOPT, NORMALISE
from bitsmith.target import Target, load_target


@dataclass(frozen=True)
class Findings:
    """target: its name. ops: how many nodes of each op are left after normalising. refusals: what blocks.

    is_quantized: whether the model is quantized already, and so needs no calibration.
    """

    target: str
    ops: Mapping[str, int]
    refusals: Sequence[Refusal]
    is_quantized: bool = False


def check(
    model: str | os.PathLike[str],
    target: Target | str | os.PathLike[str],
    input_shapes: Mapping[str, tuple[int, ...]] | None = None,
) -> Findings:
    """Load and normalise a model, and list what blocks it; what cannot be read at all is raised."""
    chosen = target if isinstance(target, Target) else load_target(target)
    adopted, faults = is_quantized(model), Faults()
    try:
        if adopted:
            quantized = load_quantized(model, input_shapes)
            graph = quantized.graph
            module = Module(graph, chosen, quantizers=quantized.quantizers)
            # What one pass refuses does not keep the next from being asked.
            for one in Pipeline.parse(ADOPT).passes[:-1]:
                with faults.held():
                    one.run(module)
        else:
            graph = load_graph(model, input_shapes)
            Pipeline.parse(NORMALISE).run(Module(graph, chosen))
    except UnsupportedError as fault:
        return Findings(chosen.name, {}, [_refusal(one) for one in fault.each])
    ops = Counter(node.op for node in graph.nodes())
    found = [_refusal(fault) for fault in faults.found]
    found += refusals(graph, chosen, backend_of(chosen))
    return Findings(chosen.name, dict(sorted(ops.items())), found, adopted)


def _refusal(fault: UnsupportedError) -> Refusal:
    return Refusal(fault.where, fault.what, fault.fix)


def backend_of(target: Target) -> Backend:
    """The backend that emits for a target."""
    backend: Backend = registry.find(registry.BACKENDS, target.backend)()
    return backend


def refusals(graph: Graph, target: Target, backend: Backend) -> list[Refusal]:
    """What in a normalised graph has no integer form, or cannot be done by the backend of its target."""
    illegal = [Refusal(node.where, reason, fix) for node, reason, fix in illegal_nodes(graph)]
    return illegal + backend.refusals(graph, target)


def require_legal(graph: Graph, target: Target, backend: Backend) -> None:
    """Raise UnsupportedError for the first refusal, with how many more there are."""
    faults = Faults()
    for one in refusals(graph, target, backend):
        faults.add(UnsupportedError(one.reason, where=one.where, fix=one.fix))
    faults.require_none()
