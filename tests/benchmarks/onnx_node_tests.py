"""ONNX's own backend tests, by what becomes of them: counts, by operator too, and why the others are refused.

usage: python -m tests.benchmarks.onnx_node_tests [--write FILE.md]
"""

from __future__ import annotations

import argparse
import re
import warnings
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import onnx

from tests.benchmarks.common import markdown
from tests.integration.onnx_node_tests import AS_THEY_STAND, BOUND, CONSTANT, FORMS, Outcome, Verdict, cases, outcome

REASONS = 12
SEVERAL = "models of several nodes"
_INTRODUCTION = """\
What `python -m tests.benchmarks.onnx_node_tests` found: each of the {tests:,} backend tests that come with onnx
{version} either compiles to 8 bits and agrees, within {bound:.0%} of the output's largest element, or is refused by
name. Few of them are layers: their operands are inputs, where layers have weights, so they are tried with all operands
but the first made constant, too."""


def main() -> None:
    """Put every test through the compiler, in both forms."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--write", type=Path)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    folders = cases()
    found = {form: [outcome(folder, form) for folder in folders] for form in FORMS}
    text = report(found, [operator(folder) for folder in folders])
    if options.write:
        options.write.write_text(f"{text}\n", encoding="utf-8")
    else:
        print(text)


def operator(folder: Path) -> str:
    """The operator that a test is of: that of its one node."""
    nodes = onnx.load(folder / "model.onnx").graph.node
    return f"`{nodes[0].op_type}`" if len(nodes) == 1 else SEVERAL


def report(found: Mapping[str, Sequence[Outcome]], operators: Sequence[str]) -> str:
    """All counts as one page. operators: of the tests, in the order of the outcomes."""
    refused = [one for one in found[CONSTANT] if one.verdict is Verdict.REFUSED]
    common = Counter(_reason(one) for one in refused).most_common(REASONS)
    return "\n\n".join(
        [
            "# ONNX's own tests",
            _INTRODUCTION.format(tests=len(operators), version=onnx.__version__, bound=BOUND),
            _verdicts(found),
            "## By operator",
            "Tests of one node, by its operator. Operators of which none compiles stand below.",
            *_by_operator(found, operators),
            "## Why",
            f"What {len(refused):,} with constant operands are refused for, most often:",
            markdown(["tests", "reason"], [[str(count), reason] for reason, count in common]),
        ]
    )


def _verdicts(found: Mapping[str, Sequence[Outcome]]) -> str:
    rows = []
    for form, outcomes in found.items():
        counts = Counter(one.verdict for one in outcomes)
        rows.append([form, *(f"{counts[verdict]:,}" for verdict in Verdict)])
    return markdown(["form", *(verdict.value for verdict in Verdict)], rows)


def _by_operator(found: Mapping[str, Sequence[Outcome]], operators: Sequence[str]) -> list[str]:
    """A table of the operators of which a test compiles, and a list of the others with their counts."""
    counts: dict[str, Counter[tuple[str, Verdict]]] = defaultdict(Counter)
    for form, outcomes in found.items():
        for name, one in zip(operators, outcomes, strict=True):
            counts[name][form, one.verdict] += 1
    tests = Counter(operators)
    # The row of many operators stands last.
    names = sorted(tests, key=lambda name: (name == SEVERAL, name))
    compiled = [name for name in names if any(counts[name][form, Verdict.AGREES] for form in FORMS)]
    header = ["operator", "tests", *(f"agree, {form}" for form in FORMS), *(f"refused, {form}" for form in FORMS)]
    rows = [
        [
            name,
            str(tests[name]),
            *(str(counts[name][form, Verdict.AGREES]) for form in (AS_THEY_STAND, CONSTANT)),
            *(str(counts[name][form, Verdict.REFUSED]) for form in (AS_THEY_STAND, CONSTANT)),
        ]
        for name in compiled
    ]
    others = [name for name in names if name not in compiled]
    refused = ", ".join(f"{name} {tests[name]}" for name in others)
    total = sum(tests[name] for name in others)
    return [
        markdown(header, rows),
        f"Refused by name in all their tests, {len(others)} operators, {total:,} tests: {refused}.",
    ]


def _reason(one: Outcome) -> str:
    """The first sentence of a refusal, without the names and numbers that are its own."""
    reason = re.sub(r"^[^:]*: ", "", one.text).split(". ")[0]
    return re.sub(r"\b\d+\b", "N", re.sub(r"\(.*", "", reason)).strip()[:90]


if __name__ == "__main__":
    main()
