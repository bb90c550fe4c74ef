"""Every format of weights, decided without data: what is on the grid, and how little rounding loses."""

from __future__ import annotations

import numpy as np
import pytest

from bitsmith.errors import PipelineError
from bitsmith.importing.load import load_graph
from bitsmith.ir.formats import Format
from bitsmith.ir.linear import LINEAR, weight_value
from bitsmith.manager import Pipeline
from bitsmith.module import Module
from bitsmith.target import Target
from tests.sketch import Sketch, normal

TARGET = Target(
    "test", "none", weight_bits=tuple(range(2, 9)), granularities=("channel", "tensor"), weight_formats=("int",)
)
FORMATS = ["ternary", "codebook", "powers", "power-sums", "e4m3", "e5m2", "e3m2", "e2m3", "e2m1"]


def decided(options: str) -> list[tuple[np.ndarray, Format]]:
    """The weights of a Conv, a depthwise one and a MatMul, and their formats."""
    sketch = Sketch(x=("N", 4, 6, 6))
    first = sketch.add("Conv", "x", normal(8, 4, 3, 3) * np.exp(normal(8, 1, 1, 1)), normal(8))
    depthwise = sketch.add("Conv", first, normal(8, 1, 3, 3, seed=1), group=8)
    pooled = sketch.add("Flatten", sketch.add("GlobalAveragePool", depthwise))
    graph = load_graph(sketch.model(sketch.add("MatMul", pooled, normal(8, 5, seed=2))))
    module = Module(graph, TARGET)
    Pipeline.parse(f"lower-reshapes,quantize-weights{options}").run(module)
    weights = [weight_value(node) for node in graph.nodes(*LINEAR)]
    return [(weight.constant, module.plan[weight.name]) for weight in weights if weight.constant is not None]


def noise(weight: np.ndarray, chosen: Format) -> float:
    """The power of the rounding error beside the weights'."""
    error = chosen.dequantize(chosen.quantize(weight)) - weight
    return float(np.sum(error**2) / np.sum(weight**2))


@pytest.mark.parametrize("granularity", ["channel", "tensor"])
@pytest.mark.parametrize("kind", FORMATS)
def test_each_format_holds_the_weights(kind: str, granularity: str) -> None:
    bits = 4 if kind in ("codebook", "powers") else 8
    for weight, chosen in decided(f"{{bits={bits},format={kind},granularity={granularity}}}"):
        assert chosen.grid is not None
        assert chosen.is_per_channel == (granularity == "channel")
        again = chosen.quantize(chosen.dequantize(chosen.quantize(weight)))
        np.testing.assert_array_equal(again, chosen.quantize(weight))
        assert noise(weight, chosen) < (0.35 if kind == "ternary" else 0.06)


@pytest.mark.parametrize("granularity", ["channel", "tensor"])
def test_each_bit_more_loses_less(granularity: str) -> None:
    losses = [
        [noise(*one) for one in decided(f"{{bits={bits},granularity={granularity}}}")] for bits in (2, 3, 4, 5, 6, 8)
    ]
    for layer in zip(*losses, strict=True):
        assert list(layer) == sorted(layer, reverse=True)


def test_two_bits_lean_to_a_side_per_channel() -> None:
    for weight, chosen in decided("{bits=2}"):
        assert chosen.bits == 2
        assert set(np.unique(chosen.quantize(weight))) <= {-2, -1, 0, 1, 2}


def test_groups_need_scales_per_channel() -> None:
    for weight, chosen in decided("{bits=4,group=4}"):
        assert chosen.bits == 4
        assert noise(weight, chosen) < 0.03
    with pytest.raises(PipelineError, match="stands beside its channel's scale"):
        decided("{bits=4,group=4,granularity=tensor}")
    with pytest.raises(PipelineError, match="Groups are of integers"):
        decided("{bits=4,group=4,format=powers}")


def test_scales_may_be_powers_of_two() -> None:
    for bits in (2, 4, 8):
        for _, chosen in decided(f"{{bits={bits},scales=power-of-two}}"):
            assert all(np.log2(scale).is_integer() for scale in chosen.scale)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("{format=tenary}", "there is no format tenary. Did you mean ternary?"),
        ("{scales=dyadic}", "scales=dyadic"),
        ("{bits=9}", "9-bit weights"),
    ],
)
def test_mistakes_are_told(options: str, message: str) -> None:
    with pytest.raises(PipelineError, match=message.replace("?", r"\?")):
        decided(options)
