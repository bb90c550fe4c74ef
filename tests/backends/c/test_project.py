"""The emitted folder as a firmware engineer meets it: built by its own files, its sizes what was said."""

from __future__ import annotations

import json
import re
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bitsmith.backends.c import CBackend, build, host
from bitsmith.errors import ArtifactError, VerificationError
from bitsmith.execution.batches import vectors
from bitsmith.ir.integer import IntegerGraph
from bitsmith.target import Target, load_target
from tests.backends.c.needs import command, machine_of
from tests.backends.onnxruntime.graphs import add, average, conv, linear


def with_unread_input(graph: IntegerGraph) -> IntegerGraph:
    """The graph with one input more, which no operation reads."""
    (name,) = graph.inputs
    more = replace(graph.values[name], name="unread")
    return replace(graph, values={**graph.values, "unread": more}, inputs=(name, "unread"))


GRAPHS = {
    "conv": conv((6, 5)),
    "narrow": conv((6, 5), weight_bits=4),
    "linear": linear((9,)),
    "unread": with_unread_input(linear((9,))),
    "add": add((1, -1)),
    "average": average((4, 4), 9, (3, 3)),
}


@pytest.fixture(params=GRAPHS)
def graph(request: pytest.FixtureRequest) -> IntegerGraph:
    return GRAPHS[request.param]


@pytest.fixture
def written(graph: IntegerGraph, tmp_path: Path) -> Path:
    CBackend().emit(graph, load_target("host"), tmp_path)
    return tmp_path / "c"


PACKAGES = {"size": "binutils"}
"""Debian packages of tools that are not called as theirs are."""


def tool(name: str) -> str:
    return command(name, PACKAGES.get(name, name))


def told(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)


def test_its_own_makefile_builds_it_and_its_test_passes(written: Path) -> None:
    done = told(written, tool("make"), "test", "CFLAGS=-std=c99 -O1 -Wall -Wextra -Wconversion -Werror")
    assert done.returncode == 0, done.stderr


