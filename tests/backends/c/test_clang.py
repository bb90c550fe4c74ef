"""The C for Arm, assembly and all, as another compiler than the one that it was measured with takes it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from bitsmith.backends.c import build, sources
from bitsmith.ir.integer import IntegerGraph
from bitsmith.target import load_target
from tests.backends.c.needs import command
from tests.backends.c.test_dsp import ODD
from tests.backends.c.test_dsp_average import pooled
from tests.backends.c.test_dsp_narrow import CASES, DEPTHWISE, LINEAR
from tests.backends.c.test_helium import CASES as HELIUM
from tests.backends.c.test_helium import side_by_side
from tests.backends.c.test_ternary import CASES as TERNARY
from tests.backends.onnxruntime.graphs import add, linear

STRICT = ["-std=c99", "-O1", "-Wall", "-Wextra", "-Werror"]

OTHERS = side_by_side([linear((41,), 10), add((1, -1)), pooled((8, 8), (8, 8), (1, 1), (1, 1), 4)])


@pytest.mark.parametrize(
    ("core", "triple", "graphs"),
    [
        ("cortex-m4", "thumbv7em-none-eabi", [ODD, *CASES.values(), DEPTHWISE, LINEAR, TERNARY, OTHERS]),
        ("cortex-m55", "thumbv8.1m.main-none-eabi", [side_by_side(cases) for cases in HELIUM.values()]),
    ],
)
def test_clang_takes_it_without_a_warning(core: str, triple: str, graphs: list[IntegerGraph], tmp_path: Path) -> None:
    compiler = command("clang", "clang")
    flags = [f"--target={triple}", f"-mcpu={core}", "-mfloat-abi=hard", "-isystem", str(headers()), *STRICT]
    for graph in graphs:
        for name, text in sources(build(graph, load_target(core))).items():
            (tmp_path / name).write_text(text)
        done = subprocess.run(
            [compiler, *flags, "-c", "model.c"], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr


def headers() -> Path:
    """Where the C library for Arm has its headers, which clang does not bring."""
    compiler = command("arm-none-eabi-gcc", "gcc-arm-none-eabi", "libnewlib-arm-none-eabi")
    told = subprocess.run(
        [compiler, "-M", "-x", "c", "-"], input="#include <string.h>", capture_output=True, text=True, check=True
    )
    return next(Path(word).parent for word in told.stdout.split() if word.endswith("/string.h"))
