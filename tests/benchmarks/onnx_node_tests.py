"""ONNX's own backend tests, by what becomes of them: one Markdown table of counts, and why the others are refused.

usage: python -m tests.benchmarks.onnx_node_tests
"""

from __future__ import annotations

import re
import warnings
from collections import Counter

import onnx

from tests.benchmarks.common import markdown
from tests.integration.onnx_node_tests import BOUND, FORMS, Outcome, Verdict, cases, outcome

REASONS = 12


def main() -> None:
    """Put every test through the compiler, in both forms."""
    warnings.simplefilter("ignore")
    folders = cases()
    outcomes = {form: [outcome(folder, form) for folder in folders] for form in FORMS}
    print(
        f"onnx {onnx.__version__}, {len(folders)} tests; agrees: within {BOUND:.0%} of the output's largest element.\n"
    )
    rows = []
    for form, found in outcomes.items():
        counts = Counter(one.verdict for one in found)
        rows.append([form, *(f"{counts[verdict]:,}" for verdict in Verdict)])
    print(markdown(["form", *(verdict.value for verdict in Verdict)], rows))
    refused = [one for one in outcomes[FORMS[-1]] if one.verdict is Verdict.REFUSED]
    print(f"\nWhat {len(refused):,} with constant operands are refused for, most often:\n")
    common = Counter(_reason(one) for one in refused).most_common(REASONS)
    print(markdown(["tests", "reason"], [[str(count), reason] for reason, count in common]))


def _reason(one: Outcome) -> str:
    """The first sentence of a refusal, without the names and numbers that are its own."""
    reason = re.sub(r"^[^:]*: ", "", one.text).split(". ")[0]
    return re.sub(r"\b\d+\b", "N", re.sub(r"\(.*", "", reason)).strip()[:90]


if __name__ == "__main__":
    main()
