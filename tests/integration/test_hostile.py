"""Files made to do harm: names that break out of what they are quoted in, sizes, depths, links and pickles."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
import unicodedata
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from bitsmith.artifact import load
from bitsmith.backends.hls4ml import Hls4mlBackend
from bitsmith.backends.rtl import RtlBackend
from bitsmith.errors import ModelError
from bitsmith.importing.load import load_graph
from bitsmith.importing.names import LONGEST
from bitsmith.target import load_target
from tests.integration.conftest import Run, Said
from tests.sketch import Sketch, normal

NAMES = (
    "a */ b",
    "{{ 7 * 7 }}{% raw %}",
    "<script>alert(1)</script>",
    "quote\" ' back\\slash",
    "new\nline",
    "\x1b[31mred\x1b[0m\x9b2J",
    "\u202egnp.exe\u2066",
    "nul\0nul",
    "n" * 10_000,
    "int",
    "a b",
    "a-b",
    "a.b",
    "??/",
    "%s%n",
    "../../up",
    "\u00e9\U0001f600",
)
INPUT, OUTPUT = "in\"' */ <i> {{y}}", "out --> & \\"


def named(names: tuple[str, ...]) -> onnx.ModelProto:
    """A convolution for each name, which calls itself and its weight and its result so."""
    sketch = Sketch(**{INPUT: ("N", 2, 4, 4)})
    value = INPUT
    for index, name in enumerate(names):
        weight = sketch.hold(normal(2, 2, 1, 1, seed=index), f"{name} w")
        value = sketch.add("Conv", value, weight, name=name, outputs=[f"{name} y"])
    model = sketch.model(sketch.add("Relu", value, name="</style>", outputs=[OUTPUT]))
    model.graph.name = "*/ <script>{{1}}\x1b[31m"
    model.doc_string = "\x1b[31m <script>"
    return model


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hostile")
    (folder / "model.onnx").write_bytes(named(NAMES).SerializeToString())
    np.savez(folder / "data.npz", x=normal(4, 2, 4, 4))
    (folder / "board.toml").write_text(
        'backend = "c"\nname = "*/ #error <script>{{ 1 }} \\\\"\ndescription = "*/ #error <i>{% raw %}"\n'
    )
    return folder


def compile_for(bitsmith: Run, place: Path, target: str | Path) -> tuple[Said, Path]:
    out = place / Path(target).stem
    given = ["--calibration", place / "data.npz", "-o", out, "--no-explain"]
    return bitsmith("compile", place / "model.onnx", "--target", target, *given), out


def assert_harmless(text: str) -> None:
    """No control characters but line breaks, and nothing that turns the direction of reading."""
    kinds = {unicodedata.category(one) for one in text.replace("\n", "")}
    assert not kinds & {"Cc", "Cs", "Cf", "Zl", "Zp"}


class Elements(HTMLParser):
    """The elements of a page, each with the names of its attributes; what people read, and what browsers run."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.seen: set[tuple[str, tuple[str, ...]]] = set()
        self.text = self.code = ""
        self.feed(page)

    def handle_data(self, data: str) -> None:
        if self.cdata_elem is None:
            self.text += data
        else:
            self.code += data

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.seen.add((tag, tuple(sorted(name for name, _ in attributes))))


@pytest.mark.parametrize("target", ["onnxruntime", "board.toml", "qonnx"])
def test_names_break_out_of_nothing(bitsmith: Run, place: Path, target: str) -> None:
    """The C is built with every warning an error, and run; the page has no element that plain names would not give."""
    said, out = compile_for(bitsmith, place, place / target if target.endswith(".toml") else target)
    assert said.code == 0, said.err
    assert_harmless(said.out + said.err)
    page = (out / "report.html").read_text()
    manifest = json.loads((out / "manifest.json").read_text())
    assert_harmless(page)
    assert [name for name in NAMES if len(name) < LONGEST and name.isprintable()] == [
        layer["name"] for layer in manifest["layers"] if layer["name"] in NAMES
    ]
    elements = Elements(page)
    assert "alert(1)" in elements.text
    assert "alert(1)" not in elements.code
    assert "i" not in {tag for tag, _ in elements.seen}
    for command in ("verify", "report") if target == "onnxruntime" else ():
        told = bitsmith(command, out)
        assert told.code == 0, told.err
        assert_harmless(told.out + told.err)


