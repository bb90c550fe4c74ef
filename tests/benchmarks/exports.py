"""Files that quantizers' own exporters wrote of one small model, compiled as they are for portable C.

usage: python -m tests.benchmarks.exports
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnx

import bitsmith
from tests.benchmarks.common import REPOSITORY, markdown, working_folder

EXPORTS = REPOSITORY / "tests" / "integration" / "third_party"
DIGITS = REPOSITORY / "models" / "digits"


def main() -> None:
    """Compile each file, and evaluate it and what became of it on the same samples."""
    rows = []
    for file in sorted(EXPORTS.glob("*.onnx")):
        if file.stem != "small":
            rows.append(row(file))
            print(" | ".join(rows[-1]), file=sys.stderr)
    header = ["file", "form", "the file in ONNX Runtime", "C, equal to integer.onnx (gain)"]
    print(markdown([*header, "each operation alone: differing, steps", "in float in the file"], rows))


def row(file: Path) -> list[str]:
    """A line of the table."""
    model = onnx.load(file)
    weights = {one.name for one in model.graph.initializer}
    (entry,) = [one for one in model.graph.input if one.name not in weights]
    is_last = entry.type.tensor_type.shape.dim[-1].dim_value == 1
    with working_folder() as folder:
        for name in ("calibration", "evaluation"):
            held = dict(np.load(DIGITS / f"{name}.npz"))
            held["x"] = held["x"].transpose(0, 2, 3, 1) if is_last else held["x"]
            np.savez(folder / f"{name}.npz", **held)
        artifact = bitsmith.compile(file, "host", folder / "calibration.npz", folder / "out")
        exact, c = (score.result.value for score in bitsmith.evaluate(folder / "out", folder / "evaluation.npz"))
        assert exact == c
        theirs, gain = "takes integers", ""
        if entry.type.tensor_type.elem_type == onnx.TensorProto.FLOAT:
            (score,) = bitsmith.evaluate(file, folder / "evaluation.npz")
            theirs, gain = f"{score.result.value:.4f}", f" ({c - score.result.value:+.4f})"
    found = artifact.manifest["quantized_by_others"]
    counts = f"{found['differing']:,} of {found['elements']:,}, {found['largest']}"
    return [file.name, found["dialect"], theirs, f"{c:.4f}{gain}", counts, ", ".join(found["derived"]) or "nothing"]


if __name__ == "__main__":
    main()
