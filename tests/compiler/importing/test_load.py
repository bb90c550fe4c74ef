"""Loading: what a model computes is kept, whatever it looked like."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper, numpy_helper

from bitsmith.importing.load import load_graph
from bitsmith.importing.opset import LEVEL
from tests.sketch import Sketch, assert_same, normal, ops


def test_every_dimension_but_the_batch_is_a_number() -> None:
    sketch = Sketch(x=("batch", 3, 8, 8))
    y = sketch.add("MaxPool", sketch.add("Conv", "x", normal(4, 3, 3, 3)), kernel_shape=[2, 2], strides=[2, 2])
    graph = load_graph(sketch.model(y))
    assert [value.shape for value in graph.values() if value.constant is None] == [
        (None, 3, 8, 8),
        (None, 4, 6, 6),
        (None, 4, 3, 3),
    ]
    assert graph.opset == LEVEL
    assert graph.to_onnx().graph.input[0].type.tensor_type.shape.dim[0].dim_param == "N"


def test_a_constant_read_twice_is_two() -> None:
    sketch = Sketch(x=("N", 4))
    held = sketch.hold(normal(4), "shared")
    model = sketch.model(sketch.add("Mul", sketch.add("Add", "x", held), held))
    graph = load_graph(model)
    names = [value.name for value in graph.values()]
    assert len(set(names)) == len(names)
    constants = [value for value in graph.values() if value.constant is not None]
    assert all(len(value.consumers) == 1 for value in constants)
    constants[0].constant = np.zeros(4, np.float32)
    assert constants[1].constant is not None
    np.testing.assert_array_equal(constants[1].constant, normal(4))


def test_a_constant_that_one_node_reads_twice_is_two() -> None:
    sketch = Sketch(x=("N", 4))
    held = sketch.hold(np.abs(normal(4)), "statistics")
    model = sketch.model(sketch.add("BatchNormalization", "x", held, held, held, held))
    graph = load_graph(model)
    (norm,) = graph.nodes()
    assert len({value.name for value in norm.inputs if value is not None}) == 5
    assert_same(model, graph)


def test_nodes_get_unique_names() -> None:
    sketch = Sketch(x=("N", 4))
    first = sketch.add("Relu", "x", name="same")
    second = sketch.add("Relu", first, name="same")
    third = sketch.add("Neg", second)
    model = sketch.model(third)
    model.graph.node[2].name = ""
    assert [node.name for node in load_graph(model).nodes()] == ["same", "same.1", "neg_2"]


@pytest.mark.parametrize("opset", [12, 17, LEVEL])
def test_metadata_and_node_documentation_are_kept(opset: int) -> None:
    sketch = Sketch(opset=opset, x=("N", 4))
    y = sketch.add("Clip", "x", np.float32(0), np.float32(1))
    model = sketch.model(y)
    model.metadata_props.add(key="author", value="someone")
    model.graph.node[0].doc_string = "keeps the signal in range"
    model.graph.node[0].metadata_props.add(key="layer", value="7")
    exported = load_graph(model).to_onnx()
    assert {entry.key: entry.value for entry in exported.metadata_props} == {"author": "someone"}
    assert exported.graph.node[0].doc_string == "keeps the signal in range"
    assert [(e.key, e.value) for e in exported.graph.node[0].metadata_props] == [("layer", "7")]


def test_the_callers_model_is_not_changed() -> None:
    sketch = Sketch(opset=12, x=(1, 4))
    model = sketch.model(sketch.add("Reshape", sketch.add("Dropout", "x"), np.array([1, 2, 2])))
    before = model.SerializeToString()
    load_graph(model)
    assert model.SerializeToString() == before


def test_constant_nodes_become_constants() -> None:
    sketch = Sketch(x=("N", 2))
    held = [
        sketch.add("Constant", value=numpy_helper.from_array(normal(2))),
        sketch.add("Constant", value_float=2.5),
        sketch.add("Constant", value_floats=[1.5, -0.5]),
    ]
    y = "x"
    for one in held:
        y = sketch.add("Mul", y, one)
    shape = sketch.add("Constant", value_ints=[0, 2, 1])
    y = sketch.add("Reshape", y, shape)
    y = sketch.add("Concat", y, y, axis=1)
    model = sketch.model(y)
    graph = load_graph(model)
    assert "Constant" not in ops(graph)
    assert_same(model, graph)


def test_initializers_listed_as_inputs_are_no_inputs() -> None:
    sketch = Sketch(opset=8, ir_version=3, x=("N", 4))
    w = sketch.hold(normal(4, 2), "w")
    sketch.list_initializers()
    model = sketch.model(sketch.add("MatMul", "x", w))
    graph = load_graph(model)
    assert [value.name for value in graph.inputs] == ["x"]
    assert_same(model, graph)


def test_local_functions_are_inlined() -> None:
    body = [
        helper.make_node("Constant", [], ["two"], value_float=2.0),
        helper.make_node("Mul", ["a", "two"], ["b"]),
        helper.make_node("Relu", ["b"], ["c"]),
    ]
    function = helper.make_function("mine", "Double", ["a"], ["c"], body, [helper.make_opsetid("", 17)])
    sketch = Sketch(x=("N", 4))
    y = sketch.add("Double", sketch.add("Double", "x", domain="mine"), domain="mine")
    model = sketch.model(y)
    model.functions.append(function)
    model.opset_import.append(helper.make_opsetid("mine", 1))
    graph = load_graph(model)
    assert ops(graph) == ["Mul", "Relu", "Mul", "Relu"]
    assert len({node.name for node in graph.nodes()}) == 4
    assert_same(model, graph)


def test_the_long_name_of_the_standard_domain_and_unused_domains_are_fine() -> None:
    sketch = Sketch(opset=12, x=("N", 4))
    model = sketch.model(sketch.add("Relu", "x", domain="ai.onnx"))
    model.opset_import[0].domain = "ai.onnx"
    model.opset_import.append(helper.make_opsetid("ai.onnx.ml", 2))
    exported = load_graph(model).to_onnx()
    assert [(entry.domain, entry.version) for entry in exported.opset_import] == [("", LEVEL)]


def test_nodes_in_any_order_are_put_in_order() -> None:
    sketch = Sketch(x=("N", 4))
    model = sketch.model(sketch.add("Sigmoid", sketch.add("Neg", sketch.add("Relu", "x"))))
    nodes = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend(nodes[::-1])
    assert ops(load_graph(model)) == ["Relu", "Neg", "Sigmoid"]


def test_an_input_that_nothing_reads_stays_an_input() -> None:
    sketch = Sketch(x=("N", 4), unused=("N", 7))
    model = sketch.model(sketch.add("Relu", "x"))
    graph = load_graph(model)
    assert [value.name for value in graph.inputs] == ["x", "unused"]
    assert_same(model, graph)


def test_nodes_that_no_output_needs_do_no_harm() -> None:
    sketch = Sketch(x=("N", 4))
    sketch.add("Exp", "x")
    model = sketch.model(sketch.add("Relu", "x"))
    assert_same(model, load_graph(model))


def test_several_inputs_and_outputs_share_the_batch() -> None:
    sketch = Sketch(a=(1, 4), b=(1, 4))
    total = sketch.add("Add", "a", "b")
    model = sketch.model(sketch.add("Relu", total), total)
    graph = load_graph(model)
    assert [value.shape for value in (*graph.inputs, *graph.outputs)] == [(None, 4)] * 4


def _weights_by_side(folder: Path, model: onnx.ModelProto, name: str = "weights.bin") -> Path:
    path = folder / "model.onnx"
    onnx.save(model, path, save_as_external_data=True, location=name, size_threshold=0)
    return path


def test_external_data_beside_the_model_is_read(tmp_path: Path) -> None:
    sketch = Sketch(x=("N", 4))
    model = sketch.model(sketch.add("MatMul", "x", normal(4, 300)))
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    path = _weights_by_side(tmp_path, copy)
    assert path.stat().st_size < 1000
    assert_same(model, load_graph(path))
    assert_same(model, load_graph(str(path)))


@pytest.mark.parametrize(
    ("fixed", "target"),
    [(1, [1, -1]), (1, [1, 48]), (1, [-1, 48]), (1, [0, 48]), (1, [1, 3, 16]), (4, [4, -1]), (4, [4, 2, 24])],
)
def test_a_fixed_batch_is_made_dynamic(fixed: int, target: list[int]) -> None:
    sketch = Sketch(x=(fixed, 3, 4, 4))
    y = sketch.add("Relu", sketch.add("Reshape", "x", np.array(target)))
    graph = load_graph(sketch.model(y))
    assert graph.inputs[0].shape[0] is None
    assert graph.outputs[0].shape[0] is None
    free = Sketch(x=("N", 3, 4, 4))
    sample = graph.outputs[0].sample_shape
    assert_same(free.model(free.add("Relu", free.add("Reshape", "x", np.array([-1, *sample])), outputs=[y])), graph)


def test_a_fixed_batch_in_the_sizes_of_a_resize_is_made_dynamic() -> None:
    sketch = Sketch(x=(1, 2, 3, 3))
    y = sketch.add("Resize", "x", None, None, np.array([1, 2, 6, 9]), mode="nearest")
    graph = load_graph(sketch.model(y))
    free = Sketch(x=("N", 2, 3, 3))
    scales = np.array([1, 1, 2, 3], np.float32)
    assert_same(free.model(free.add("Resize", "x", None, scales, mode="nearest", outputs=[y])), graph)


def test_a_target_computed_from_the_shape_of_a_value_is_known() -> None:
    """What torch.onnx exports for x.view(x.size(0), -1) and for x.reshape(N, C // 2, 2, H * W)."""
    sketch = Sketch(x=("N", 4, 3, 5))
    shape = sketch.add("Shape", "x")
    dims = [sketch.add("Gather", shape, np.array([axis]), axis=0) for axis in range(4)]
    half = sketch.add("Div", dims[1], np.array([2]))
    area = sketch.add("Mul", dims[2], dims[3])
    target = sketch.add("Concat", dims[0], half, np.array([2]), area, axis=0)
    folded = sketch.add("Reshape", "x", target)
    rest = sketch.add("Concat", sketch.add("Gather", shape, np.array([0])), np.array([-1]), axis=0)
    model = sketch.model(folded, sketch.add("Reshape", folded, rest))
    graph = load_graph(model)
    assert [value.shape for value in graph.outputs] == [(None, 2, 2, 15), (None, 60)]
    assert_same(model, graph)


def test_input_shape_fills_in_what_the_file_leaves_open() -> None:
    sketch = Sketch(x=("N", 3, "height", "width"))
    model = sketch.model(sketch.add("GlobalAveragePool", sketch.add("Conv", "x", normal(2, 3, 3, 3))))
    graph = load_graph(model, {"x": (1, 3, 9, 7)})
    assert graph.inputs[0].shape == (None, 3, 9, 7)
    assert_same(model, graph)


def test_input_shape_fills_in_an_input_without_any_shape() -> None:
    sketch = Sketch(x=("N", 4))
    model = sketch.model(sketch.add("Relu", "x"))
    model.graph.input[0].type.tensor_type.ClearField("shape")
    assert load_graph(model, {"x": (8, 5)}).inputs[0].shape == (None, 5)


def _clip(sketch: Sketch) -> str:
    if sketch.opset < 11:
        return str(sketch.add("Clip", "x", min=-0.5, max=1.0))
    return str(sketch.add("Clip", "x", np.float32(-0.5), np.float32(1)))


def _pad(sketch: Sketch) -> str:
    pads = [0, 0, 1, 0, 0, 0, 0, 2]
    if sketch.opset < 11:
        return str(sketch.add("Pad", "x", pads=pads, value=0.5))
    return str(sketch.add("Pad", "x", np.array(pads), np.float32(0.5)))


def _slice(sketch: Sketch) -> str:
    starts, ends, axes = [1, -3], [9, 5], [2, 3]
    if sketch.opset < 10:
        return str(sketch.add("Slice", "x", starts=starts, ends=ends, axes=axes))
    return str(sketch.add("Slice", "x", np.array(starts), np.array(ends), np.array(axes)))


def _squeeze(sketch: Sketch) -> str:
    pooled = sketch.add("GlobalAveragePool", "x")
    if sketch.opset < 13:
        return str(sketch.add("Unsqueeze", sketch.add("Squeeze", pooled, axes=[2, 3]), axes=[1]))
    return str(sketch.add("Unsqueeze", sketch.add("Squeeze", pooled, np.array([2, 3])), np.array([1])))


def _split(sketch: Sketch) -> str:
    if sketch.opset < 13:
        parts = sketch.add("Split", "x", outputs=2, axis=1, split=[1, 3])
    else:
        parts = sketch.add("Split", "x", np.array([1, 3]), outputs=2, axis=1)
    return str(sketch.add("Concat", parts[1], parts[0], axis=1))


def _even_split(sketch: Sketch) -> str:
    count = {"num_outputs": 2} if sketch.opset >= 18 else {}
    parts = sketch.add("Split", "x", outputs=2, axis=1, **count)
    return str(sketch.add("Sub", parts[1], parts[0]))


def _softmax(sketch: Sketch) -> str:
    """Before opset 13 it flattened everything from its axis on, which is 1 unless given; since then it is -1."""
    return str(sketch.add("Add", sketch.add("Softmax", "x", axis=1), sketch.add("Softmax", "x")))


def _upsample(sketch: Sketch) -> str:
    scales = np.array([1, 1, 2, 3], np.float32)
    if sketch.opset < 9:
        return str(sketch.add("Upsample", "x", scales=[float(s) for s in scales], mode="nearest"))
    if sketch.opset < 11:
        return str(sketch.add("Upsample" if sketch.opset == 9 else "Resize", "x", scales, mode="nearest"))
    return str(sketch.add("Resize", "x", np.zeros(0, np.float32), scales, mode="nearest"))


def _dropout(sketch: Sketch) -> str:
    if sketch.opset < 12:
        return str(sketch.add("Relu", sketch.add("Dropout", "x", ratio=0.3)))
    return str(sketch.add("Relu", sketch.add("Dropout", "x", np.float32(0.3))))


def _mean(sketch: Sketch) -> str:
    if sketch.opset < 18:
        return str(sketch.add("ReduceMean", "x", axes=[2, 3] if sketch.opset < 11 else [-2, -1], keepdims=0))
    return str(sketch.add("ReduceMean", "x", np.array([2, 3]), keepdims=0))


def _batch_norm(sketch: Sketch) -> str:
    statistics = [normal(4), normal(4, seed=1), normal(4, seed=2), np.abs(normal(4, seed=3)) + 0.1]
    return str(sketch.add("BatchNormalization", "x", *statistics, epsilon=1e-3))


def _gemm(sketch: Sketch) -> str:
    flat = sketch.add("Flatten", "x")
    return str(sketch.add("Gemm", flat, normal(5, 144), normal(5), alpha=0.5, beta=2.0, transB=1))


def _pools(sketch: Sketch) -> str:
    largest = sketch.add("MaxPool", "x", kernel_shape=[3, 2], strides=[2, 1], pads=[1, 0, 1, 1])
    return str(sketch.add("AveragePool", largest, kernel_shape=[2, 2], pads=[1, 1, 0, 0], count_include_pad=1))


def _activations(sketch: Sketch) -> str:
    y = sketch.add("PRelu", sketch.add("LeakyRelu", "x", alpha=0.2), normal(4, 1, 1))
    return str(sketch.add("Transpose", sketch.add("Tanh", sketch.add("HardSigmoid", y)), perm=[0, 2, 3, 1]))


def _convolution(sketch: Sketch) -> str:
    y = sketch.add("Conv", "x", normal(4, 2, 3, 3), normal(4), group=2, auto_pad="SAME_LOWER", strides=[2, 1])
    return str(sketch.add("ConvTranspose", y, normal(4, 2, 2, 2), strides=[2, 2]))


KINDS: list[Callable[[Sketch], str]] = [
    _activations, _batch_norm, _clip, _convolution, _dropout, _even_split, _gemm, _mean, _pad, _pools, _slice,
    _softmax, _split, _squeeze, _upsample,
]  # fmt: skip


def _old(opset: int, kind: Callable[[Sketch], str]) -> onnx.ModelProto:
    """A model in the form that its opset asked for."""
    sketch = Sketch(opset=opset, ir_version=3 if opset < 9 else 8, x=("N", 4, 6, 6))
    y = kind(sketch)
    if sketch.ir_version < 4:
        sketch.list_initializers()
    return sketch.model(y)


@given(st.integers(7, 26), st.sampled_from(KINDS))
def test_every_opset_keeps_its_meaning(opset: int, kind: Callable[[Sketch], str]) -> None:
    model = _old(opset, kind)
    graph = load_graph(model)
    assert graph.opset == LEVEL
    assert_same(model, graph)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("opset", [7, 10, 12, 14, 18, 22, 24, 26])
def test_the_turning_points_of_opsets_keep_their_meaning(opset: int, kind: Callable[[Sketch], str]) -> None:
    model = _old(opset, kind)
    assert_same(model, load_graph(model))


def test_loading_twice_gives_the_same_bytes(digits: Path) -> None:
    first, second = (load_graph(digits / "digits.onnx").to_onnx().SerializeToString() for _ in range(2))
    assert first == second


def test_shared_models_compute_what_they_computed(models: Path) -> None:
    files = sorted(models.glob("*.onnx"))
    assert files
    for path in files:
        graph = load_graph(path)
        counts = Counter(node.name for node in graph.nodes())
        assert max(counts.values()) == 1
        assert_same(onnx.load(path), graph, batch=2)
