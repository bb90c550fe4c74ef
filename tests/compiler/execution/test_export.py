"""integer.onnx: ONNX Runtime on it equals the interpreter, and reading it back loses nothing."""

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from google.protobuf.message import DecodeError
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from bitsmith.errors import ArtifactError, UnsupportedError
from bitsmith.execution import serial
from bitsmith.execution.batches import vectors
from bitsmith.execution.export import METADATA, SERIAL_VERSION, from_onnx, to_onnx
from bitsmith.execution.function_texts import FAMILIES, FUNCTIONS
from bitsmith.execution.functions import functions
from bitsmith.execution.interpreter import run
from bitsmith.execution.runtime import session_options
from bitsmith.ir.formats import Format, IntegerArray, IntegerType, holding
from bitsmith.ir.grids import MINIFLOATS, minifloat, offset
from bitsmith.ir.integer import (
    Add,
    HostOperation,
    IntegerGraph,
    Linear,
    MaxPool,
    Operation,
    Requantize,
    Value,
)
from tests.strategies import COMMON, KINDS, integer_graphs

OFF, DEFAULT = (
    onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL,
    onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL,
)
INT8, INT16, INT32 = IntegerType(8), IntegerType(16), IntegerType(32)
FULL = Requantize(np.array([2]), 1, 0, INT32.lowest, INT32.highest)


def run_onnx(model: onnx.ModelProto, inputs: Mapping[str, IntegerArray], level: Any = DEFAULT) -> dict[str, Any]:
    """Execute in ONNX Runtime; every result that a node makes, by name."""
    model = onnx.ModelProto.FromString(model.SerializeToString())
    names = [node.output[0] for node in model.graph.node]
    del model.graph.output[:]
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    options = session_options(threads=1)
    options.graph_optimization_level = level
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return dict(zip(names, session.run(names, dict(inputs)), strict=True))


def assert_equal(graph: IntegerGraph, inputs: Mapping[str, IntegerArray], level: Any = DEFAULT) -> None:
    """ONNX Runtime and the interpreter agree on every result."""
    expected = run(graph, inputs, keep=True)
    for name, array in run_onnx(to_onnx(graph), inputs, level).items():
        assert array.dtype == expected[name].dtype
        np.testing.assert_array_equal(array, expected[name], err_msg=name)


def serialized(model: onnx.ModelProto) -> bytes:
    return model.SerializeToString(deterministic=True)


def linear(weight: Any, bias: Any, x: Format, y: Format, rule: Requantize = FULL) -> IntegerGraph:
    """A graph of one layer."""
    weight = np.array(weight)
    values = {"x": Value("x", weight.shape[1:], x), "y": Value("y", weight.shape[:1], y)}
    layer = Linear("layer", ("x",), "y", weight, np.array(bias), Format(INT8, (0.5,)), rule)
    return IntegerGraph("small", values, ("x",), ("y",), (layer,))


def small() -> IntegerGraph:
    return linear([[1, -2], [3, 4]], [5, -6], Format(INT8, (0.25,), -7), Format(INT32, (0.125,)))


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_each_operation_equals_the_interpreter(kind: str, data: st.DataObject) -> None:
    graph = data.draw(integer_graphs(kinds=(kind,), most=2))
    level = data.draw(st.sampled_from((OFF, DEFAULT)))
    assert_equal(graph, vectors(graph, 8, seed=data.draw(st.integers(0, 100))), level)


@settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow])
@given(graph=integer_graphs(KINDS, most=10), level=st.sampled_from((OFF, DEFAULT)), samples=st.integers(0, 9))
def test_whole_graphs_equal_the_interpreter(graph: IntegerGraph, level: Any, samples: int) -> None:
    # ONNX Runtime multiplies no empty batches.
    assume(samples or all(operation.kind != "MatMul" for operation in graph))
    assert_equal(graph, vectors(graph, samples, seed=samples), level)


@settings(max_examples=20, suppress_health_check=[HealthCheck.too_slow])
# ONNX's evaluator takes a function of ours that is called MaxPool for its own op, and misses a kernel_shape; it
# is wrong on convolutions with more padding than kernel. Its Gather fails on indices that are not contiguous, as a
# Softmax makes them behind a Transpose.
@given(graph=integer_graphs([kind for kind in COMMON if kind not in ("Conv", "AveragePool", "MaxPool")], most=3))
def test_the_model_is_standard_onnx(graph: IntegerGraph) -> None:
    model = to_onnx(graph)
    onnx.checker.check_model(model)
    assert {node.domain for function in model.functions for node in function.node} <= {"", "bitsmith"}
    # A third execution, by ONNX's own definitions of its ops.
    inputs = vectors(graph, 3, seed=0)
    results = ReferenceEvaluator(model).run(None, dict(inputs))
    for array, expected in zip(results, run(graph, inputs).values(), strict=True):
        np.testing.assert_array_equal(array, expected)


