"""Comparisons count what differs, and name the first layer that does."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from onnx import numpy_helper

from bitsmith.errors import InternalError, ModelError, VerificationError
from bitsmith.execution.batches import Batch, in_batches, vectors
from bitsmith.execution.export import to_onnx
from bitsmith.execution.interpreter import run
from bitsmith.execution.verify import TensorDifference, Verification, compare, verify, verify_integer_onnx
from bitsmith.ir.formats import Format, IntegerType
from bitsmith.ir.integer import IntegerGraph, Linear, Requantize, Value
from tests.strategies import integer_graphs

INT8 = Format(IntegerType(8), (1.0,))


def three_layers() -> IntegerGraph:
    """x -> a -> b -> y, each twice the one before."""
    names = ("x", "a", "b", "y")
    layers = [
        Linear(f"double_{y}", (x,), y, 2 * np.eye(2), np.zeros(2), INT8, Requantize(np.array([2]), 1, 0, -128, 127))
        for x, y in pairwise(names)
    ]
    return IntegerGraph("g", {name: Value(name, (2,), INT8) for name in names}, ("x",), ("y",), tuple(layers))


def with_bias(model: onnx.ModelProto, layer: str, bias: list[int]) -> onnx.ModelProto:
    """The model with another bias in one layer."""
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    (tensor,) = (one for one in changed.graph.initializer if one.name == f"{layer}.bias")
    tensor.CopyFrom(numpy_helper.from_array(np.array(bias, np.int32), tensor.name))
    return changed


def small_inputs(samples: int) -> list[Batch]:
    values = np.arange(2 * samples, dtype=np.int8).reshape(samples, 2) % 8
    return list(in_batches({"x": values}, 4))


@settings(max_examples=15)
@given(graph=integer_graphs(most=5))
def test_random_graphs_verify(graph: IntegerGraph) -> None:
    found = verify_integer_onnx(graph, to_onnx(graph), in_batches(vectors(graph, 9, seed=0), 4), threads=1)
    elements = sum(9 * int(np.prod(graph.values[name].shape)) for name in graph.outputs)
    assert found.exact
    assert found.first_layer_that_differs is None
    assert [tensor.name for tensor in found.tensors] == list(graph.outputs)
    assert found.layers == ()
    assert str(found) == f"integer.onnx: 0 of {elements:,} outputs differ (9 samples)"


def test_the_first_layer_that_differs_is_named_and_the_differences_counted() -> None:
    graph = three_layers()
    model = with_bias(to_onnx(graph), "double_b", [0, 1])
    found = verify_integer_onnx(graph, model, small_inputs(10), threads=1)
    assert not found.exact
    assert found.samples == 10
    assert found.tensors == (TensorDifference("y", differing=10, total=20, largest=2, summed=20),)
    assert found.tensors[0].mean == 1.0
    # Within, the first batch: four samples.
    assert found.layers == (
        TensorDifference("a", 0, 8, 0, 0),
        TensorDifference("b", 4, 8, 1, 4),
        TensorDifference("y", 4, 8, 2, 8),
    )
    assert found.first_layer_that_differs == "b"
    assert str(found) == "integer.onnx: 10 of 20 outputs differ (10 samples), by at most 2; first in b"
    assert found.to_json() == {
        "subject": "integer.onnx",
        "samples": 10,
        "exact": False,
        "differing": 10,
        "total": 20,
        "largest": 2,
        "first_layer_that_differs": "b",
        "tensors": [{"name": "y", "differing": 10, "total": 20, "largest": 2, "mean": 1.0}],
        "layers": [
            {"name": "a", "differing": 0, "total": 8, "largest": 0, "mean": 0.0},
            {"name": "b", "differing": 4, "total": 8, "largest": 1, "mean": 0.5},
            {"name": "y", "differing": 4, "total": 8, "largest": 2, "mean": 1.0},
        ],
    }


def test_a_difference_in_a_late_batch_is_traced_there() -> None:
    graph = three_layers()
    asked: list[int] = []

    def wrong(batch: Batch, keep: bool = False) -> Batch:
        made = {name: array.copy() for name, array in run(graph, batch, keep).items()}
        made["y"][batch["x"][:, 0] == 6, 0] += 3
        return made

    def trace(batch: Batch) -> Batch:
        asked.append(len(batch["x"]))
        return wrong(batch, keep=True)

    batches = [{"x": np.full((samples, 2), value, np.int8)} for samples, value in ((5, 0), (3, 6), (2, 6))]
    found = verify("mine", graph, wrong, iter(batches), trace)
    assert asked == [3]
    assert found.first_layer_that_differs == "y"
    assert found.tensors == (TensorDifference("y", 5, 20, 3, 15),)


def test_an_artifact_that_shows_nothing_within_names_its_output() -> None:
    graph = three_layers()
    found = verify("mine", graph, lambda batch: {"y": run(graph, batch)["y"] * 0}, small_inputs(3))
    assert found.layers == ()
    assert found.first_layer_that_differs == "y"


def test_nothing_compared_is_not_exact() -> None:
    assert not Verification("mine", 0, ()).exact
    assert not verify("mine", three_layers(), lambda batch: {}, []).exact


def test_a_file_verifies_as_a_model_does(tmp_path: Path) -> None:
    graph = three_layers()
    path = tmp_path / "other.onnx"
    onnx.save(to_onnx(graph), path)
    assert str(verify_integer_onnx(graph, path, small_inputs(2))) == "other.onnx: 0 of 4 outputs differ (2 samples)"
    path.write_bytes(b"nonsense")
    with pytest.raises(ModelError, match=r"other\.onnx"):
        verify_integer_onnx(graph, path, small_inputs(2))


@pytest.mark.parametrize(
    ("actual", "says"),
    [
        ({}, "y: is missing from what the artifact gives"),
        ({"y": np.zeros((2, 3), np.int16)}, "y: is int16 of shape [2, 3], not int8 of shape [2, 3]"),
        ({"y": np.zeros((3, 2), np.int8)}, "y: is int8 of shape [3, 2], not int8 of shape [2, 3]"),
    ],
)
def test_what_cannot_be_compared_is_an_error(actual: Batch, says: str) -> None:
    with pytest.raises(VerificationError) as refused:
        compare({"y": np.zeros((2, 3), np.int8)}, actual)
    assert str(refused.value) == says


@pytest.mark.parametrize("wide", [lambda kind: (kind.lowest, kind.highest), lambda kind: (kind.highest, kind.lowest)])
@pytest.mark.parametrize("kind", [IntegerType(8), IntegerType(8, False), IntegerType(32), IntegerType(32, False)])
def test_differences_do_not_wrap(kind: IntegerType, wide: Callable[[IntegerType], tuple[int, int]]) -> None:
    a, b = wide(kind)
    (found,) = compare({"y": np.array([a, a], kind.storage)}, {"y": np.array([b, a], kind.storage)})
    assert found == TensorDifference("y", 1, 2, kind.highest - kind.lowest, kind.highest - kind.lowest)


def test_counts_add_up_for_one_tensor_only() -> None:
    counts = TensorDifference("y", 1, 4, 3, 3) + TensorDifference("y", 2, 4, 7, 8)
    assert counts == TensorDifference("y", 3, 8, 7, 11)
    assert TensorDifference("y", 0, 0, 0, 0).mean == 0.0
    with pytest.raises(InternalError):
        counts + TensorDifference("z", 0, 0, 0, 0)