def test_the_page_has_the_elements_that_plain_names_give(bitsmith: Run, place: Path, tmp_path: Path) -> None:
    plain = named(tuple(f"layer{index}" for index in range(len(NAMES))))
    (tmp_path / "model.onnx").write_bytes(plain.SerializeToString())
    np.savez(tmp_path / "data.npz", x=normal(4, 2, 4, 4))
    pages = []
    for folder in (place, tmp_path):
        said, out = compile_for(bitsmith, folder, "onnxruntime")
        assert said.code == 0, said.err
        pages.append(Elements((out / "report.html").read_text()).seen)
    assert pages[0] == pages[1]


def test_names_of_operations_in_projects_for_fpgas(bitsmith: Run, place: Path, tmp_path: Path) -> None:
    """What both write is written; that it computes what it should is for tests of those backends."""
    sketch = Sketch(**{INPUT: ("N", 4)})
    value = INPUT
    for index, name in enumerate(NAMES[:8]):
        value = sketch.add("Gemm", value, normal(4, 4, seed=index), name=name, outputs=[f"{name} y"])
    (tmp_path / "model.onnx").write_bytes(sketch.model(sketch.add("Relu", value, outputs=[OUTPUT])).SerializeToString())
    np.savez(tmp_path / "data.npz", x=normal(4, 4))
    given = ["--calibration", tmp_path / "data.npz", "-o", tmp_path / "out", "--no-explain", "--granularity", "tensor"]
    given += ["--scales", "power-of-two", "--symmetric-activations"]
    assert bitsmith("compile", tmp_path / "model.onnx", "--target", "onnxruntime", *given).code == 0
    graph = load(tmp_path / "out").graph
    for backend, target in ((RtlBackend(), "rtl"), (Hls4mlBackend(), "hls4ml-vitis")):
        folder = tmp_path / target
        folder.mkdir()
        for path in backend.emit(graph, load_target(target), folder):
            assert folder in (folder / path).resolve().parents
        written = [path for path in folder.rglob("*") if path.is_file() and path.suffix in (".h", ".cpp", ".v", ".tcl")]
        assert written
        for path in written:
            assert "alert(1)" not in path.read_text()
            assert "\x1b" not in path.read_text()


def test_errors_do_not_steer_the_terminal(bitsmith: Run, tmp_path: Path) -> None:
    sketch = Sketch(x=("N", 4))
    refused = sketch.add("Hardmax", "x", name="\x1b]0;title\x07\u202e", outputs=["a\nb"])
    path = tmp_path / "\x1b[31mmodel.onnx"
    path.write_bytes(sketch.model(sketch.add("Relu", refused)).SerializeToString())
    for more in ([], ["--json"]):
        said = bitsmith("check", path, "--target", "onnxruntime", *more)
        assert said.code == 1
        assert "title" in said.out
        assert_harmless(said.out + said.err)
    said = bitsmith("check", f"{path}\x9b", "--target", "onnxruntime")
    assert said.code == 2
    assert "\\x1b[31mmodel.onnx\\x9b: there is no such file" in said.err
    assert_harmless(said.err)


@pytest.mark.parametrize("name", ["a\x1b[31m", "\u202ea", "n" * 10_000, "a\0"])
def test_inputs_and_outputs_of_names_that_nobody_could_type(name: str) -> None:
    sketch = Sketch(**{name: ("N", 4)})
    with pytest.raises(ModelError, match="cannot be printed, or more than 200"):
        load_graph(sketch.model(sketch.add("Relu", name)))