def test_every_function_is_well_formed() -> None:
    names = [*FUNCTIONS, *(f"{family}3" for family in FAMILIES)]
    made = functions(names)
    assert sorted(function.name for function in made) == sorted(names)
    known: set[str] = set()
    for function in made:
        assert {node.op_type for node in function.node if node.domain == "bitsmith"} <= known
        assert function.doc_string
        known.add(function.name)


def test_bytes_of_any_sign_do_not_saturate() -> None:
    # Where a processor adds pairs of products in 16 bits, 255 * 127 + 255 * 127 does not fit.
    weight = np.array([[127] * 64, [-128] * 64, [127, -128] * 32])
    for signed, zero_point in ((True, -128), (True, 127), (False, 0), (False, 255)):
        kind = IntegerType(8, signed)
        graph = linear(weight, [0, 0, 0], Format(kind, (1.0,), zero_point), Format(INT32, (1.0,)))
        x = np.array([[kind.lowest] * 64, [kind.highest] * 64, [kind.lowest, kind.highest] * 32], kind.storage)
        assert_equal(graph, {"x": x})
        exact = (x.astype(np.int64) - zero_point) @ weight.T
        np.testing.assert_array_equal(run_onnx(to_onnx(graph), {"x": x})["y"], exact)


def test_sums_fit_although_those_of_unsigned_bytes_would_not() -> None:
    # 40,000 * 255 * 255 is beyond int32; the sum less the zero points' share is not, and that is all that counts.
    graph = linear(np.full((1, 40000), 127), [0], Format(INT8, (1.0,), -128), Format(INT32, (1.0,)))
    x = np.full((1, 40000), 127, np.int8)
    assert run_onnx(to_onnx(graph), {"x": x})["y"].tolist() == [[40000 * 255 * 127]]
    assert_equal(graph, {"x": x}, OFF)


@pytest.mark.parametrize("shift", [1, 2, 3, 8, 31])
def test_results_far_beyond_the_clamp_saturate(shift: int) -> None:
    # Up to 61 bits before the clamp. ONNX Runtime's Clip of int64 goes wrong where it takes more than 32.
    rule = Requantize(np.array([2**31 - 1]), shift, -5, -100, 90)
    y = Format(INT8, (1.0,), -5)
    graph = linear([[127]], [0], Format(INT16, (1.0,)), y, rule)
    x = np.arange(-(1 << 15), 1 << 15).astype(np.int16)[:, None]
    expected = np.where(x > 0, 90, np.where(x < 0, -100, -5))
    np.testing.assert_array_equal(run_onnx(to_onnx(graph), {"x": x})["y"], expected)


@pytest.mark.parametrize("signed", [True, False])
def test_two_bytes_of_every_value(signed: bool) -> None:
    kind = IntegerType(16, signed)
    x = np.arange(kind.lowest, kind.highest + 1).astype(kind.storage)[:, None]
    for zero_point in (kind.lowest, 0, 255, 256, kind.highest):
        graph = linear([[113]], [0], Format(kind, (1.0,), zero_point), Format(INT32, (1.0,)))
        expected = (x.astype(np.int64) - zero_point) * 113
        np.testing.assert_array_equal(run_onnx(to_onnx(graph), {"x": x})["y"], expected)


def with_weight(weight: Any, chosen: Format, x: IntegerType) -> IntegerGraph:
    """A Linear without bias, in int32, whose weights are of a format."""
    integers = np.array(weight)
    layer = Linear("layer", ("x",), "y", integers, np.zeros(len(integers)), chosen, FULL)
    values = {
        "x": Value("x", integers.shape[1:], Format(x, (1.0,))),
        "y": Value("y", (len(integers),), Format(INT32, (1.0,))),
    }
    return IntegerGraph("g", values, ("x",), ("y",), (layer,))


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("weight_signed", [True, False])
def test_two_bytes_of_every_weight(signed: bool, weight_signed: bool) -> None:
    kind = IntegerType(16, weight_signed)
    weights = np.array([kind.lowest, kind.lowest + 255, 0, 1, 127, 128, 255, 256, 257, kind.highest - 1, kind.highest])
    x = IntegerType(8, signed)
    integers = np.arange(x.lowest, x.highest + 1).astype(x.storage)[:, None]
    found = run_onnx(to_onnx(with_weight(weights[:, None], Format(kind, (1.0,)), x)), {"x": integers})["y"]
    np.testing.assert_array_equal(found, integers.astype(np.int64) * weights)


