"""What each command's help ends with: command lines that work as they stand, in a clone of the repository."""

from __future__ import annotations

EXAMPLES: dict[str, dict[str, str]] = {
    "compile": {
        "for ONNX Runtime, 8 bits": "bitsmith compile models/digits/digits.onnx --target onnxruntime "
        "--calibration models/digits/calibration.npz -o build/digits",
        "C for a Cortex-M4, with weights of 4 bits": "bitsmith compile models/digits/digits.onnx --target cortex-m4 "
        "--calibration models/digits/calibration.npz --weights 4 -o build/digits-m4",
        "bits chosen layer by layer, to fit": "bitsmith compile models/digits/digits.onnx --target cortex-m4 "
        "--calibration models/digits/calibration.npz --weights mixed --budget flash=12KiB -o build/digits-12k",
    },
    "check": {
        "what stands in the way of a model": "bitsmith check models/digits/digits.onnx --target cortex-m4",
    },
    "evaluate": {
        "a float model": "bitsmith evaluate models/digits/digits.onnx --data models/digits/evaluation.npz",
        "all that was compiled of it": "bitsmith evaluate build/digits --data models/digits/evaluation.npz",
    },
    "verify": {
        "by the test vectors in the folder": "bitsmith verify build/digits",
        "on samples of yours": "bitsmith verify build/digits --data models/digits/evaluation.npz",
    },
    "search": {
        "what accuracy costs in flash": "bitsmith search models/digits/digits.onnx --target cortex-m4 "
        "--calibration models/digits/calibration.npz --data models/digits/evaluation.npz --points 12 -o build/front",
    },
    "report": {
        "the page of a compiled folder, again": "bitsmith report build/digits",
        "with its accuracy beside the float model's": "bitsmith report build/digits "
        "--data models/digits/evaluation.npz --float models/digits/digits.onnx",
    },
    "passes": {
        "with their options": "bitsmith passes",
    },
    "targets": {
        "what there is to compile for": "bitsmith targets",
    },
}
"""Command -> what for -> the line to type."""


def told(command: str) -> str:
    """The examples of a command, as its help shows them; lines end in a backslash where they are broken."""
    lines = ["examples:"]
    for purpose, line in EXAMPLES.get(command, {}).items():
        lines += [f"  {purpose}:", *_broken(line)]
    return "\n".join(lines) if len(lines) > 1 else ""


def _broken(line: str, width: int = 78) -> list[str]:
    """One command over lines of at most `width` characters, broken before an option where it can be."""
    parts = ("    " + line).replace(" -", "\n-").split("\n")
    lines = [parts[0]]
    for part in parts[1:]:
        if len(lines[-1]) + 1 + len(part) + 2 <= width:
            lines[-1] += f" {part}"
        else:
            lines[-1] += " \\"
            lines.append(f"        {part}")
    return lines
