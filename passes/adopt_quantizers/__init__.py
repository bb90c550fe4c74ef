"""Take the formats of a model that others quantized."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from bitsmith.faults import Faults
from bitsmith.ir.formats import Plan
from bitsmith.ir.fusion import is_left_to_host, materialised
from bitsmith.ir.graph import Graph
from bitsmith.ir.quantizers import Adopted, Quantizer
from bitsmith.manager import Changes, Pass
from bitsmith.module import Module
from bitsmith.passes.adopt_quantizers.constants import operand_formats, parameter_formats
from bitsmith.passes.adopt_quantizers.grids import for_target
from bitsmith.passes.adopt_quantizers.outputs import derive
from bitsmith.passes.adopt_quantizers.settle import Settled


@dataclass(frozen=True)
class AdoptQuantizers(Pass):
    """Turn each Quantizer of the float graph into the format of the value that it rounds.

    What the file computes stays what it computes, op by op, but for ties, which round up:

        Q(move(x)) = move(Q(x)) for moves, which pick or order elements (rounding is monotone, and acts on each alone)
        Q(Q(x)) = Q(x);  relu(Q(x)) = Q(relu(x)) = the clamp of Q at its zero point
        Q2(Q1(x)) with two grids is a table from one to the other

    A value that would vanish into the op behind it, and so be rounded once less than in the file, is kept apart by a
    Reshape to its own shape. Outputs and operands of sums in float get 16 bits over the static bound of what makes
    them. All other values, weights and constant operands must have quantizers: UnsupportedError names those that have
    none, and whatever else there is that integers, or the target, do not do.
    """

    name: ClassVar[str] = "adopt-quantizers"
    preserves: ClassVar[bool] = False

    def run(self, module: Module) -> Changes:
        changes, faults = Changes(), Faults()
        graph, quantizers = module.graph, module.require_quantizers()
        settled = Settled(graph, dict(quantizers.activations), changes, faults)
        settled.settle()
        formats = dict(settled.formats)
        for value, one in settled.formats.items():
            with faults.held():
                formats[value] = for_target(one, value.name, module.target)
        formats |= operand_formats(graph, quantizers, module.target, faults)
        parameters, rounded = parameter_formats(graph, quantizers, formats, module.target, faults)
        derived = derive(graph, formats, module.target, faults)
        faults.require_none()
        formats |= derived
        for value in derived:
            changes.note(f"{value.name} is in float in the file: {formats[value].bits} bits over what it can reach")
        module.plan = Plan({value.name: one for value, one in formats.items()} | parameters)
        kept = set(materialised(graph))
        taps = {value.name: one for value, one in settled.taps.items() if value in kept and one.tensor}
        module.adopted = Adopted(taps | _on_host(graph, taps), tuple(one.name for one in derived), rounded)
        return changes


def _on_host(graph: Graph, taps: dict[str, Quantizer]) -> dict[str, Quantizer]:
    """What a Softmax on the host reads, under the name of what it makes, as the integer graph has it."""
    softmaxes = filter(is_left_to_host, graph.nodes("Softmax"))
    return {node.output.name: taps[node.operand(0).name] for node in softmaxes if node.operand(0).name in taps}
