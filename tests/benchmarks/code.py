"""What code takes: foretold by the targets' tables, and as their compilers build it.

usage: python -m tests.benchmarks.code [--models NAME ...] [--cores NAME ...] [--weights BITS ...] [--write FILE.md]

Each model is compiled to an integer graph once a width, written as C for each core, and built as it would be for a
machine (`backends/c/machines/build.py`), without being run. Code is what the object file's text and data have beside
constants. The tables were fitted to other networks (`backends/c/machines/samples.py`).
"""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bitsmith.backends.c import build
from bitsmith.backends.c.code import code
from bitsmith.backends.c.emit import sources
from bitsmith.backends.c.machines.build import compiled as built
from bitsmith.ir.integer import IntegerGraph
from bitsmith.target import load_target
from tests.benchmarks.common import markdown, publish
from tests.benchmarks.mcu import CORES, compiled

MODELS = [
    "resnet8_cifar10",
    "resnet20_cifar10",
    "dscnn_kws",
    "dscnn_kws_tfl",
    "mobilenetv1_025_vww",
    "mobilenetv2s_cifar10",
    "mobilenetv2_imagenet_deq",
    "autoencoder_ad",
    "autoencoder_ad_tfl",
    "mnist_cnn",
]
WIDTHS = ["8", "4", "2", "ternary"]

INTRODUCTION = """# Code

What `python -m tests.benchmarks.code` measured: bytes of flash that are no constants, foretold before any compiler has
run > as built by GCC 12.2 with -O2, and the one by the other. `--effort {effort}`. Prices are those under `code` in the
targets' files, fitted to small networks that are none of these, with a margin of 11 %.
"""

ALL = """
## By core

The least and the most that was foretold, of what was built, over all models and widths above.
"""


@dataclass(frozen=True)
class Measured:
    """One model at one width on one core: bytes of code."""

    model: str
    weights: str
    core: str
    foretold: int
    built: int

    @property
    def ratio(self) -> float:
        """Foretold by built."""
        return self.foretold / self.built

    @property
    def cell(self) -> str:
        """As the table has it."""
        return f"{self.foretold:,} > {self.built:,} ({self.ratio:.2f})"


def measure(name: str, weights: str, graph: IntegerGraph, cores: list[str]) -> Iterator[Measured]:
    """Build a graph for each core."""
    for core in cores:
        target = load_target(core)
        if isinstance(target.code, int):
            sys.exit(f"target {core} has no table of code")
        program = build(graph, target)
        foretold = sum(part.bytes for part in code(program, target.code))
        with tempfile.TemporaryDirectory(prefix="bitsmith-benchmark-") as folder:
            sizes, _ = built(target, sources(program), Path(folder))
        yield Measured(name, weights, core, foretold, sizes.flash - program.flash)


def by_core(found: list[Measured]) -> str:
    """How far off all models are, as a table."""
    rows = []
    for core in dict.fromkeys(one.core for one in found):
        ratios = [one.ratio for one in found if one.core == core]
        mean = math.exp(sum(map(math.log, ratios)) / len(ratios))
        rows.append([core, f"{min(ratios):.3f}", f"{max(ratios):.3f}", f"{mean:.3f}"])
    return markdown(["core", "least", "most", "geometric mean"], rows)


def main() -> None:
    """Print all, or write it; a line to the error stream as each model is measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=MODELS)
    parser.add_argument("--cores", nargs="+", default=CORES)
    parser.add_argument("--weights", nargs="+", default=WIDTHS)
    parser.add_argument("--effort", default="fast")
    parser.add_argument("--write", type=Path)
    options = parser.parse_args()
    found: list[Measured] = []
    rows = []
    for name in options.models:
        for weights in options.weights:
            of_model = list(measure(name, weights, compiled(name, weights, options.effort), options.cores))
            found += of_model
            rows.append([name, weights, *(one.cell for one in of_model)])
            print(" | ".join(rows[-1]), file=sys.stderr, flush=True)
    table = markdown(["model", "weights", *options.cores], rows)
    text = "\n".join([INTRODUCTION.format(effort=options.effort), table, ALL, by_core(found)])
    publish(text, options.write)


if __name__ == "__main__":
    main()