@pytest.mark.parametrize("kind", MINIFLOATS)
def test_levels_of_minifloats(kind: str) -> None:
    grid = minifloat(kind)
    levels = np.array(grid.rows[0])
    chosen = Format(holding(grid.lowest, grid.highest), (1.0,), grid=grid)
    graph = with_weight(levels[:, None], chosen, INT8)
    x = np.array([[-128], [-3], [1], [127]], np.int8)
    np.testing.assert_array_equal(run_onnx(to_onnx(graph), {"x": x})["y"], x.astype(np.int64) * levels)
    assert from_onnx(to_onnx(graph)).operations[0].weight_format == chosen  # type: ignore[attr-defined]


def test_a_grid_that_was_altered_is_found() -> None:
    chosen = Format(IntegerType(3), (1.0,), axis=0, grid=offset(2, (True,)))
    model = to_onnx(with_weight([[-1, 0, 2]], chosen, INT8))
    found: Any = json.loads(model.metadata_props[0].value)["operations"][0]["weight_format"]["grid"]
    assert found["rows"] == [[-1, 0, 1, 2]]

    def lower(data: dict[str, Any]) -> None:
        data["operations"][0]["weight_format"]["grid"]["rows"] = [[-2, -1, 0, 1]]

    def of_no_type(data: dict[str, Any]) -> None:
        data["operations"][0]["weight_format"]["grid"] = {"bits": 2}

    for change, problem in ((lower, "not on their offset grid"), (of_no_type, "weight_format.grid")):
        altered = onnx.ModelProto.FromString(serialized(model))
        metadata(change)(altered)
        with pytest.raises(ArtifactError, match=problem):
            from_onnx(altered)


@settings(max_examples=60)
@given(graph=integer_graphs(most=6))
def test_reading_back_loses_nothing(graph: IntegerGraph) -> None:
    model = to_onnx(graph)
    again = from_onnx(onnx.ModelProto.FromString(serialized(model)))
    assert serialized(to_onnx(again)) == serialized(model)
    (data, arrays), (data_again, arrays_again) = serial.write(graph), serial.write(again)
    assert data_again == data
    assert {name: (a.dtype, a.tolist()) for name, a in arrays_again.items()} == {
        name: (a.dtype, a.tolist()) for name, a in arrays.items()
    }
    assert dict(again.values) == dict(graph.values)
    assert list(again.values) == list(graph.values)


def test_names_of_any_kind_and_what_is_left_to_the_host_come_back() -> None:
    # An activation of the name that a weight would get, and names from every corner of Unicode.
    names = ("layer.weight", "/model/0/Conv output:0 ünï\n☃")
    format = Format(INT8, (0.1, 0.2), 3, 0)
    values = {name: Value(name, (2,), Format(INT8, (0.5,))) for name in names} | {"z": Value("z", (2,), format)}
    rule = Requantize(np.array([1, 2]), 1, 0, -128, 127)
    layer = Linear("layer", names[:1], names[1], np.eye(2), np.zeros(2), format.__class__(INT8, (1.0,)), rule)
    last = Add("add", (names[1], names[1]), "z", (1, 1), Requantize(np.array([1]), 1, 3, -128, 127))
    host = (HostOperation("z", "Softmax", (("axis", -1),)),)
    graph = IntegerGraph("näme", values, names[:1], ("z",), (layer, last), {}, host)
    again = from_onnx(to_onnx(graph))
    assert again.host == host
    assert again.name == "näme"
    assert dict(again.values) == values
    assert serialized(to_onnx(again)) == serialized(to_onnx(graph))
    assert_equal(again, vectors(again, 6, seed=0))


def test_metadata_are_json_that_others_can_read() -> None:
    (entry,) = to_onnx(small()).metadata_props
    data = json.loads(entry.value)
    assert data["values"]["x"] == {
        "name": "x",
        "shape": [2],
        "format": {
            "type": {"bits": 8, "signed": True},
            "scale": [0.25],
            "zero_point": -7,
            "axis": None,
            "grid": None,
            "base": None,
        },
    }