def built_by_cmake(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """What cmake says when it has configured `folder` and built it in `folder/build`."""
    done = told(folder, tool("cmake"), "-S", ".", "-B", "build", "-Werror=dev", *options)
    assert done.returncode == 0, done.stderr
    return told(folder, tool("cmake"), "--build", "build")


def test_its_own_cmake_project_builds_it_and_its_test_passes(written: Path) -> None:
    done = built_by_cmake(written, "-DCMAKE_C_FLAGS=-Wall -Wextra -Wconversion -Werror")
    assert done.returncode == 0, done.stderr
    ran = told(written / "build", command("ctest", "cmake"), "--output-on-failure")
    assert ran.returncode == 0, ran.stdout
    assert "100% tests passed, 0 tests failed out of 1" in ran.stdout


def test_cmake_gives_a_target_of_this_machine_its_flags(tmp_path: Path) -> None:
    target = load_target("x86-64-avx2")
    CBackend().emit(GRAPHS["conv"], target, tmp_path)
    done = built_by_cmake(tmp_path / "c", "-DCMAKE_EXPORT_COMPILE_COMMANDS=ON")
    assert done.returncode == 0, done.stderr
    commands = json.loads((tmp_path / "c" / "build" / "compile_commands.json").read_text())
    (model,) = [one["command"].split() for one in commands if one["file"].endswith("model.c")]
    assert target.flags
    assert set(target.flags) <= set(model)


FIRMWARE = """
cmake_minimum_required(VERSION 3.13)
project(firmware C)
add_subdirectory(c)
add_executable(firmware main.c)
target_link_libraries(firmware PRIVATE model)
"""

MAIN = """
#include "model.h"
static int8_t in[MODEL_IN_BYTES], out[MODEL_OUT_BYTES];
int main(void)
{
    model_run(in, out);
    return 0;
}
"""


def test_a_cmake_project_takes_it_in_as_a_folder_without_its_test(tmp_path: Path) -> None:
    CBackend().emit(GRAPHS["linear"], load_target("host"), tmp_path)
    (tmp_path / "CMakeLists.txt").write_text(FIRMWARE)
    (tmp_path / "main.c").write_text(MAIN)
    done = built_by_cmake(tmp_path)
    assert done.returncode == 0, done.stderr
    assert told(tmp_path, "build/firmware").returncode == 0
    assert not list((tmp_path / "build").rglob("model_test*"))


def test_cmake_builds_it_for_a_microcontroller_by_a_toolchain_file(tmp_path: Path) -> None:
    target, _ = machine_of("cortex-m4")
    CBackend().emit(GRAPHS["linear"], target, tmp_path)
    (tmp_path / "m4.cmake").write_text(
        "set(CMAKE_SYSTEM_NAME Generic)\n"
        "set(CMAKE_TRY_COMPILE_TARGET_TYPE STATIC_LIBRARY)\n"
        f"set(CMAKE_C_COMPILER {target.toolchain}gcc)\n"
        f'set(CMAKE_C_FLAGS_INIT "{" ".join(target.flags)}")\n'
    )
    (tmp_path / "CMakeLists.txt").write_text(FIRMWARE.split("add_executable")[0])
    done = built_by_cmake(tmp_path, f"-DCMAKE_TOOLCHAIN_FILE={tmp_path / 'm4.cmake'}")
    assert done.returncode == 0, done.stderr
    listed = told(tmp_path, f"{target.toolchain}nm", "build/c/libmodel.a").stdout
    assert re.search(r" T model_run$", listed, re.MULTILINE)


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_compilers_find_nothing_to_warn_of(written: Path, compiler: str) -> None:
    flags = ["-std=c99", "-pedantic", "-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Werror", "-c"]
    for unit in ("model.c", "model_test.c"):
        done = told(written, tool(compiler), *flags, unit)
        assert done.returncode == 0, done.stderr


def test_cppcheck_finds_nothing(written: Path) -> None:
    suppressed = ["--suppress=missingIncludeSystem", "--suppress=unusedFunction"]
    flags = ["--enable=warning,performance,portability", "--error-exitcode=1", "--std=c99", "-q", *suppressed]
    done = told(written, tool("cppcheck"), *flags, "model.c", "model_test.c")
    assert done.returncode == 0, done.stderr


def test_a_wrong_golden_vector_fails_the_test(written: Path) -> None:
    path = written / "model_vectors.h"
    text = path.read_text()
    start = text.index("golden_out")
    numbers = text.index("{", start) + 1
    changed = re.sub(r"-?\d+", lambda found: str(int(found[0]) ^ 1), text[numbers:], count=1)
    path.write_text(text[:numbers] + changed)
    done = told(written, tool("make"), "test")
    assert done.returncode != 0
    assert built_by_cmake(written).returncode == 0
    ran = told(written / "build", command("ctest", "cmake"))
    assert "0% tests passed, 1 tests failed out of 1" in ran.stdout


@pytest.mark.parametrize("graph", ["conv", "narrow"], indirect=True)
def test_flash_and_ram_are_what_was_predicted(written: Path, graph: IntegerGraph) -> None:
    program = build(graph, load_target("host"))
    assert told(written, tool("gcc"), "-O2", "-c", "model.c").returncode == 0
    sections = told(written, tool("size"), "-A", "model.o").stdout
    found = {name: int(size) for name, size in re.findall(r"^(\.\S+)\s+(\d+)", sections, re.MULTILINE)}
    constants = sum(size for name, size in found.items() if name.startswith(".rodata"))
    # The linker aligns arrays, and a compiler may keep constants of its own making beside ours.
    assert program.flash <= constants <= program.flash + 64 * (1 + len(program.steps))
    assert found[".bss"] == -(-program.memory.total // 4) * 4
    assert found.get(".data", 0) == 0


def test_reals_are_quantized_as_formats_do(written: Path, graph: IntegerGraph) -> None:
    format = graph.values[graph.inputs[0]].format
    called = "in" if len(graph.inputs) == 1 else "in0"
    steps = np.arange(-400, 400) / 3  # no ties, which float32 may break otherwise
    reals = (steps * format.scale[0]).astype(np.float32)
    lines = "".join(f'    printf("%d\\n", model_quantize_{called}({real!r}f));\n' for real in reals.tolist())
    (written / "try.c").write_text(f'#include "model_quantize.h"\n#include <stdio.h>\nint main(void)\n{{\n{lines}}}\n')
    assert told(written, tool("gcc"), "try.c", "-o", "try").returncode == 0
    found = [int(line) for line in told(written, "./try").stdout.split()]
    np.testing.assert_array_equal(found, format.quantize(reals))


def test_many_inputs_and_outputs_have_numbers(tmp_path: Path) -> None:
    CBackend().emit(add((1, 1)), Target("host", "c"), tmp_path)
    header = (tmp_path / "c" / "model.h").read_text()
    assert "void model_run(const int8_t *in0, const int8_t *in1, int8_t *out);" in header


def test_the_backend_runs_what_it_wrote(graph: IntegerGraph, tmp_path: Path) -> None:
    backend = CBackend()
    backend.emit(graph, load_target("host"), tmp_path)
    inputs = vectors(graph, 5, seed=2)
    made, seen = backend.run(graph, tmp_path, inputs), backend.trace(graph, tmp_path, inputs)
    assert seen is not None
    for name in graph.outputs:
        np.testing.assert_array_equal(made[name], seen[name])


def test_without_a_compiler_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    graph = GRAPHS["linear"]
    CBackend().emit(graph, load_target("host"), tmp_path)
    monkeypatch.setattr(host, "host_compiler", lambda: None)
    with pytest.raises(ArtifactError, match="Install gcc, or set CC"):
        CBackend().run(graph, tmp_path, vectors(graph, 2, seed=0))


def test_c_that_writes_beyond_its_memory_is_caught(tmp_path: Path) -> None:
    graph = GRAPHS["linear"]
    CBackend().emit(graph, load_target("host"), tmp_path)
    path = tmp_path / "c" / "model.c"
    path.write_text(path.read_text().replace("y[o] =", "y[o + 8] ="))
    with pytest.raises(VerificationError, match="stopped"):
        CBackend().run(graph, tmp_path, vectors(graph, 2, seed=0))
