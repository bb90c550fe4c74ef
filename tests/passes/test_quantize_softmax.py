"""quantize-softmax: the base with the least squared error, and equal steps where powers do not pay."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitsmith.dataset import Dataset
from bitsmith.errors import PipelineError
from bitsmith.importing.load import load_graph
from bitsmith.ir.allocation import Allocation
from bitsmith.ir.formats import logarithm
from bitsmith.ir.softmax import levels, thresholds
from bitsmith.manager import Changes, Pipeline, Step
from bitsmith.module import Module
from bitsmith.target import Target
from tests.sketch import Sketch, normal

TARGET = Target("test", "none", activation_bits=(4, 8))


def quantized(spread: float, bits: int = 4, read_twice: bool = False) -> tuple[Module, Changes]:
    """softmax(x) @ v, with scores of this deviation; shares of so many bits."""
    sketch = Sketch(x=("N", 6, 40), v=("N", 40, 3))
    shares = sketch.add("Softmax", "x", axis=-1)
    outputs = [sketch.add("MatMul", shares, "v")] + ([sketch.add("Relu", shares)] if read_twice else [])
    data = Dataset.from_arrays({"x": spread * normal(64, 6, 40), "v": normal(64, 40, 3, seed=1)})
    module, every = Module(load_graph(sketch.model(*outputs)), TARGET, data), Changes()
    module.allocation = Allocation(activations={shares: bits})

    def collect(step: Step) -> None:
        every.made.extend(step.changes.made)
        every.refused.extend(step.changes.refused)

    Pipeline.parse("calibrate,quantize-activations{observer=min-max}").run(module)
    Pipeline.parse("quantize-softmax").run(module, [collect])
    return module, every


def test_the_base_is_the_one_that_loses_least() -> None:
    module, changes = quantized(1.5)
    (name,) = (node.output.name for node in module.graph.nodes("Softmax"))
    chosen = module.plan[name]
    assert chosen.base is not None
    assert len(changes.made) == 1
    scores = 1.5 * normal(64, 6, 40).astype(np.float64)
    powers = np.exp(scores - scores.max(axis=-1, keepdims=True))
    shares = powers / powers.sum(axis=-1, keepdims=True)

    def loss(base: float) -> float:
        found = logarithm(4, base)
        return float(np.square(found.dequantize(found.quantize(shares)) - shares).sum())

    best = min((2 ** (p / 37) for p in range(1, 38)), key=loss)
    assert loss(chosen.base) <= 1.01 * loss(best)


def test_peaks_eight_bits_and_other_readers_keep_equal_steps() -> None:
    assert "powers would lose" in quantized(40.0)[1].refused[0][1]
    assert "8 bits" in quantized(1.5, bits=8)[1].refused[0][1]
    assert "left side of products alone" in quantized(1.5, read_twice=True)[1].refused[0][1]


def test_it_follows_quantize_activations() -> None:
    sketch = Sketch(x=("N", 6, 5), v=("N", 5, 3))
    model = sketch.model(sketch.add("MatMul", sketch.add("Softmax", "x", axis=-1), "v"))
    data = Dataset.from_arrays({"x": normal(4, 6, 5), "v": normal(4, 5, 3)})
    with pytest.raises(PipelineError, match="quantize-activations before quantize-softmax"):
        Pipeline.parse("quantize-softmax").run(Module(load_graph(model), TARGET, data))


@given(st.integers(1, 6), st.floats(1.05, 2.0))
def test_thresholds_and_levels_say_what_the_format_does(bits: int, base: float) -> None:
    powers = logarithm(bits, base)
    between = thresholds(powers) / 2.0**30
    exact = base ** -(np.arange(powers.type.highest) + 0.5)
    np.testing.assert_allclose(between, exact, atol=2.0**-30)
    for real, code in ((1.0, 0), (0.0, powers.type.highest), (base**-1.0, min(1, powers.type.highest))):
        assert int(powers.quantize(real)) == code
    held = levels(powers, 64 * 255)
    reals = powers.dequantize(np.arange(powers.type.highest + 1))
    np.testing.assert_allclose(held / held[0], reals, atol=0.5 / held[0])
    assert held[-1] == 0
