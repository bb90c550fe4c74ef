"""Every mistake a user can make, at the prompt: one line, exit code 2, no traceback, and nothing written."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.integration.conftest import Run, Said

SHAPE = (2, 4, 4)
WEIGHT = np.linspace(-1, 1, 3 * 2 * 3 * 3, dtype=np.float32).reshape(3, 2, 3, 3)


def node(op: str, inputs: list[str], outputs: list[str], **attributes: object) -> onnx.NodeProto:
    return helper.make_node(op, inputs, outputs, name=f"my_{op.lower()}", **attributes)


def model(
    *nodes: onnx.NodeProto, shape: tuple[object, ...] = ("N", *SHAPE), **constants: np.ndarray
) -> onnx.ModelProto:
    """A model from x to y, of a Conv unless nodes are given."""
    body = nodes or (node("Conv", ["x", "w"], ["y"], pads=[1, 1, 1, 1]),)
    graph = helper.make_graph(
        body,
        "tiny",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(array, name) for name, array in ({"w": WEIGHT} | constants).items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to be in, with a model and data that fit."""
    monkeypatch.chdir(tmp_path)
    onnx.save(model(), "model.onnx")
    np.savez("data.npz", x=np.linspace(-1, 1, 8 * 32, dtype=np.float32).reshape(8, *SHAPE))
    return tmp_path


Compile = Callable[..., Said]


@pytest.fixture
def compile_it(bitsmith: Run, folder: Path) -> Compile:
    """Compile model.onnx with data.npz, with these options in place of or beside the usual ones."""

    def run(*options: str, **replaced: str) -> Said:
        usual = {"target": "onnxruntime", "calibration": "data.npz", "out": "out"} | replaced
        given = [text for name, value in usual.items() for text in (f"--{name}", value)]
        return bitsmith("compile", "model.onnx", *given, *options)

    return run


def assert_told(said: Said, *messages: str) -> None:
    assert said.code == 2
    assert said.out == ""
    (line,) = [line for line in said.err.splitlines() if not line.startswith("  ")]
    assert line.startswith("bitsmith: ")
    for message in messages:
        assert message in line
    assert "Traceback" not in said.err
    assert "defect" not in line
    assert not os.path.lexists("out")
    assert [name for name in os.listdir() if name.startswith(".")] == []


def test_what_fits_compiles(compile_it: Compile) -> None:
    """Or none of the tests below would say anything."""
    said = compile_it()
    assert said.code == 0, said.err
    assert (Path("out") / "manifest.json").is_file()


# Models.


@pytest.mark.parametrize(
    ("content", "messages"),
    [
        (None, ["model.onnx: there is no such file"]),
        (b"", ["model.onnx: the file is empty"]),
        (b"PK\x03\x04 this is a zip file", ["model.onnx", "not an ONNX model"]),
        (b"\x08\x08" + b"\xff" * 100, ["model.onnx", "not an ONNX model"]),
    ],
)
def test_a_file_that_is_no_model(compile_it: Compile, content: bytes | None, messages: list[str]) -> None:
    Path("model.onnx").unlink()
    if content is not None:
        Path("model.onnx").write_bytes(content)
    assert_told(compile_it(), *messages)


