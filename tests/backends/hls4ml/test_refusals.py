"""What hls4ml 1.3.0 gets wrong without a word, or stops at: each is lowered exactly, or refused by its node's name.

Those that are lowered (the global pools, AveragePool, BatchNormalization, the Softmax of a head, which is the host's)
are simulated in test_networks.py; here they must not be refused. What a Quant node may say that comes out wrong
(scales, zero points, rounding modes, narrow ranges, one bit) is never written, whatever the model.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from bitsmith.backends.hls4ml import Hls4mlBackend
from bitsmith.backends.hls4ml.capabilities import refusals, require_exact
from bitsmith.backends.hls4ml.layout import ChannelsLast
from bitsmith.backends.qonnx import build_model
from bitsmith.errors import UnsupportedError
from bitsmith.importing.load import load_graph
from bitsmith.ir.formats import Format
from bitsmith.ir.integer import IntegerGraph, Value
from bitsmith.legality import check
from bitsmith.target import Target, load_target
from tests.backends.hls4ml.networks import flattened, images, signals
from tests.backends.qonnx.lowered import integers, normalised
from tests.sketch import Sketch, normal

VITIS = "hls4ml-vitis"


def behind_conv(op: str, *constants: object, **attributes: object) -> onnx.ModelProto:
    """A convolution, then one node of this op."""
    s = Sketch(opset=20 if op == "Gelu" else 17, x=("N", 4, 6, 6))
    made = s.add("Conv", "x", normal(4, 4, 3, 3), normal(4, seed=1))
    return s.model(s.add(op, made, *constants, name="culprit", **attributes))  # type: ignore[arg-type]


PAIR = Sketch(a=("N", 4, 4), b=("N", 4, 4))
PRODUCT = PAIR.model(PAIR.add("MatMul", "a", "b", name="culprit"))

SHARES = Sketch(x=("N", 4, 6, 6))
INSIDE = SHARES.add("Softmax", SHARES.add("Conv", "x", normal(4, 4, 3, 3)), axis=1, name="culprit")
SOFTMAX_INSIDE = SHARES.model(SHARES.add("Conv", INSIDE, normal(3, 4, 1, 1)))

POOLED = Sketch(x=("N", 4, 6))
ALONG = POOLED.model(POOLED.add("MaxPool", "x", kernel_shape=[2], name="culprit"))
STACKED = Sketch(a=("N", 4, 3, 3), b=("N", 4, 2, 3))
ROWS = STACKED.model(STACKED.add("Concat", "a", "b", axis=2, name="culprit"))

REFUSED = {
    "add of a constant": behind_conv("Add", normal(1, 4, 4, 4)),
    "concat of rows": ROWS,
    "dilated conv": behind_conv("Conv", normal(4, 4, 2, 2), dilations=[2, 2]),
    "grouped conv": behind_conv("Conv", normal(4, 2, 2, 2), group=2),
    "max pool along one axis": ALONG,
    "padded max pool": behind_conv("MaxPool", kernel_shape=[2, 2], pads=[1, 1, 0, 0]),
    "product along the last of several axes": behind_conv("MatMul", normal(4, 3)),
    "transpose": behind_conv("Transpose", perm=[0, 2, 1, 3]),
    "average pool of different counts": behind_conv("AveragePool", kernel_shape=[2, 2], pads=[1, 1, 0, 0]),
    "clip": behind_conv("Clip", -0.5, 6.0),
    "relu6": behind_conv("Clip", 0.0, 6.0),
    "conv transpose": behind_conv("ConvTranspose", normal(4, 4, 2, 2)),
    "elu": behind_conv("Elu"),
    "erf": behind_conv("Erf"),
    "gelu": behind_conv("Gelu"),
    "lp pool": behind_conv("GlobalLpPool"),
    "hard sigmoid": behind_conv("HardSigmoid"),
    "hard swish": behind_conv("HardSwish"),
    "layer normalization": behind_conv("LayerNormalization", normal(4), normal(4), axis=-1),
    "leaky relu": behind_conv("LeakyRelu", alpha=0.1),
    "product of two activations": PRODUCT,
    "prelu": behind_conv("PRelu", np.abs(normal(4, 1, 1))),
    "mean over channels": behind_conv("ReduceMean", axes=[1]),
    "resize": behind_conv("Resize", None, np.array([1, 1, 2, 2], np.float32), mode="nearest"),
    "sigmoid": behind_conv("Sigmoid"),
    "softmax before a layer": SOFTMAX_INSIDE,
    "slice": behind_conv("Slice", np.array([1]), np.array([3]), np.array([2])),
    "tanh": behind_conv("Tanh"),
}


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_check_refuses_by_name_with_a_reason_and_a_way_out(name: str, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    onnx.save(REFUSED[name], path)
    found = check(path, VITIS).refusals
    assert found
    for one in found:
        assert "culprit" in one.where or "conv0" in one.where
        assert one.reason
        assert one.fix


LOWERED = [
    *(images(), signals(), flattened()),
    behind_conv("Softmax", axis=1),
    behind_conv("GlobalMaxPool"),
    behind_conv("ReduceMean", axes=[2, 3]),
]


@pytest.mark.parametrize("model", LOWERED)
def test_what_is_lowered_is_not_refused(model: onnx.ModelProto) -> None:
    assert not refusals(normalised(model), load_target(VITIS))


@pytest.mark.parametrize(("model", "shape"), [(images(), (3, 6, 6)), (signals(), (3, 12)), (flattened(), (2, 4, 4))])
def test_quant_nodes_say_nothing_that_hls4ml_gets_wrong(model: onnx.ModelProto, shape: tuple[int, ...]) -> None:
    written = ChannelsLast(integers(model, {"x": shape}, 4, 5)).model()
    held = {one.name: onnx.numpy_helper.to_array(one) for one in written.graph.initializer}
    quants = [node for node in written.graph.node if node.op_type == "Quant"]
    assert "BipolarQuant" not in {node.op_type for node in written.graph.node}
    assert len(quants) > 4
    for node in quants:
        scale, zero_point, bits = (held[name] for name in node.input[1:])
        said = {one.name: onnx.helper.get_attribute_value(one) for one in node.attribute}
        assert scale.size == 1
        assert np.frexp(scale)[0] == 0.5
        assert zero_point == 0
        assert bits >= 2
        assert said["narrow"] == 0
        given = node.input[0] in held or node.input[0] in {one.name for one in written.graph.input}
        assert said["rounding_mode"] == (b"ROUND" if given else b"FLOOR")


def network() -> onnx.ModelProto:
    s = Sketch(x=("N", 6))
    return s.model(s.add("Gemm", "x", normal(6, 3), normal(3, seed=1), name="product", outputs=["y"]))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"scales": "free"}, "not powers of two"),
        ({"symmetric_activations": False}, "zero points"),
        ({"granularities": ("channel",)}, "one scale for all weights"),
        ({"weight_bits": (8, 1)}, "bipolar"),
        ({"options": {"io_type": "io_serial"}}, "'io_serial' is not known"),
        ({"options": {"reuse": 4}}, "no such option"),
        ({"options": {"reuse_factor": 0}}, "must be an integer from 1"),
        ({"options": {"clock_period": 0}}, "number of nanoseconds"),
        ({"options": {"part": 7}}, "must be a text"),
    ],
)
def test_targets_that_ask_for_what_is_not_exact(change: dict[str, object], reason: str) -> None:
    target: Target = replace(load_target(VITIS), **change)  # type: ignore[arg-type]
    found = refusals(normalised(network()), target)
    assert any(reason in one.reason for one in found)
    assert all(one.where.startswith(f"target {VITIS}") for one in found)


def filters() -> onnx.ModelProto:
    s = Sketch(x=("N", 2, 4, 4))
    return s.model(s.add("Conv", "x", normal(3, 2, 3, 3), normal(3, seed=1), name="filters", outputs=["y"]))


@pytest.mark.parametrize(
    ("model", "shape", "where"), [(network(), (6,), "Linear product"), (filters(), (2, 4, 4), "Conv filters")]
)
def test_weights_with_a_scale_per_channel_are_refused_before_they_are_converted(
    model: onnx.ModelProto, shape: tuple[int, ...], where: str, tmp_path: Path
) -> None:
    graph = integers(model, {"x": shape}, granularity="channel")
    build_model(graph)  # which QONNX itself can do
    with pytest.raises(UnsupportedError, match=f"{where}: its weights have a scale per channel"):
        Hls4mlBackend().emit(graph, load_target(VITIS), tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("changed", "reason"), [({"scale": (0.3,)}, "is not a power of two"), ({"zero_point": 3}, "the zero point is 3")]
)
def test_formats_that_are_not_exact_are_refused(changed: dict[str, object], reason: str) -> None:
    graph = integers(network(), {"x": (6,)})
    x = graph.values["x"]
    kind: Format = replace(x.format, **changed)  # type: ignore[arg-type]
    values = {**graph.values, "x": Value("x", x.shape, kind)}
    other = IntegerGraph(graph.name, values, graph.inputs, graph.outputs, graph.operations)
    require_exact(other)
    with pytest.raises(UnsupportedError, match=reason):
        build_model(other)


@pytest.mark.parametrize(
    ("model", "shape", "reason"),
    [
        (Sketch(x=("N", 4, 6, 6)), {"dilations": [2, 2]}, "it is dilated"),
        (Sketch(x=("N", 4, 6, 6)), {"group": 2}, "it has 2 groups for 4 channels"),
    ],
)
def test_convolutions_that_hls4ml_does_otherwise(model: Sketch, shape: dict[str, object], reason: str) -> None:
    groups = shape.get("group", 1)
    made = model.add("Conv", "x", normal(4, 4 // int(str(groups)), 3, 3), name="culprit", **shape)
    graph = integers(model.model(made), {"x": (4, 6, 6)})
    with pytest.raises(UnsupportedError, match=f"Conv culprit: {reason}"):
        require_exact(graph)


def test_padded_and_one_dimensional_pools_are_refused() -> None:
    for shape, kernel, pads in (((4, 6, 6), [2, 2], [1, 1, 0, 0]), ((4, 6), [2], [0, 0])):
        s = Sketch(x=("N", *shape))
        graph = integers(s.model(s.add("MaxPool", "x", kernel_shape=kernel, pads=pads, name="culprit")), {"x": shape})
        with pytest.raises(UnsupportedError, match="MaxPool culprit: it pools over"):
            require_exact(graph)


def test_quantized_models_are_refused_on_import(tmp_path: Path) -> None:
    s = Sketch(x=("N", 4))
    scale, zero = s.hold(np.float32(0.1)), s.hold(np.int8(0))
    stored = s.add("QuantizeLinear", "x", scale, zero, name="culprit")
    path = tmp_path / "model.onnx"
    onnx.save(s.model(s.add("DequantizeLinear", stored, scale, zero)), path)
    found = check(path, VITIS).refusals
    assert found
    assert all(one.reason for one in found)


def test_batch_normalisation_is_folded() -> None:
    assert "BatchNormalization" in {node.op for node in load_graph(images()).nodes()}
    assert "BatchNormalization" not in {node.op for node in normalised(images()).nodes()}