def test_what_onnx_cannot_do_is_refused_by_name() -> None:
    wide = Format(INT32, (1.0,))
    with pytest.raises(UnsupportedError, match="Linear layer: ONNX has no such operation on x, which is int32"):
        to_onnx(linear([[1]], [0], wide, wide))
    pool = MaxPool("pool", ("x",), "y", (1,), (1,), (0, 0), (1,))
    values = {name: Value(name, (1, 1), wide) for name in ("x", "y")}
    with pytest.raises(UnsupportedError, match="MaxPool pool"):
        to_onnx(IntegerGraph("g", values, ("x",), ("y",), (pool,)))
    for x, weight in ((INT16, Format(INT16, (1.0,))), (INT8, wide)):
        with pytest.raises(UnsupportedError, match=f"Linear layer: ONNX multiplies no weights of {weight.type} by {x}"):
            to_onnx(with_weight([[999]], weight, x))
    with pytest.raises(UnsupportedError, match="Linear layer: int32 cannot hold the sum over the low bytes of its we"):
        to_onnx(with_weight(np.full((1, 70000), -1), Format(INT16, (1.0,)), INT8))
    with pytest.raises(UnsupportedError, match="Linear layer: int32 cannot hold the sum over the low bytes"):
        to_onnx(linear(np.full((1, 70000), -128), [0], Format(INT16, (1.0,)), wide))


# Files that are not as they were written.


def metadata(change: Callable[[dict[str, Any]], object]) -> Callable[[onnx.ModelProto], None]:
    """An alteration of the graph that the metadata describe."""

    def alter(model: onnx.ModelProto) -> None:
        data = json.loads(model.metadata_props[0].value)
        change(data)
        model.metadata_props[0].value = json.dumps(data)

    return alter


def text(json_text: str) -> Callable[[onnx.ModelProto], None]:
    return lambda model: setattr(model.metadata_props[0], "value", json_text)


def layer(**fields: Any) -> Callable[[onnx.ModelProto], None]:
    return metadata(lambda data: data["operations"][0].update(fields))


def initializer(change: Callable[[onnx.TensorProto], object]) -> Callable[[onnx.ModelProto], None]:
    return lambda model: change(model.graph.initializer[0])  # type: ignore[return-value]


def external(tensor: onnx.TensorProto) -> None:
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")


def attribute(model: onnx.ModelProto, name: str = "shift") -> onnx.AttributeProto:
    (found,) = (one for one in model.graph.node[0].attribute if one.name == name)
    return found


ALTERATIONS: dict[str, tuple[Callable[[onnx.ModelProto], object], str]] = {
    "no metadata": (lambda model: model.ClearField("metadata_props"), "is not a model that bitsmith wrote"),
    "metadata twice": (
        lambda model: model.metadata_props.append(model.metadata_props[0]),
        "is not a model that bitsmith wrote",
    ),
    "another version": (metadata(lambda data: data.update(version=SERIAL_VERSION + 1)), "is of another version"),
    "a list": (text("[]"), "is of another version"),
    "no JSON": (text("{"), "describes its graph in no JSON"),
    "deep JSON": (text("[" * 100_000), "describes its graph in no JSON"),
    "no number": (text(f'{{"version":{SERIAL_VERSION},"name":NaN}}'), "has the fields"),
    "a missing field": (metadata(lambda data: data.pop("host")), "graph: has the fields"),
    "another field": (layer(extra=1), r"operations\[0\]: has the fields"),
    "another kind": (layer(kind="Gru"), "is of an unknown kind 'Gru'"),
    "no kind": (layer(kind=[]), "is of an unknown kind"),
    "a number as a name": (layer(name=3), r"operations\[0\].name: is a int, not a str"),
    "a float as an integer": (metadata(lambda data: data["values"]["x"].update(shape=[2.0])), "is a float, not a int"),
    "half a character": (metadata(lambda data: data.update(name="\ud800")), "is not text"),
    "a wide integer": (
        metadata(lambda data: data["operations"][0]["requantize"].update(shift=2**70)),
        "beyond 64 bits",
    ),
    "an empty scale": (
        metadata(lambda data: data["values"]["x"]["format"].update(scale=[])),
        "breaks a rule",
    ),
    "an infinite scale": (
        metadata(lambda data: data["values"]["x"]["format"].update(scale=["inf"])),
        "breaks a rule",
    ),
    "another shape": (metadata(lambda data: data["values"]["x"].update(shape=[3])), "breaks a rule: Linear layer"),
    "an unknown input": (layer(inputs=["w"]), "breaks a rule: layer: reads w before it is made"),
    "an unknown array": (layer(weight={"array": "gone"}), "is kept in 'gone', which is missing"),
    "an array by number": (layer(weight={"array": 0}), "is a int, not a str"),
    "another array": (layer(bias={"array": "layer.weight"}), "breaks a rule"),
    "another attribute": (lambda model: setattr(attribute(model), "i", 5), "nodes or tensors that its graph does not"),
    "another node": (lambda model: model.graph.node.append(model.graph.node[0]), "nodes or tensors"),
    "another output": (lambda model: setattr(model.graph.output[0], "name", "x"), "nodes or tensors"),
    "an unused tensor": (
        lambda model: model.graph.initializer.append(numpy_helper.from_array(np.zeros(1), "more")),
        "nodes or tensors",
    ),
    "a wide tensor": (
        initializer(lambda t: t.CopyFrom(numpy_helper.from_array(np.full((2, 2), 257), t.name))),
        "nodes or tensors",
    ),
    "another function body": (
        lambda model: setattr(model.functions[0].node[0], "op_type", "Neg"),
        "functions that do not mean",
    ),
    "a short tensor": (initializer(lambda tensor: setattr(tensor, "raw_data", b"1")), "holds a damaged tensor"),
    "an unknown type": (initializer(lambda tensor: setattr(tensor, "data_type", 99)), "holds a damaged tensor"),
    "an external tensor": (initializer(external), "keeps layer.weight in another file"),
}