def test_names_that_become_alike_stay_apart() -> None:
    sketch = Sketch(x=("N", 4))
    value = "x"
    for name in ("a\x01", "a\\x01", "b" * 300 + "1", "b" * 300 + "2"):
        value = sketch.add("Relu", value, name=name, outputs=[f"{name}y"])
    graph = load_graph(sketch.model(sketch.add("Sigmoid", value)))
    names = [node.name for node in graph.nodes()]
    assert len(set(names)) == len(names) == 5
    assert names[1] == "a\\x01"
    assert all(len(name) < LONGEST + 20 for name in names)


# Sizes.


def sizes() -> Iterator[onnx.ModelProto]:
    """Models of some hundred bytes that stand for more than 10 GB each."""
    huge = 3 * 10**9
    sketch = Sketch(x=("N", huge))
    yield sketch.model(sketch.add("Relu", "x"))
    sketch = Sketch(x=("N", 1, 100, 100))
    yield sketch.model(sketch.add("Resize", "x", None, np.array([1, 1, 1000, 1000], np.float32), mode="nearest"))
    sketch = Sketch(x=("N", 4))
    yield sketch.model(sketch.add("Pad", "x", np.array([0, 0, 0, huge]), 0.0))
    sketch = Sketch(x=("N", 4))
    yield sketch.model(sketch.add("Add", "x", sketch.add("ConstantOfShape", np.array([huge, 4]))))
    sketch = Sketch(x=("N", 4))
    yield sketch.model(sketch.add("Add", "x", sketch.add("Expand", normal(1), np.array([1, huge]))))
    sketch = Sketch(x=("N", 4))
    yield sketch.model(sketch.add("Add", "x", sketch.add("Range", np.array(0.0), np.array(1e10), np.array(1.0))))
    sketch = Sketch(x=("N", 4))
    yield sketch.model(sketch.add("Tile", "x", np.array([1, huge])))
    sketch = Sketch(x=("N", 4))
    sketch.initializers.append(TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4, huge], raw_data=bytes(16)))
    yield sketch.model(sketch.add("MatMul", "x", "w"))


def test_gigabytes_are_refused_without_being_allocated(tmp_path: Path) -> None:
    count = 0
    for index, model in enumerate(sizes()):
        content = model.SerializeToString()
        assert len(content) < 1000
        (tmp_path / f"{index}.onnx").write_bytes(content)
        count += 1
    script = """
        import resource, sys
        from pathlib import Path
        from bitsmith.errors import BitsmithError
        from bitsmith.legality import check
        check_all = sorted(Path(sys.argv[1]).glob("*.onnx"))
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        limit = pages * resource.getpagesize() + 2**30
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        for path in check_all:
            try:
                print(len(check(path, "onnxruntime").refusals) > 0)
            except BitsmithError as fault:
                print(True)
    """
    command = [sys.executable, "-c", textwrap.dedent(script), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["True"] * count


# Depths.


def nested(depth: int) -> onnx.GraphProto:
    """An If whose branch is an If, and so on."""
    inner = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "inner", [], [])
    for _ in range(depth):
        node = helper.make_node("If", ["c"], ["y"], name="branch")
        attribute = node.attribute.add(name="then_branch", type=onnx.AttributeProto.GRAPH)
        attribute.g.CopyFrom(inner)
        inner = onnx.GraphProto(name="outer", node=[node])
    return inner


def test_ifs_within_ifs() -> None:
    model = Sketch(x=("N", 4)).model("y")
    model.graph.node.extend(nested(30).node)
    with pytest.raises(ModelError, match="control flow"):
        load_graph(model)


def test_protobufs_within_protobufs_a_thousand_deep(bitsmith: Run, tmp_path: Path) -> None:
    """By hand: what writes protobufs refuses to. Fields 7, 1, 5 and 6: graph, node, attribute, its graph."""
    content = b""
    for index in range(3000):
        field = (6, 5, 1)[index % 3]
        length, size = len(content), b""
        while length > 127:
            size, length = size + bytes([length & 127 | 128]), length >> 7
        content = bytes([field << 3 | 2]) + size + bytes([length]) + content
    length, size = len(content), b""
    while length > 127:
        size, length = size + bytes([length & 127 | 128]), length >> 7
    (tmp_path / "deep.onnx").write_bytes(b"\x3a" + size + bytes([length]) + content)
    said = bitsmith("check", tmp_path / "deep.onnx", "--target", "onnxruntime")
    assert said.code == 2
    assert "nested too deep" in said.err


