"""Few bits for what an attention's softmax makes: equal steps beside powers of a base.

    python -m tests.benchmarks.softmax > tests/benchmarks/softmax.md

One layer of self-attention with random weights (tests/integration/attention.py), 4 heads of 6 channels, everything but
the softmax in 8 bits; signal to noise of the outputs on 64 samples that no choice was made on, in dB. `sharpness` times
what unit normal weights make of the scores' deviation: the larger, the more of a row goes to one token.
"""

from __future__ import annotations

from bitsmith.dataset import Dataset
from bitsmith.execution.interpreter import run
from bitsmith.importing.load import load_graph
from bitsmith.ir.allocation import Allocation
from bitsmith.manager import Pipeline
from bitsmith.module import Module
from bitsmith.pipelines import NORMALISE
from bitsmith.target import Target
from tests.integration.attention import attention, decibels
from tests.sketch import normal
from tests.sketch import run as run_float

WIDTH = 24
COLUMNS = ((8, ""), (4, ""), (4, "quantize-softmax,"), (3, ""), (3, "quantize-softmax,"))


def figure(tokens: int, sharpness: float, bits: int, more: str) -> tuple[float, float | None]:
    """Signal to noise of the outputs, and the base that was chosen."""
    model = attention(tokens, WIDTH, sharpness=sharpness)
    target = Target("benchmark", "none", activation_bits=(3, 4, 8))
    data = Dataset.from_arrays({"x": normal(64, tokens, WIDTH, seed=1)})
    module = Module(load_graph(model), target, data)
    Pipeline.parse(f"{NORMALISE},calibrate,quantize-weights").run(module)
    (shares,) = (node.output.name for node in module.graph.nodes("Softmax"))
    module.allocation = Allocation(activations={shares: bits})
    Pipeline.parse(f"quantize-activations{{observer=mse}},{more}quantize-biases,integerize").run(module)
    graph, unseen = module.require_integer(), normal(64, tokens, WIDTH, seed=2)
    (name,) = graph.outputs
    made = run(graph, {"x": graph.values["x"].format.quantize(unseen)})[name]
    (exact,) = run_float(model, x=unseen)
    return decibels(exact, graph.values[name].format.dequantize(made)), module.plan[shares].base


def main() -> None:
    """Print the table."""
    print("| tokens | sharpness | 8 bits | 4, equal | 4, powers | base | 3, equal | 3, powers | base |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for tokens in (16, 64):
        for sharpness in (0.7, 1.0, 1.5, 2.0):
            cells = [str(tokens), f"{sharpness}"]
            for bits, more in COLUMNS:
                found, base = figure(tokens, sharpness, bits, more)
                cells += (
                    [f"{found:.1f}"]
                    if not more
                    else [f"{found:.1f}", "equal steps kept" if base is None else f"{base:.3f}"]
                )
            print(f"| {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