@pytest.mark.parametrize("name", ALTERATIONS)
def test_an_altered_file_is_refused(name: str) -> None:
    alter, says = ALTERATIONS[name]
    model = to_onnx(small())
    from_onnx(model)
    alter(model)
    with pytest.raises(ArtifactError, match=says):
        from_onnx(model)


def test_a_foreign_model_is_refused() -> None:
    node = helper.make_node("Relu", ["x"], ["y"])
    graph = helper.make_graph([node], "foreign", [], [])
    with pytest.raises(ArtifactError, match="model foreign: is not a model that bitsmith wrote"):
        from_onnx(helper.make_model(graph))
    with pytest.raises(ArtifactError):
        from_onnx(onnx.ModelProto())


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | st.just("x"),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)


def places(data: Any) -> list[tuple[Any, Any]]:
    """Every (container, key) within JSON data."""
    items = list(data.items()) if isinstance(data, dict) else list(enumerate(data)) if isinstance(data, list) else []
    return [(data, key) for key, _ in items] + [place for _, item in items for place in places(item)]


@settings(max_examples=300)
@given(graph=integer_graphs(most=2, bits=(4, 2)), value=JSON, where=st.integers(0, 10**6))
def test_metadata_with_anything_in_any_place_are_refused_or_read(graph: IntegerGraph, value: Any, where: int) -> None:
    model = to_onnx(graph)
    data = json.loads(model.metadata_props[0].value)
    found = places(data)
    container, key = found[where % len(found)]
    container[key] = value
    model.metadata_props[0].value = json.dumps(data)
    read_or_refused(model)


@settings(max_examples=300)
@given(seed=st.integers(0, 2**32 - 1))
def test_files_with_flipped_bytes_are_refused_or_read(seed: int) -> None:
    random = np.random.default_rng(seed)
    content = bytearray(serialized(to_onnx(small())))
    for _ in range(random.integers(1, 4)):
        content[random.integers(len(content))] = random.integers(256)
    model = onnx.ModelProto()
    # What is no protobuf at all is for whoever opens the file.
    with suppress(DecodeError):
        model.ParseFromString(bytes(content))
        read_or_refused(model)


def read_or_refused(model: onnx.ModelProto) -> None:
    """Whatever is read runs by the rules; all else is an ArtifactError."""
    try:
        graph = from_onnx(model)
    except ArtifactError:
        return
    assert to_onnx(graph).graph == model.graph
    # An accumulator may overflow now, which is known before anything runs.
    with suppress(UnsupportedError):
        run(graph, vectors(graph, 2, seed=0))


def test_kinds_are_those_of_the_graph() -> None:
    assert sorted(serial.KINDS) == sorted(KINDS)
    assert all(issubclass(kind, Operation) for kind in serial.KINDS.values())
    assert to_onnx(small()).metadata_props[0].key == METADATA