def test_a_truncated_model(compile_it: Compile) -> None:
    content = Path("model.onnx").read_bytes()
    Path("model.onnx").write_bytes(content[: len(content) // 2])
    assert_told(compile_it(), "model.onnx", "truncated")


def test_a_folder_for_a_model(compile_it: Compile) -> None:
    Path("model.onnx").unlink()
    Path("model.onnx").mkdir()
    assert_told(compile_it(), "model.onnx: a folder")


def save(*nodes: onnx.NodeProto, **constants: np.ndarray) -> None:
    onnx.save(model(*nodes, **constants), "model.onnx")


def test_a_cycle(compile_it: Compile) -> None:
    save(node("Add", ["x", "b"], ["a"]), node("Relu", ["a"], ["b"]), node("Relu", ["b"], ["y"]))
    said = compile_it()
    assert_told(said, "my_add")


def test_a_value_that_nothing_makes(compile_it: Compile) -> None:
    save(node("Add", ["x", "nowhere"], ["y"]))
    assert_told(compile_it(), "nowhere")


def test_an_op_that_has_no_integer_form_is_refused_by_name_before_any_work(compile_it: Compile) -> None:
    save(node("Conv", ["x", "w"], ["h"]), node("Hardmax", ["h"], ["y"]))
    said = compile_it()
    assert_told(said, "Hardmax my_hardmax: ")
    assert "calibrate" not in said.err


def test_several_refusals_are_counted(compile_it: Compile) -> None:
    save(node("Hardmax", ["x"], ["h"]), node("LpNormalization", ["h"], ["i"]), node("LogSoftmax", ["i"], ["y"]))
    assert_told(compile_it(), "Hardmax my_hardmax", "2 more: `bitsmith check` lists all.")


def test_an_op_of_another_domain(compile_it: Compile) -> None:
    save(helper.make_node("Fancy", ["x"], ["y"], name="my_fancy", domain="com.acme"))
    assert_told(compile_it(), "my_fancy")


def test_an_opset_of_the_future(compile_it: Compile) -> None:
    late = model()
    late.opset_import[0].version = 99
    onnx.save(late, "model.onnx")
    assert_told(compile_it(), "99")


def test_a_dynamic_shape_says_which_option_fixes_it(compile_it: Compile) -> None:
    onnx.save(model(shape=("N", 2, "height", "width")), "model.onnx")
    assert_told(compile_it(), "input x", "--input-shape x=1,2,32,32")
    said = compile_it("--input-shape", "x=1,2,4,4")
    assert said.code == 0, said.err


@pytest.mark.parametrize(
    ("shape", "message"),
    [("z=1,2,4,4", "there is no input z"), ("x=1,2,4", "--input-shape x"), ("x=1,5,4,4", "--input-shape x")],
)
def test_an_input_shape_that_does_not_fit(compile_it: Compile, shape: str, message: str) -> None:
    assert_told(compile_it("--input-shape", shape), message)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_weights_that_are_no_numbers(compile_it: Compile, bad: float) -> None:
    weight = WEIGHT.copy()
    weight[1, 1, 1, 1] = bad
    save(w=weight)
    assert_told(compile_it(), "w")


@pytest.mark.parametrize("location", ["../outside.bin", "/etc/hostname", "missing.bin"])
def test_external_data_that_escapes_or_is_not_there(compile_it: Compile, folder: Path, location: str) -> None:
    (folder.parent / "outside.bin").write_bytes(WEIGHT.tobytes())
    escaping = model()
    tensor = escaping.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    Path("model.onnx").write_bytes(escaping.SerializeToString())
    assert_told(compile_it(), "w", location)


def test_external_data_beside_the_model_is_hashed(compile_it: Compile) -> None:
    onnx.save(model(), "model.onnx", save_as_external_data=True, location="w.bin", size_threshold=0)
    said = compile_it()
    assert said.code == 0, said.err
    assert '"w.bin"' in (Path("out") / "manifest.json").read_text()


# Data.


def save_data(**arrays: np.ndarray) -> None:
    np.savez("data.npz", **arrays)


GOOD = np.zeros((8, *SHAPE), np.float32)


def spoiled(value: float) -> np.ndarray:
    array = GOOD.copy()
    array[5, 1, 2, 3] = value
    return array


@pytest.mark.parametrize(
    ("arrays", "messages"),
    [
        ({"x": spoiled(np.nan)}, ["data.npz, x: NaN in sample 5"]),
        ({"x": spoiled(np.inf)}, ["data.npz, x: infinity", "in sample 5"]),
        ({"x": GOOD[:0]}, ["data.npz, x: no samples"]),
        ({"x": GOOD[:, :1]}, ["data.npz, x: the model takes samples of shape (2, 4, 4)"]),
        ({"x": GOOD.transpose(0, 2, 3, 1)}, ["save x.transpose(0, 3, 1, 2)"]),
        ({"x": GOOD[0]}, ["save x[numpy.newaxis]"]),
        ({"x": GOOD.astype(str)}, ["data.npz, x: dtype"]),
        ({"x": GOOD.astype(object)}, ["data.npz, x: holds Python objects"]),
        ({"images": GOOD}, ["data.npz: no array named 'x'", "it holds images"]),
        ({"x": GOOD, "y": np.zeros(7, int)}, ["data.npz: different numbers of samples"]),
        ({"x": GOOD, "mean": np.zeros(1, np.float32)}, ["data.npz: mean without std"]),
    ],
)
def test_calibration_data_that_does_not_fit(
    compile_it: Compile, arrays: dict[str, np.ndarray], messages: list[str]
) -> None:
    save_data(**arrays)
    assert_told(compile_it(), *messages)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "No such file"),
        (b"", "data.npz: not a readable .npz"),
        (b"\x93NUMPY", "one .npy array"),
        (b"PK\x03\x04", "data.npz"),
    ],
)
def test_a_file_that_is_no_data(compile_it: Compile, content: bytes | None, message: str) -> None:
    Path("data.npz").unlink()
    if content is not None:
        Path("data.npz").write_bytes(content)
    assert_told(compile_it(), "data.npz", message)


