"""Models that cannot be loaded: each is refused with what, where, and what to do about it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from bitsmith.errors import ModelError, UnsupportedError
from bitsmith.importing import onnx_file
from bitsmith.importing.load import load_graph
from tests.sketch import Sketch, normal


def small(**inputs: tuple[int | str, ...]) -> onnx.ModelProto:
    sketch = Sketch(**(inputs or {"x": ("N", 4)}))
    return sketch.model(sketch.add("MatMul", "x", sketch.hold(normal(4, 300), "w"), name="product", outputs=["y"]))


def refusal(source: Any, kind: type[ModelError] = ModelError, **options: Any) -> ModelError:
    """The error of loading; it always says what to do."""
    with pytest.raises(kind) as caught:
        load_graph(source, **options)
    assert type(caught.value) is kind
    assert caught.value.fix.endswith((".", "?"))
    assert caught.value.where
    return caught.value


# Files.


def test_a_missing_file(tmp_path: Path) -> None:
    error = refusal(tmp_path / "absent.onnx")
    assert "no such file" in error.what
    assert "absent.onnx" in error.where


def test_a_folder(tmp_path: Path) -> None:
    assert "folder" in refusal(tmp_path).what


def test_an_empty_file(tmp_path: Path) -> None:
    path = tmp_path / "empty.onnx"
    path.write_bytes(b"")
    assert "empty" in refusal(path).what


@pytest.mark.parametrize("content", [b"\x89PNG\r\n\x1a\n" * 9, b"{}", b"hello, this is text", bytes(64)])
def test_a_file_that_is_no_protobuf(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "other.onnx"
    path.write_bytes(content)
    assert "not an ONNX model" in refusal(path).what


@pytest.mark.parametrize("part", [0.02, 0.2, 0.5, 0.9, 0.999])
def test_a_truncated_file(tmp_path: Path, part: float) -> None:
    content = small().SerializeToString()
    path = tmp_path / "cut.onnx"
    path.write_bytes(content[: int(len(content) * part)])
    error = refusal(path)
    assert "truncated" in str(error) or "not an ONNX model" in error.what


def test_every_truncation_is_refused_or_whole(tmp_path: Path) -> None:
    """No prefix of a file leads to anything but a ModelError."""
    sketch = Sketch(x=("N", 2))
    content = sketch.model(sketch.add("Relu", "x")).SerializeToString()
    path = tmp_path / "cut.onnx"
    for length in range(len(content)):
        path.write_bytes(content[:length])
        with pytest.raises(ModelError):
            load_graph(path)


def test_an_unreadable_file(tmp_path: Path) -> None:
    path = tmp_path / "loop.onnx"
    path.symlink_to(path)
    assert "cannot be read" in refusal(path).what


def test_a_file_beyond_two_gibibytes(tmp_path: Path) -> None:
    path = tmp_path / "huge.onnx"
    with path.open("wb") as file:
        file.truncate(2**31)
    error = refusal(path)
    assert "2 GiB" in error.what
    assert "save_as_external_data" in error.fix


# External data.


def _external(folder: Path, location: str = "weights.bin", **info: Any) -> Path:
    """A model whose weight says that it lies in `location`."""
    model = small()
    tensor = model.graph.initializer[0]
    (folder / "weights.bin").write_bytes(tensor.raw_data)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, **info}.items():
        tensor.external_data.add(key=key, value=str(value))
    path = folder / "model.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def test_external_data_that_is_missing(tmp_path: Path) -> None:
    path = _external(tmp_path)
    assert load_graph(path).inputs
    (tmp_path / "weights.bin").unlink()
    error = refusal(path)
    assert "missing" in error.what
    assert "initializer w" in error.where


@pytest.mark.parametrize("location", ["../outside.bin", "/etc/hostname", "a/../../outside.bin", "", "."])
def test_external_data_that_leaves_the_folder_of_the_model(tmp_path: Path, location: str) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "outside.bin").write_bytes(bytes(4800))
    error = refusal(_external(folder, location))
    assert "outside the folder" in error.what or "missing" in error.what
    assert "initializer w" in error.where


def test_external_data_behind_a_link_out_of_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "outside.bin").write_bytes(bytes(4800))
    (folder / "inside.bin").symlink_to(tmp_path / "outside.bin")
    assert "outside the folder" in refusal(_external(folder, "inside.bin")).what


@pytest.mark.parametrize(
    "info", [{"offset": 4096}, {"offset": 99999}, {"length": 99999}, {"offset": -4}, {"offset": "x"}, {"length": -1}]
)
def test_external_data_that_is_too_short_or_malformed(tmp_path: Path, info: dict[str, Any]) -> None:
    error = refusal(_external(tmp_path, **info))
    assert "initializer" in error.where


def test_external_data_of_a_model_in_memory(tmp_path: Path) -> None:
    model = onnx.load(_external(tmp_path), load_external_data=False)
    assert "no folder" in refusal(model).what


def test_external_data_beyond_two_gibibytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_file, "LIMIT", 4000)
    assert "2 GiB" in refusal(_external(tmp_path)).what


# Graphs.


def test_a_cycle() -> None:
    sketch = Sketch(x=("N", 4))
    sketch.add("Add", "x", "b", outputs=["a"], name="first")
    sketch.add("Relu", "a", outputs=["b"], name="second")
    error = refusal(sketch.model("b"))
    assert "cycle" in error.what
    assert "first" in error.where


def test_an_operand_that_nothing_makes() -> None:
    sketch = Sketch(x=("N", 4))
    error = refusal(sketch.model(sketch.add("Add", "x", "ghost", name="sum")))
    assert "ghost" in error.what
    assert "sum" in error.where


@pytest.mark.parametrize("made_by", ["node", "input", "initializer", "constant"])
def test_a_value_that_is_made_twice(made_by: str) -> None:
    sketch = Sketch(x=("N", 4))
    sketch.add("Relu", "x", outputs=["y"])
    sketch.hold(normal(4), "c")
    if made_by == "constant":
        sketch.add("Constant", value_float=1.0, outputs=["c"])
    else:
        sketch.add("Neg", "x", outputs=[{"node": "y", "input": "x", "initializer": "c"}[made_by]])
    error = refusal(sketch.model("y"))
    assert "more than once" in error.what


def test_what_the_checker_refuses() -> None:
    sketch = Sketch(x=("N", 4))
    error = refusal(sketch.model(sketch.add("Relu", "x", slope=2.0)))
    assert "checker" in error.what
    assert "slope" in error.what


def test_an_op_that_does_not_exist() -> None:
    sketch = Sketch(x=("N", 4))
    assert "Rellu" in refusal(sketch.model(sketch.add("Rellu", "x"))).what


def test_shapes_that_contradict_each_other() -> None:
    sketch = Sketch(x=("N", 4))
    error = refusal(sketch.model(sketch.add("MatMul", "x", normal(5, 2), name="product")))
    assert "contradict" in error.what
    fixed = Sketch(x=(1, 4))
    assert "contradict" in refusal(fixed.model(fixed.add("MatMul", "x", normal(5, 2)))).what


@pytest.mark.parametrize("kind", ["input", "constant", "twice", "nothing"])
def test_outputs_that_no_node_computes(kind: str) -> None:
    sketch = Sketch(x=("N", 4))
    y = sketch.add("Relu", "x")
    held = sketch.hold(normal(4), "held")
    model = sketch.model(*{"input": ["x"], "constant": [held], "twice": [y, y], "nothing": ["ghost"]}[kind])
    assert refusal(model).where.startswith("output ")


def test_a_graph_without_outputs_or_inputs() -> None:
    sketch = Sketch(x=("N", 4))
    sketch.add("Relu", "x")
    assert "no outputs" in refusal(sketch.model()).what
    sketch = Sketch()
    assert "no inputs" in refusal(sketch.model(sketch.add("Constant", value_float=1.0))).what


# Versions and domains.


@pytest.mark.parametrize("opset", [1, 6, 27, 99])
def test_an_opset_outside_those_that_are_read(opset: int) -> None:
    sketch = Sketch(opset=opset, x=("N", 4))
    error = refusal(sketch.model(sketch.add("Relu", "x")), UnsupportedError)
    assert f"opset {opset}, outside 7 to 26" in error.what


@pytest.mark.parametrize("kind", [TensorProto.DOUBLE, TensorProto.FLOAT8E4M3FN, TensorProto.INT4])
def test_a_computed_value_of_a_type_that_is_not_known(kind: int) -> None:
    sketch = Sketch(opset=21, x=("N", 4))
    cast = sketch.add("Cast", "x", to=kind, name="narrow")
    error = refusal(sketch.model(sketch.add("Cast", cast, to=TensorProto.FLOAT)), UnsupportedError)
    assert error.where == "Cast narrow"
    assert f"is {TensorProto.DataType.Name(kind).lower()}, not float32" in error.what


def test_an_op_that_is_too_new() -> None:
    sketch = Sketch(opset=24, x=("N", 4))
    error = refusal(sketch.model(sketch.add("Swish", "x", name="new")), UnsupportedError)
    assert error.where == "Swish new"
    assert "opset 23 does not have" in error.what


def test_a_model_that_does_not_name_its_opset() -> None:
    model = small()
    del model.opset_import[:]
    assert "opset" in refusal(model).what


@pytest.mark.parametrize(
    ("domain", "hint"), [("com.microsoft", "ONNX Runtime"), ("ai.onnx.ml", "standard"), ("my.own", "standard")]
)
def test_an_op_of_another_domain(domain: str, hint: str) -> None:
    sketch = Sketch(x=("N", 4))
    model = sketch.model(sketch.add("FusedConv", "x", domain=domain, name="fused"))
    model.opset_import.append(helper.make_opsetid(domain, 1))
    error = refusal(model, UnsupportedError)
    assert domain in error.what
    assert "fused" in error.where
    assert hint in error.fix


def test_an_op_of_another_domain_inside_a_local_function() -> None:
    body = [helper.make_node("Odd", ["a"], ["b"], domain="elsewhere")]
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("elsewhere", 1)]
    sketch = Sketch(x=("N", 4))
    model = sketch.model(sketch.add("Mine", "x", domain="mine"))
    model.functions.append(helper.make_function("mine", "Mine", ["a"], ["b"], body, imports))
    model.opset_import.append(helper.make_opsetid("mine", 1))
    assert "elsewhere" in refusal(model, UnsupportedError).what


@pytest.mark.parametrize("op", ["QuantizeLinear", "QLinearMatMul", "ConvInteger", "DynamicQuantizeLinear"])
def test_a_model_that_is_quantized_already(op: str) -> None:
    sketch = Sketch(x=("N", 4))
    error = refusal(sketch.model(sketch.add(op, "x", normal(1), name="q")), UnsupportedError)
    assert "already quantized" in error.what
    assert "float model" in error.fix


def _body(name: str) -> onnx.GraphProto:
    node = helper.make_node("Constant", [], [name], value_float=1.0)
    return helper.make_graph([node], name, [], [helper.make_tensor_value_info(name, TensorProto.FLOAT, [])])


def test_weights_that_are_an_input() -> None:
    sketch = Sketch(x=("N", 2, 8, 8), k=(3, 2, 3, 3))
    error = refusal(sketch.model(sketch.add("Conv", "x", "k", name="blend")), UnsupportedError)
    assert (error.where, error.what) == ("Conv blend", "its weights k are an input of the model")


def test_control_flow() -> None:
    sketch = Sketch(x=("N", 4))
    sketch.hold(np.array(True), "condition")
    y = sketch.add("If", "condition", name="branch", then_branch=_body("a"), else_branch=_body("b"))
    error = refusal(sketch.model(y), UnsupportedError)
    assert "control flow" in error.what
    assert "branch" in error.where


@pytest.mark.parametrize("op", ["LSTM", "GRU", "RNN"])
def test_recurrent_ops(op: str) -> None:
    sketch = Sketch(x=("N", 4, 2))
    error = refusal(
        sketch.model(sketch.add(op, "x", normal(1, 8, 2), normal(1, 8, 2), hidden_size=2)), UnsupportedError
    )
    assert "recurrent" in error.what


def test_sequences_and_optionals() -> None:
    sketch = Sketch(x=("N", 4))
    y = sketch.add("SequenceAt", sketch.add("SequenceConstruct", "x", "x"), np.array(0))
    assert "sequence" in refusal(sketch.model(y), UnsupportedError).what
    model = small()
    model.graph.input[0].CopyFrom(helper.make_tensor_sequence_value_info("x", TensorProto.FLOAT, ["N", 4]))
    error = refusal(model, UnsupportedError)
    assert "sequence" in error.what
    assert error.where == "input x"


# Types and numbers.


@pytest.mark.parametrize("kind", [TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.BFLOAT16])
def test_inputs_of_another_precision(kind: int) -> None:
    sketch = Sketch(x=("N", 4))
    model = sketch.model(sketch.add("Relu", "x"))
    model.graph.input[0].type.tensor_type.elem_type = kind
    error = refusal(model, UnsupportedError)
    assert "not float32" in error.what
    assert "model.float()" in error.fix


@pytest.mark.parametrize("kind", [TensorProto.INT64, TensorProto.UINT8, TensorProto.STRING])
def test_inputs_that_are_no_floats(kind: int) -> None:
    model = small()
    model.graph.input[0].type.tensor_type.elem_type = kind
    assert "convert outside" in refusal(model, UnsupportedError).fix


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_weights_of_another_precision(dtype: type) -> None:
    sketch = Sketch(x=("N", 4))
    held = sketch.hold(normal(4, 2).astype(dtype), "w")
    error = refusal(sketch.model(sketch.add("MatMul", "x", held, name="product")), UnsupportedError)
    assert "not float32" in error.what
    assert error.where == "initializer w, read by MatMul product"


def test_values_of_another_precision_inside() -> None:
    sketch = Sketch(x=("N", 4))
    half = sketch.add("Relu", sketch.add("Cast", "x", to=TensorProto.FLOAT16, name="halve"))
    error = refusal(sketch.model(sketch.add("Cast", half, to=TensorProto.FLOAT)), UnsupportedError)
    assert "float16" in error.what
    assert "halve" in error.where


def test_constants_of_a_type_that_has_no_meaning_here() -> None:
    sketch = Sketch(x=("N", 4))
    sketch.initializers.append(helper.make_tensor("text", TensorProto.STRING, [1], [b"a"]))
    error = refusal(sketch.model(sketch.add("Relu", "x")), UnsupportedError)
    assert "string" in error.what
    assert "text" in error.where


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("form", ["initializer", "node"])
def test_weights_that_are_not_finite(bad: float, form: str) -> None:
    weight = normal(4, 2)
    weight[1, 1] = bad
    sketch = Sketch(x=("N", 4))
    if form == "initializer":
        held = sketch.hold(weight, "w")
    else:
        held = sketch.add("Constant", value=numpy_helper.from_array(weight), outputs=["w"])
    error = refusal(sketch.model(sketch.add("MatMul", "x", held, name="product")))
    assert ("NaN" if np.isnan(bad) else "infinity") in error.what
    assert error.where == "initializer w, read by MatMul product"


def test_infinity_as_a_bound_is_no_fault() -> None:
    sketch = Sketch(x=("N", 4))
    y = sketch.add("Clip", "x", np.float32(0), np.float32(np.inf))
    assert load_graph(sketch.model(y)).nodes("Clip")
    sketch = Sketch(x=("N", 4))
    assert "NaN" in refusal(sketch.model(sketch.add("Clip", "x", np.float32(0), np.float32(np.nan)))).what


def test_weights_whose_data_does_not_fill_their_shape() -> None:
    model = small()
    model.graph.initializer[0].raw_data = model.graph.initializer[0].raw_data[:-4]
    error = refusal(model)
    assert "does not fill its shape [4, 300]" in error.what
    assert error.where == "initializer w"


def test_sparse_weights() -> None:
    model = small()
    values = helper.make_tensor("sparse", TensorProto.FLOAT, [1], [1.0])
    indices = helper.make_tensor("places", TensorProto.INT64, [1], [0])
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [4]))
    assert "sparse" in refusal(model, UnsupportedError).what


# Shapes.


def test_a_dimension_that_stays_open() -> None:
    sketch = Sketch(x=("N", 3, "height", "width"))
    model = sketch.model(sketch.add("Relu", "x"))
    error = refusal(model)
    assert error.where == "input x"
    assert "[?, 3, ?, ?]" in error.what
    assert "--input-shape x=1,3,32,32" in error.fix


def test_a_shape_that_depends_on_data() -> None:
    sketch = Sketch(x=("N", 4))
    places = sketch.add("NonZero", "x", name="search")
    error = refusal(sketch.model(sketch.add("Cast", places, to=TensorProto.FLOAT)))
    assert "search" in error.where
    assert "--input-shape x=1,4" in error.fix


def test_a_value_without_elements() -> None:
    sketch = Sketch(x=("N", 2, 2, 2))
    y = sketch.add("MaxPool", sketch.add("MaxPool", "x", kernel_shape=[2, 2]), kernel_shape=[2, 2], name="last")
    error = refusal(sketch.model(sketch.add("Relu", y)))
    assert "no elements" in error.what
    assert "MaxPool last" in error.where
    sketch = Sketch(x=("N", 4, 4))
    y = sketch.add("Slice", "x", np.array([2]), np.array([1]), np.array([1]), name="nothing")
    assert "Slice nothing" in refusal(sketch.model(y)).where


@pytest.mark.parametrize("shape", [(), ("N",), (3,)])
def test_an_input_without_samples(shape: tuple[int | str, ...]) -> None:
    sketch = Sketch(x=shape)
    error = refusal(sketch.model(sketch.add("Relu", "x")), UnsupportedError)
    assert f"rank {len(shape)}" in error.what
    assert error.where == "input x"


@pytest.mark.parametrize(
    ("given", "what"),
    [
        ({"y": (1, 4)}, "no input y"),
        ({"x": (1, 4, 4)}, "3 dimensions"),
        ({"x": (1, 5)}, "fixes dimension 1 to 4"),
        ({"x": (1, 0)}, "below 1"),
        ({"x": (-1, 4)}, "below 1"),
    ],
)
def test_an_input_shape_that_does_not_fit(given: dict[str, tuple[int, ...]], what: str) -> None:
    error = refusal(small(), input_shapes=given)
    assert what in error.what
    assert error.where.startswith("--input-shape")


def test_a_misspelt_input_is_told_the_nearest() -> None:
    assert refusal(small(image=("N", 4), x=("N", 4)), input_shapes={"imgae": (1, 4)}).fix == "Did you mean image?"


@pytest.mark.parametrize(
    ("build", "what"),
    [
        (lambda s: s.add("Transpose", "x", perm=[1, 0, 2]), "moved to dimension 1"),
        (lambda s: s.add("Reshape", "x", np.array([-1, 2])), "mixed into dimension 0"),
        (lambda s: s.add("Reshape", "x", np.array([-1])), "mixed into dimension 0"),
        (lambda s: s.add("Flatten", "x", axis=0), "mixed into dimension 1"),
        (lambda s: s.add("Unsqueeze", "x", np.array([0])), "moved to dimension 1"),
        (lambda s: s.add("Concat", "x", "x", axis=0), "mixed into dimension 0"),
    ],
)
def test_samples_that_are_mixed(build: Any, what: str) -> None:
    sketch = Sketch(x=("N", 3, 2))
    error = refusal(sketch.model(build(sketch)), UnsupportedError)
    assert what in error.what
    assert "Samples must stay apart" in error.fix


@pytest.mark.parametrize(
    ("fixed", "build"),
    [
        (1, lambda s: s.add("Squeeze", s.add("Reshape", "x", np.array([1, 1, 6])))),
        (1, lambda s: s.add("Reshape", "x", np.array([6]))),
        (4, lambda s: s.add("Add", "x", normal(4, 3, 2))),
        (4, lambda s: s.add("Expand", "x", np.array([4, 3, 2]))),
    ],
)
def test_a_fixed_batch_that_cannot_be_freed(fixed: int, build: Any) -> None:
    sketch = Sketch(x=(fixed, 3, 2))
    assert "dynamic" in refusal(sketch.model(build(sketch)), UnsupportedError).fix


def test_inputs_with_different_fixed_batches() -> None:
    sketch = Sketch(a=(1, 4), b=(2, 4))
    assert "different first dimensions" in refusal(sketch.model(sketch.add("Add", "a", "b")), UnsupportedError).what


def test_a_path_like_object_is_a_path(tmp_path: Path) -> None:
    class Somewhere(os.PathLike[str]):
        def __fspath__(self) -> str:
            return str(tmp_path / "absent.onnx")

    assert "absent.onnx" in refusal(Somewhere()).where


@pytest.mark.parametrize("groups", [0, 2, 3])
def test_groups_that_do_not_fit_the_channels(groups: int) -> None:
    sketch = Sketch(x=("N", 3, 5, 5))
    made = sketch.add("Conv", "x", normal(4, 3, 1, 1), outputs=["y"], group=groups)
    error = refusal(sketch.model(made))
    assert error.what == f"a weight of [4, 3, 1, 1] in {groups} groups does not fit 3 channels"


def test_a_weight_with_a_bit_of_its_exponent_flipped() -> None:
    weight = normal(3, 8)
    weight[1, 2] = 3.7e29
    sketch = Sketch(x=("N", 8))
    error = refusal(sketch.model(sketch.add("MatMul", "x", sketch.hold(weight.T, "w"))))
    assert "3.7e+29" in error.what
    assert "initializer w" in error.where
