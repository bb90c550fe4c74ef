"""The float graph cut into the steps that become one integer operation each, in the order they run."""

from __future__ import annotations

from dataclasses import dataclass

from bitsmith.ir.fusion import group_output, is_left_to_host, riders, summed
from bitsmith.ir.graph import Graph, Node, Value
from bitsmith.ir.linear import LINEAR, weight_value


@dataclass(frozen=True)
class Step:
    """A leading node with the bias and the activation that ride in its requantize step.

    nodes:  all of them, in execution order. total: what the linear op and its bias sum up to, before the activation.
    output: what the step makes; the only value of it that exists as an integer tensor.
    """

    leader: Node
    nodes: tuple[Node, ...]
    total: Value
    output: Value

    @property
    def is_linear(self) -> bool:
        return self.leader.op in LINEAR and weight_value(self.leader).constant is not None

    @property
    def reads(self) -> list[Value]:
        """The activations that the step is fed, each once."""
        made = {value for node in self.nodes for value in node.outputs}
        read = [value for node in self.nodes for value in node.inputs if value is not None]
        return [value for value in dict.fromkeys(read) if value.constant is None and value not in made]


def steps(graph: Graph) -> list[Step]:
    """The steps of a graph in normal form; a Softmax on an output, which is left to the host, is none."""
    riding = riders(graph)
    made = []
    for leader in graph.nodes():
        if leader in riding or is_left_to_host(leader):
            continue
        nodes, output = [leader], group_output(leader)
        while nodes[-1].output != output:
            nodes.append(nodes[-1].output.consumers[0])
        made.append(Step(leader, tuple(nodes), summed(leader).output, output))
    return made
