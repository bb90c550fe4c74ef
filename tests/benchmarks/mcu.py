"""What one inference costs on microcontrollers: exact instructions, flash and RAM, beside what others need.

usage: python -m tests.benchmarks.mcu [--models NAME ...] [--cores TARGET ...] [--weights BITS ...] [--profile]
                                      [--effort fast|default|best] [--kernels NAMES] [--write FILE.md]

Each model is compiled to an integer graph, written as C for each core, built with that core's compiler and run under
QEMU, where golden vectors must be met in every element. Instructions are those of one model_run_in. Flash is text and
data of model.o; RAM is the arena, with input, output and all scratch in it, and the stack below model_run_in's caller.
Cycles are those of a model of the core, stated in backends/c/machines/cycles.py, with memory that never waits.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import bitsmith
from bitsmith.backends.c import Program, build, golden
from bitsmith.backends.c.machines import Counts, Outcome, machine_for, run_program
from bitsmith.errors import BudgetError
from bitsmith.ir.integer import IntegerGraph
from bitsmith.recipe import Recipe
from bitsmith.target import load_target
from tests.benchmarks.common import markdown, model_files, working_folder

MODELS = ["resnet8_cifar10", "dscnn_kws_tfl", "mobilenetv1_025_vww", "autoencoder_ad_tfl"]
CORES = ["cortex-m4", "cortex-m7", "cortex-m55", "cortex-m3", "rv32imac", "cortex-m0", "rv32e"]
SHOWN = 20
"""Functions of a profile."""


@dataclass(frozen=True)
class Peer:
    """TensorFlow Lite Micro with CMSIS-NN on the same model in int8, measured as ours: instructions by core."""

    instructions: dict[str, int]
    flash: int
    ram: int


PEERS = {
    "resnet8_cifar10": Peer(
        {"cortex-m4": 29_874_058, "cortex-m7": 29_937_798, "cortex-m55": 4_810_532}, 183_170, 54_996
    ),
    "dscnn_kws_tfl": Peer({"cortex-m4": 7_845_347, "cortex-m7": 7_761_302, "cortex-m55": 1_785_372}, 145_098, 22_820),
    "mobilenetv1_025_vww": Peer(
        {"cortex-m4": 24_720_499, "cortex-m7": 24_483_959, "cortex-m55": 6_433_712}, 424_454, 100_708
    ),
    "autoencoder_ad_tfl": Peer({"cortex-m4": 582_329, "cortex-m7": 582_632, "cortex-m55": 149_963}, 312_104, 2_580),
}


@dataclass(frozen=True)
class Measured:
    """One model at one width on one core; `outcome` is None where the model does not fit the machine."""

    model: str
    weights: str
    core: str
    program: Program
    outcome: Outcome | None

    def row(self) -> list[str]:
        """A line of the table."""
        if self.outcome is None:
            return [self.model, self.weights, self.core, "does not fit", *[""] * 8]
        assert self.outcome.counts is not None
        assert self.outcome.stack is not None
        counts, sizes, stack = self.outcome.counts, self.outcome.sizes, self.outcome.stack
        macs = self.program.macs
        arena, constants = self.program.memory.total, self.program.flash
        peer = PEERS.get(self.model)
        theirs = peer.instructions.get(self.core) if peer else None
        return [
            self.model,
            self.weights,
            self.core,
            f"{counts.total:,}",
            f"{sum(counts.cycles.values()):,}" if counts.cycles else "",
            f"{counts.total / macs:.2f}",
            f"{theirs:,} ({counts.total / theirs:.2f})" if theirs else "",
            f"{sizes.flash:,} ({sizes.flash - constants:,})",
            f"{peer.flash:,}" if peer else "",
            f"{arena + stack:,} ({arena:,} + {stack:,})",
            f"{peer.ram:,}" if peer else "",
        ]


HEADER = [
    "model",
    "weights",
    "core",
    "instructions",
    "cycles, estimated",
    "instructions per MAC",
    "TFLM + CMSIS-NN int8 (ratio)",
    "flash (of it no constants)",
    "TFLM flash",
    "RAM (arena + stack)",
    "TFLM arena",
]


def measure(name: str, weights: str, effort: str, cores: list[str], kernels: str) -> Iterator[Measured]:
    """Compile once and run on every core; kernels: as the targets' option of that name."""
    graph = compiled(name, weights, effort)
    inputs = {key: values[-2:] for key, values in golden(graph).items()}
    for core in cores:
        target = replace(load_target(core), options={"kernels": kernels})
        machine = machine_for(target)
        if machine is None:
            sys.exit(f"there is no machine with the core of {core}")
        program = build(graph, target)
        try:
            outcome = run_program(machine, program, inputs, count=True)
        except BudgetError:
            yield Measured(name, weights, core, program, None)
            continue
        if not outcome.passed:
            sys.exit(f"{name}, {weights} bits, on {core}: {outcome.meaning}")
        yield Measured(name, weights, core, program, outcome)


def compiled(name: str, weights: str, effort: str) -> IntegerGraph:
    """The integer graph of a model, which does not depend on the core."""
    model, calibration, _ = model_files(name)
    with working_folder() as folder:
        recipe = Recipe(weights=int(weights) if weights.isdigit() else weights, effort=effort)
        return bitsmith.compile(model, "host", calibration, folder / "out", recipe=recipe, explain=False).graph


def profile(counts: Counts) -> str:
    """The functions that take most, as a table."""
    lines = list(counts.functions.items())
    cycles = counts.cycles or {}
    shown = [
        [name, f"{count:,}", f"{100 * count / counts.total:.1f} %", f"{cycles[name]:,}" if name in cycles else ""]
        for name, count in lines[:SHOWN]
    ]
    return markdown(["function", "instructions", "share", "cycles, estimated"], shown)


def main() -> None:
    """Print the table, or write it; a line to the error stream as each is measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=MODELS)
    parser.add_argument("--cores", nargs="+", default=CORES)
    parser.add_argument("--weights", nargs="+", default=["8", "4", "2"])
    parser.add_argument("--effort", default="fast")
    parser.add_argument("--kernels", default="", help="kernels to take first, such as 'conv, depthwise, linear'")
    parser.add_argument("--profile", action="store_true", help="instructions by function too")
    parser.add_argument("--write", type=Path)
    options = parser.parse_args()
    rows, profiles = [], []
    for name in options.models:
        for weights in options.weights:
            for found in measure(name, weights, options.effort, options.cores, options.kernels):
                rows.append(found.row())
                print(" | ".join(rows[-1]), file=sys.stderr, flush=True)
                if options.profile and found.outcome and found.outcome.counts:
                    title = f"{name}, weights of {weights} bits, {found.core}"
                    profiles.append(f"\n{title}\n\n{profile(found.outcome.counts)}")
    text = "\n".join([markdown(HEADER, rows), *profiles])
    print(text)
    if options.write:
        options.write.parent.mkdir(parents=True, exist_ok=True)
        options.write.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
