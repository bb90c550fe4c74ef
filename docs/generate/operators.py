"""The page of ONNX's operators: what has an integer form, what is brought to it, and what to do about the rest."""

from __future__ import annotations

from collections.abc import Iterable

from bitsmith.ir.elementwise import FUNCTIONS
from bitsmith.ir.legal import HINTS, RULES
from docs.generate.docstrings import plain
from docs.generate.repository import ROOT
from docs.generate.tables import tables

TESTS = "tests/benchmarks/onnx_node_tests.md"


def page() -> str:
    """The table of the normal form, then what ONNX's own tests show beyond it, then hints."""
    return "\n\n".join(
        [
            "# Operators",
            "A model is float32, of opset 7 to 26, and its first dimension is the batch. First it is brought to a "
            "normal form; what stands in it is compiled, and anything else is refused by name before any work is done. "
            "`bitsmith check MODEL.onnx --target NAME` says so for every node of a model.",
            "## In the normal form",
            "Constant operands are stored in the model or follow from what is. Conv is over one or two spatial axes.",
            _list(set(RULES) - set(FUNCTIONS)),
            "## Functions of one value",
            "Each is a table of the output for every input integer; of inputs with more than 8 bits, knots and lines "
            "between them.",
            _list(FUNCTIONS),
            "## Brought to the normal form",
            "Folded into their neighbours or rewritten, where they stand so that it can be done: the "
            "[passes](passes.md) say when. These are the operators of which a test of "
            "[ONNX's own](../measured/onnx_node_tests.md) compiles.",
            _list(_tested() - set(RULES)),
            "## In place of others",
            "\n".join(["| operator | what to do |", "| --- | --- |", *_hints()]),
        ]
    )


def _list(ops: Iterable[str]) -> str:
    return ", ".join(f"`{op}`" for op in sorted(ops)) + "."


def _hints() -> list[str]:
    return [f"| `{op}` | {plain(hint)} |" for op, hint in sorted(HINTS.items()) if op not in _tested()]


def _tested() -> set[str]:
    """Operators of which at least one test compiles."""
    _, by_operator, *_ = tables((ROOT / TESTS).read_text(encoding="utf-8"))
    return {row["operator"].strip("`") for row in by_operator if row["operator"].startswith("`")}
