"""Look-up tables and flip-flops as yosys counts them for Xilinx UltraScale+, before place and route."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bitsmith.disk import run_tool
from bitsmith.errors import TargetError, VerificationError

SCRIPT = "read_verilog -defer {files}; synth_xilinx -family xcup -top {top} -flatten -noiopad; tee -o cells.txt stat"
CELL = re.compile(r"^\s+([A-Z][A-Z0-9_]*)\s+(\d+)$", re.MULTILINE)


@dataclass(frozen=True)
class Counts:
    """Cells of a design: look-up tables of one to six inputs, flip-flops, multipliers."""

    luts: int
    registers: int
    dsps: int


def count(texts: Mapping[str, str], top: str = "model") -> Counts:
    """Synthesize Verilog by file name, a minute or more for tens of thousands of tables, and count.

    Raises TargetError without yosys, VerificationError for what it does not take.
    """
    command = shutil.which("yosys")
    if command is None:
        raise TargetError("yosys is not installed", where="backend rtl", fix="Install it: apt-get install yosys")
    with tempfile.TemporaryDirectory(prefix="bitsmith-yosys-") as name:
        for file, text in texts.items():
            (Path(name) / file).write_text(text, encoding="utf-8")
        files = " ".join(sorted(file for file in texts if file.endswith(".v") and file != "model_test.v"))
        script = SCRIPT.format(files=files, top=top)
        done = run_tool([command, "-q", "-p", script], Path(name))
        if done.returncode:
            raise VerificationError(f"yosys stopped: {done.stderr.strip()[-800:]}", where="the generated Verilog")
        cells = {kind: int(found) for kind, found in CELL.findall((Path(name) / "cells.txt").read_text("utf-8"))}
    return Counts(
        luts=sum(found for kind, found in cells.items() if re.fullmatch("LUT[1-6]|INV", kind)),
        registers=sum(found for kind, found in cells.items() if kind.startswith("FD")),
        dsps=sum(found for kind, found in cells.items() if kind.startswith("DSP")),
    )
