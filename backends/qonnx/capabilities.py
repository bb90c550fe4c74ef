"""What this backend cannot be asked for."""

from __future__ import annotations

from bitsmith.backend import Refusal
from bitsmith.ir.elementwise import RISING, TABULATED
from bitsmith.ir.fusion import is_attention, riders
from bitsmith.ir.graph import Graph, Node
from bitsmith.target import Target

FALLING = "Use Relu, LeakyRelu, Sigmoid, Tanh or HardSigmoid."


def refusals(graph: Graph, target: Target) -> list[Refusal]:
    """What in a target or a normalised graph has no exact form in QONNX."""
    return [*target_refusals(target), *node_refusals(graph)]


def target_refusals(target: Target) -> list[Refusal]:
    """Scales and zero points that float32 and fixed point cannot do exactly."""
    where = f"target {target.name}"
    found = []
    if target.scales != "power-of-two":
        found.append(Refusal(where, "its scales are not powers of two", 'Give scales = "power-of-two".'))
    if not target.symmetric_activations:
        found.append(Refusal(where, "its activations may have zero points", "Give symmetric_activations = true."))
    narrow = [bits for bits in (*target.weight_bits, *target.activation_bits) if bits < 2]
    if narrow:
        found.append(Refusal(where, "QONNX takes signed integers of 1 bit for bipolar", "Give 2 bits or more."))
    return found


def node_refusals(graph: Graph) -> list[Refusal]:
    """Nodes that no exact form is known for."""
    riding = riders(graph)
    found = [_node(node) for node in graph.nodes() if node not in riding]
    return [one for one in found if one is not None]


def _node(node: Node) -> Refusal | None:
    if is_attention(node):
        return Refusal(node.where, "QONNX has no exact form of what attention computes", "Use another target.")
    if node.op in TABULATED - RISING:
        return Refusal(node.where, f"{node.op} falls somewhere, which thresholds cannot do", FALLING)
    if node.op == "PRelu":
        slopes = node.constant(1)
        if slopes is not None and (slopes < 0).any():
            return Refusal(node.where, "PRelu with a negative slope falls before it rises", FALLING)
    if node.op == "AveragePool" and any(node.attribute("pads", [])) and not node.attribute("count_include_pad", 0):
        return Refusal(
            node.where, "its windows average over different counts", "Set count_include_pad = 1, or do not pad."
        )
    return None