def test_data_cut_short(compile_it: Compile) -> None:
    content = Path("data.npz").read_bytes()
    Path("data.npz").write_bytes(content[: len(content) // 2])
    assert_told(compile_it(), "data.npz")


def test_no_calibration_data(bitsmith: Run, folder: Path) -> None:
    said = bitsmith("compile", "model.onnx", "--target", "onnxruntime", "-o", "out")
    assert_told(
        said, "this pipeline needs calibration data. Give --calibration DATA.npz, or --data-free if there is none."
    )


# Pipelines, recipes and targets.


@pytest.mark.parametrize(
    ("pipeline", "messages"),
    [
        ("", ["the pipeline is empty"]),
        ("fold-batchnorm,integerize", ["there is no pass called fold-batchnorm. Did you mean fold-batch-norm?"]),
        ("calibrate{bins=many},integerize", ["option bins of pass calibrate: 'many' is not a int"]),
        ("calibrate{bin=3}", ["pass calibrate: there is no option bin. Did you mean bins?"]),
        ("calibrate{bins=3", ["pipeline, character 1: cannot read"]),
        (
            "explicit-padding,canonicalize-gemm,calibrate",
            ["the pipeline ends without an integer graph. End the pipeline with `integerize`."],
        ),
        ("quantize-activations,integerize", ["Put `calibrate` before it"]),
        ("explicit-padding,canonicalize-gemm,calibrate{batch_size=0},integerize", ["batch_size=0"]),
    ],
)
def test_a_pipeline_that_makes_no_sense(compile_it: Compile, pipeline: str, messages: list[str]) -> None:
    assert_told(compile_it("--pipeline", pipeline), *messages)


def test_options_beside_a_pipeline_would_do_nothing(compile_it: Compile) -> None:
    assert_told(compile_it("--pipeline", "integerize", "--weights", "8"), "weights has no effect beside a pipeline")


def test_a_recipe_that_makes_no_sense(compile_it: Compile) -> None:
    Path("recipe.toml").write_text("weigths = 8")
    assert_told(
        compile_it("--recipe", "recipe.toml"), "recipe.toml, weigths: there is no such key. Did you mean weights?"
    )
    assert_told(compile_it("--recipe", "missing.toml"), "missing.toml: cannot be read: No such file")


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("onnxruntim", "there is no target called onnxruntim. Did you mean onnxruntime?"),
        ("missing.toml", "missing.toml: cannot be read: No such file"),
        ("./folder", "cannot be read: Is a directory"),
    ],
)
def test_a_target_that_is_not_there(compile_it: Compile, target: str, message: str) -> None:
    Path("folder").mkdir()
    assert_told(compile_it(target=target), message)


@pytest.mark.parametrize(
    ("line", "messages"),
    [
        ("weight_bit = [8]", ["my.toml, weight_bit: there is no such key. Did you mean weight_bits?"]),
        ("weight_bits = [32]", ["my.toml, weight_bits: must be an integer from 1 to 16, not 32"]),
        ('fused = ["Relu"]', ["target my: the default passes fuse Clip and Relu"]),
        ("weight_bits = [16]", ["target my: ONNX Runtime runs no 16-bit weights"]),
    ],
)
def test_a_target_that_makes_no_sense(compile_it: Compile, line: str, messages: list[str]) -> None:
    Path("my.toml").write_text(f'backend = "onnxruntime"\n{line}\n')
    assert_told(compile_it(target="my.toml"), *messages)


