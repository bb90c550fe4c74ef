"""Where accuracy is lost along the network: the integer graph's values against those of the float graph."""

from __future__ import annotations

from bitsmith.execution.interpreter import run
from bitsmith.execution.network import Network, ratio_db
from bitsmith.execution.reals import quantize_inputs
from bitsmith.ir.integer import IntegerGraph


def accumulated(network: Network, graph: IntegerGraph) -> dict[str, float]:
    """Layer -> the signal-to-noise ratio, in dB, of what the integer graph makes there, all errors so far in it.

    A float value that has no integer of its own, under its name, is left out; so is one that lost channels.
    """
    inputs = {name: network.activations[name] for name in graph.inputs}
    made = run(graph, quantize_inputs(graph, inputs), keep=True)
    return {
        layer.name: ratio_db(network.of(layer), graph.values[name].format.dequantize(made[name]))
        for layer in network.layers
        if (name := layer.output.name) in made and made[name].shape == network.of(layer).shape
    }