def test_texts_nested_a_hundred_thousand_deep(bitsmith: Run, compiled: Path, tmp_path: Path) -> None:
    deep = "[" * 100_000
    (tmp_path / "deep.toml").write_text(f"weights = {deep}")
    (tmp_path / "deep.json").write_text(deep)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "manifest.json").write_text(deep)
    start = ["compile", "m.onnx", "-o", tmp_path / "new", "--target"]
    for arguments in (
        [*start, tmp_path / "deep.toml"],
        [*start, "host", "--recipe", tmp_path / "deep.toml"],
        [*start, "host", "--allocation", tmp_path / "deep.json"],
        [*start, "host", "--sensitivity", tmp_path / "deep.json"],
        ["verify", tmp_path / "out"],
        ["report", tmp_path / "out"],
    ):
        said = bitsmith(*arguments)
        assert said.code == 2
        assert "defect" not in said.err
        assert len(said.err.splitlines()) == 1


# Files that are somewhere else, or something else.


def test_data_of_an_attribute_are_read_from_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor from the current folder, which onnx takes where it is told no other."""
    tensor = numpy_helper.from_array(normal(4), "w")
    (tmp_path / "secret.bin").write_bytes(tensor.raw_data)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="secret.bin")
    sketch = Sketch(x=("N", 4))
    model = sketch.model(sketch.add("Add", "x", sketch.add("Constant", value=tensor, name="told")))
    monkeypatch.chdir(tmp_path)
    onnx.save(model, "model.onnx")
    for source in (model, tmp_path / "model.onnx"):
        with pytest.raises(ModelError, match="Constant told: the data of its attribute value are in another file"):
            load_graph(source)


def test_a_pickle_among_test_vectors_is_never_loaded(bitsmith: Run, compiled: Path, tmp_path: Path) -> None:
    class Harm:
        def __reduce__(self) -> tuple[object, ...]:
            return os.mkdir, (str(tmp_path / "harm"),)

    folder = copy_of(compiled, tmp_path)
    with np.load(folder / "vectors.npz") as stored:
        arrays = dict(stored)
    np.savez(folder / "vectors.npz", **{**arrays, "input.x": np.array([Harm()], dtype=object)})
    said = bitsmith("verify", folder)
    assert said.code == 1
    assert "vectors.npz: cannot be read (holds Python objects" in said.out
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda x: x.astype(np.int32), "input.x holds int32"),
        (lambda x: x[:, :, :-1], "not samples of x"),
        (lambda x: x[:0], "not samples of x"),
        (lambda x: x[0, 0, 0, 0], "not samples of x"),
        (lambda x: x[:-1], "holds more samples of one value than of another"),
    ],
)
def test_vectors_that_are_none_are_told(
    bitsmith: Run, compiled: Path, tmp_path: Path, spoil: Callable[[np.ndarray], np.ndarray], message: str
) -> None:
    folder = copy_of(compiled, tmp_path)
    with np.load(folder / "vectors.npz") as stored:
        arrays = dict(stored)
    np.savez(folder / "vectors.npz", **{**arrays, "input.x": spoil(arrays["input.x"])})
    said = bitsmith("verify", folder)
    assert said.code == 1
    assert message in said.out


@pytest.mark.parametrize("kind", ["pipe", "link", "nowhere"])
def test_pipes_and_links_in_a_compiled_folder_are_not_followed(
    bitsmith: Run, compiled: Path, tmp_path: Path, kind: str
) -> None:
    folder = copy_of(compiled, tmp_path)
    if kind == "pipe":
        os.mkfifo(folder / "added")
    else:
        (folder / "added").symlink_to("/dev/zero" if kind == "link" else tmp_path / "nowhere")
    said = bitsmith("verify", folder)
    assert said.code == 1
    assert "altered: added: is not in manifest.json" in said.out


def copy_of(compiled: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "copy"
    folder.mkdir()
    for path in compiled.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    return folder