def test_bits_that_a_target_does_not_run(compile_it: Compile) -> None:
    Path("my.toml").write_text('backend = "onnxruntime"\n')
    assert_told(
        compile_it("--weights", "4", target="my.toml"), "target my: weights 4 is not what it runs. It runs weights 8"
    )


# Places.


def test_an_output_that_may_not_be_written(compile_it: Compile) -> None:
    Path("file").write_text("mine")
    assert_told(compile_it(out="file"), "file: is a file. Name a folder.")
    assert_told(compile_it(out="file/out"), "file/out: ")
    assert Path("file").read_text() == "mine"
    Path("full").mkdir()
    Path("full/thesis.tex").write_text("years")
    assert_told(compile_it(out="full"), "full: holds what bitsmith did not write: thesis.tex")
    assert os.listdir("full") == ["thesis.tex"]
    assert_told(compile_it(out="."), ": is the current folder")
    if Path("/proc/self").exists():
        assert_told(compile_it(out="/proc/out"), "/proc/out: cannot be written")


def test_a_dump_folder_that_may_not_be_written(compile_it: Compile) -> None:
    Path("file").write_text("mine")
    assert_told(
        compile_it("--dump-dir", "file"), "file: cannot be written: File exists. Give --dump-dir another folder."
    )


# check sees the same, and tells a model that cannot be read from one that is refused.


def test_check_lists_what_blocks(bitsmith: Run, folder: Path) -> None:
    save(node("Hardmax", ["x"], ["h"]), node("Conv", ["h", "w"], ["i"]), node("LpNormalization", ["i"], ["y"]))
    said = bitsmith("check", "model.onnx", "--target", "onnxruntime")
    assert said.code == 1
    assert "Hardmax my_hardmax: there is no integer form of this op.\n" in said.out
    assert "LpNormalization my_lpnormalization: there is no integer form of this op.\n" in said.out
    assert "2 places block it for onnxruntime." in said.out


def test_check_tells_what_the_import_refuses(bitsmith: Run, folder: Path) -> None:
    save(helper.make_node("Fancy", ["x"], ["y"], name="my_fancy", domain="com.acme"))
    said = bitsmith("check", "model.onnx", "--target", "onnxruntime")
    assert said.code == 1
    assert "my_fancy" in said.out
    assert "1 place blocks it for onnxruntime." in said.out


def test_check_cannot_read_what_is_no_model(bitsmith: Run, folder: Path) -> None:
    Path("model.onnx").write_bytes(b"nothing")
    said = bitsmith("check", "model.onnx", "--target", "onnxruntime")
    assert_told(said, "model.onnx", "not an ONNX model")


# And what is not the user's mistake.


def test_a_defect_says_so_and_how_to_see_more(
    compile_it: Compile, monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    def fail(*arguments: object) -> None:
        raise ZeroDivisionError("by zero")

    monkeypatch.setattr("bitsmith.driver.to_onnx", fail)
    said = compile_it()
    assert said.code == 1
    assert said.err.splitlines()[-1] == (
        "bitsmith: this is a defect of bitsmith (ZeroDivisionError: by zero). "
        "Set BITSMITH_DEBUG=1 for the traceback, and report it."
    )
    assert not Path("out").exists()
    monkeypatch.setenv("BITSMITH_DEBUG", "1")
    with pytest.raises(ZeroDivisionError):
        compile_it()


def test_too_little_memory_is_one_line(compile_it: Compile, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    def fail(*arguments: object) -> None:
        raise MemoryError

    monkeypatch.setattr("bitsmith.driver.to_onnx", fail)
    assert_told(compile_it("--quiet"), "there is not enough memory")


def test_an_interrupt_is_one_line(compile_it: Compile, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    def interrupt(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("bitsmith.driver.to_onnx", interrupt)
    said = compile_it("--quiet")
    assert (said.code, said.err) == (130, "bitsmith: interrupted; nothing was written\n")
    assert sorted(os.listdir()) == ["data.npz", "model.onnx"]
