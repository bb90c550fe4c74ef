"""What hangs between passes, on passes that do what they should not."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from bitsmith.callbacks import Dump, Gate, Record, Recorder, VerifyEach
from bitsmith.errors import ArtifactError, InternalError
from bitsmith.importing.load import load_graph
from bitsmith.ir.graph import Graph
from bitsmith.manager import Changes, Pass, Pipeline, Step
from bitsmith.module import Module
from bitsmith.target import Target

INPUTS = {"x": np.linspace(-1, 1, 8, dtype=np.float32).reshape(4, 2)}


@dataclass(frozen=True)
class Scale(Pass):
    """Multiply every weight by `factor`, whatever it says of preserving."""

    name: ClassVar[str] = "scale"
    factor: float = 1.0

    def run(self, module: Module) -> Changes:
        changes = Changes()
        for node in module.graph.nodes("MatMul"):
            weight = node.constant(1)
            assert weight is not None
            node.operand(1).constant = (weight * np.float32(self.factor)).astype(np.float32)
            changes.change(node)
        changes.refuse("nothing", "there is only one")
        changes.note("a note")
        return changes


@dataclass(frozen=True)
class ScaleOpenly(Scale):
    """The same, admitting it."""

    preserves: ClassVar[bool] = False


@dataclass(frozen=True)
class Break(Pass):
    """Leave a graph that no runtime takes."""

    name: ClassVar[str] = "break"

    def run(self, module: Module) -> Changes:
        for node in module.graph.nodes("MatMul"):
            node.operand(1).constant = np.ones((5, 5), np.float32)
        return Changes()


@pytest.fixture
def module() -> Module:
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"], name="product")],
        "tiny",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 3])],
        [numpy_helper.from_array(np.arange(6, dtype=np.float32).reshape(2, 3), "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return Module(load_graph(model), Target("board", "onnxruntime"))


@pytest.mark.parametrize(
    "passes", [(Scale(1.0),), (ScaleOpenly(3.0),), (ScaleOpenly(3.0), Scale(1.0), Scale(1 + 1e-6))]
)
def test_verify_each_lets_pass_what_keeps_its_promise(module: Module, passes: tuple[Pass, ...]) -> None:
    Pipeline(passes).run(module, [VerifyEach(INPUTS, normalised=9)])


@pytest.mark.parametrize("factor", [1.001, 0.0, float("nan")])
def test_verify_each_names_the_pass_that_moved_an_output(module: Module, factor: float) -> None:
    with pytest.raises(
        InternalError, match=r"pass scale\{factor=.*\}: it promises to preserve .* but moved output 0 by"
    ):
        Pipeline((Scale(1.0), Scale(factor))).run(module, [VerifyEach(INPUTS, normalised=9)])


def test_verify_each_names_the_pass_that_broke_the_graph(module: Module) -> None:
    with pytest.raises(InternalError, match="pass break: it left a graph that does not run"):
        Pipeline((Break(),)).run(module, [VerifyEach(INPUTS, normalised=9)])


def test_a_recorder_keeps_what_each_pass_did_and_no_times(module: Module) -> None:
    told: list[Record] = []
    recorder = Recorder(told.append)
    Pipeline((Scale(2.0),)).run(module, [recorder])
    assert told == recorder.records
    assert [record.to_json() for record in told] == [
        {
            "pass": "scale{factor=2.0}",
            "made": 1,
            "refused": [{"where": "nothing", "reason": "there is only one"}],
            "notes": ["a note"],
        }
    ]


def test_a_gate_asks_once_before_the_pass_it_stands_at(module: Module) -> None:
    asked: list[Step] = []
    Pipeline((Scale(1.0), Scale(2.0), Scale(3.0))).run(module, [Gate(1, asked.append)])
    assert [(step.index, step.done) for step in asked] == [(1, Scale(1.0))]


def test_dumps_are_models_that_load(module: Module, tmp_path: Path) -> None:
    folder = tmp_path / "dump"
    Pipeline((ScaleOpenly(2.0),)).run(module, [Dump(folder)])
    assert sorted(path.name for path in folder.iterdir()) == ["00-import.onnx", "01-scale.onnx"]
    weights = [Graph.from_onnx(onnx.load(path)).nodes()[0].constant(1) for path in sorted(folder.iterdir())]
    assert weights[0] is not None
    assert weights[1] is not None
    assert np.array_equal(weights[1], 2 * weights[0])


def test_a_dump_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ArtifactError, match=r"file: cannot be written: File exists\. Give --dump-dir another folder"):
        Dump(tmp_path / "file")


def test_verify_each_holds_later_passes_to_normal_form(module: Module) -> None:
    # A MatMul of a value of rank 2 is a Gemm in normal form.
    with pytest.raises(
        InternalError, match=r"pass scale\{factor=2\.0\}: it left MatMul product, .* not of normal form"
    ):
        Pipeline((ScaleOpenly(2.0),)).run(module, [VerifyEach(INPUTS, normalised=0)])
    Pipeline((ScaleOpenly(2.0),)).run(module, [VerifyEach(INPUTS, normalised=1)])
