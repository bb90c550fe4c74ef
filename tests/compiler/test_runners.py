"""Float models as their files have them, whatever batch they were exported for."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from bitsmith.errors import ModelError
from bitsmith.execution.reals import softmax
from bitsmith.runners import FloatModel

WEIGHT = np.arange(6, dtype=np.float32).reshape(2, 3)


def save(path: Path, shape: list[object], kind: int = TensorProto.FLOAT) -> Path:
    """y = x W, for inputs of this shape."""
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "tiny",
        [helper.make_tensor_value_info("x", kind, shape)],
        [helper.make_tensor_value_info("y", kind, None)],
        [numpy_helper.from_array(WEIGHT.astype(helper.tensor_dtype_to_np_dtype(kind)), "w")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


@pytest.mark.parametrize("batch", ["N", 1, 3, 4, 7])
@pytest.mark.parametrize("samples", [1, 4, 7])
def test_any_batch_runs(tmp_path: Path, batch: object, samples: int) -> None:
    model = FloatModel(save(tmp_path / "m.onnx", [batch, 2]))
    x = np.arange(samples * 2, dtype=np.float32).reshape(samples, 2)
    assert np.array_equal(model.run({"x": x})["y"], x @ WEIGHT)
    assert (model.name, dict(model.samples)) == ("m.onnx", {"x": (2,)})


def test_an_open_dimension_is_given_or_asked_for(tmp_path: Path) -> None:
    path = save(tmp_path / "m.onnx", ["N", "rows", 2])
    with pytest.raises(ModelError, match=r"m\.onnx, input x: .* Give them, as in --input-shape x=1,32,2\."):
        FloatModel(path)
    assert dict(FloatModel(path, {"x": (1, 5, 2)}).samples) == {"x": (5, 2)}


def test_doubles_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"m\.onnx, input x: does not take float32"):
        FloatModel(save(tmp_path / "m.onnx", ["N", 2], TensorProto.DOUBLE))


def test_softmax_is_the_textbook_one_and_does_not_overflow() -> None:
    x = np.array([[0.0, 1.0, 2.0], [1000.0, 1000.0, -1000.0]], np.float32)
    found = softmax(x, axis=1)
    assert found.dtype == np.float32
    assert np.allclose(found[0], np.exp([0, 1, 2]) / np.exp([0, 1, 2]).sum(), rtol=1e-6)
    assert found[1].tolist() == [0.5, 0.5, 0.0]
