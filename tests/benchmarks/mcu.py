"""What one inference costs on microcontrollers: exact instructions, flash and RAM, beside what others need.

usage: python -m tests.benchmarks.mcu [--models NAME ...] [--cores TARGET ...] [--weights BITS|FORMAT ...] [--profile]
                                      [--effort fast|default|best] [--kernels NAMES] [--no-constant-channels]
                                      [--write FILE.md]

Each model is compiled to an integer graph, written as C for each core, built with that core's compiler and run under
QEMU, where golden vectors must be met in every element. Instructions are those of one model_run_in. Flash is text and
data of model.o; RAM is the arena, with input, output and all scratch in it, and the stack below model_run_in's caller.
Cycles are those of a model of the core, stated in backends/c/machines/cycles.py, with memory that never waits.
Without options it writes all of mcu.md: the profiles of PROFILED and what constant channels cost are part of it.
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
from bitsmith.ir.integer import Conv, IntegerGraph, Linear
from bitsmith.recipe import Recipe
from bitsmith.target import load_target
from tests.benchmarks.common import markdown, model_files, publish, working_folder

MODELS = ["resnet8_cifar10", "dscnn_kws_tfl", "mobilenetv1_025_vww", "autoencoder_ad_tfl"]
CORES = ["cortex-m4", "cortex-m7", "cortex-m55", "cortex-m3", "rv32imac", "cortex-m0", "rv32e"]
WIDTHS = ["8", "4", "2", "ternary"]
SHOWN = 20
"""Functions of a profile."""

PROFILED = [("resnet8_cifar10", "cortex-m4", bits) for bits in WIDTHS] + [
    ("autoencoder_ad_tfl", "cortex-m4", bits) for bits in WIDTHS
]
SHARE = 0.01
"""Of all instructions: what a function takes at least to be shown in these."""

CONSTANT_CHANNELS = ("mobilenetv1_025_vww", "8", "cortex-m4")
"""The model with channels that no input changes."""

DROPPING = "drop-dead-channels"

INTRODUCTION = """# Small machines

What `python -m tests.benchmarks.mcu` measured: instructions of one inference under QEMU, counted exactly, with golden
vectors met in every element on each machine. GCC 12.2, -O2, `--effort {effort}`. Flash is text and data of `model.o`;
RAM is the arena, with input, output and all scratch in it, and the stack. Cycles are those of the model in
`backends/c/machines/cycles.py`. TensorFlow Lite Micro with CMSIS-NN holds 8-bit weights in every row. The microbit,
which stands for Cortex-M0, has 256 KB of flash and 16 KB of RAM: what exceeds either does not fit. Of
mobilenetv1_025_vww the channels that no input changes are left out, see below.
"""

BELOW = """
## Below 8 bits

Instructions as multiples of the same core's with 8-bit weights. On the cores with SMLAD a product of two 16-bit numbers
serves two outputs whose weights have 2 bits (`backends/c/kernels/dsp/paired.py`), so those take fewer than 4-bit ones,
and for large layers fewer than 8-bit ones. Ternary weights lie five to a byte, for the least flash: there the digits of
two bytes so far, as numbers, are multiplied (`backends/c/kernels/dsp/ternary.py`), which five pixels share and a Linear
does not; with Helium two instructions unpack sixteen; on the other cores each weight is carried out of its byte.
"""

WHERE = """
## Where the instructions go

Functions that take {share:.0%} or more.
"""

CONSTANT = """
## Channels that no input changes

The pass `drop-dead-channels` takes them out of {model}, which leaves odd numbers of channels. On {core}
pairs of outputs then write one element more, and what words of four inputs read beyond a pixel meets weights that are
zero. Instructions fall less than multiply-accumulates do: the image keeps its pixels, and each its window. TensorFlow
Lite Micro runs all channels.
"""


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

    @property
    def instructions(self) -> int | None:
        """Of one inference."""
        return None if self.outcome is None or self.outcome.counts is None else self.outcome.counts.total

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
    for core in cores:
        yield on_core(name, weights, core, graph, kernels)


def on_core(name: str, weights: str, core: str, graph: IntegerGraph, kernels: str) -> Measured:
    """Build a graph for a core and run it there."""
    inputs = {key: values[-2:] for key, values in golden(graph).items()}
    target = replace(load_target(core), options={"kernels": kernels})
    machine = machine_for(target)
    if machine is None:
        sys.exit(f"there is no machine with the core of {core}")
    program = build(graph, target)
    try:
        outcome = run_program(machine, program, inputs, count=True)
    except BudgetError:
        return Measured(name, weights, core, program, None)
    if not outcome.passed:
        sys.exit(f"{name}, {labelled(weights)}, on {core}: {outcome.meaning}")
    return Measured(name, weights, core, program, outcome)


def compiled(name: str, weights: str, effort: str, left_out: str = "") -> IntegerGraph:
    """The integer graph of a model, which does not depend on the core. left_out: a pass of the default pipeline."""
    model, calibration, _ = model_files(name)
    recipe = Recipe(weights=int(weights) if weights.isdigit() else weights, effort=effort)
    if left_out:
        passes = str(recipe.passes(load_target("host")))
        if f",{left_out}," not in passes:
            sys.exit(f"no pass {left_out} is in {passes}")
        recipe = Recipe(pipeline=passes.replace(f",{left_out},", ","))
    with working_folder() as folder:
        return bitsmith.compile(model, "host", calibration, folder / "out", recipe=recipe, explain=False).graph


def labelled(weights: str) -> str:
    """What weights are called where they are no column of their own."""
    return f"{weights} bits" if weights.isdigit() else weights


def profile(counts: Counts, share: float = 0.0) -> str:
    """The functions that take most, and no less than a share of all, as a table."""
    cycles = counts.cycles or {}
    shown = [
        [name, f"{count:,}", f"{100 * count / counts.total:.1f} %", f"{cycles[name]:,}" if name in cycles else ""]
        for name, count in list(counts.functions.items())[:SHOWN]
        if count >= share * counts.total
    ]
    return markdown(["function", "instructions", "share", "cycles, estimated"], shown)


def ratios(found: list[Measured]) -> str:
    """Instructions with fewer bits as multiples of those with 8."""
    totals = {(one.model, one.core, one.weights): one.instructions for one in found}
    cores = [core for core in CORES if any(one.core == core and one.instructions for one in found)]
    narrow = [(core, bits) for core in cores for bits in WIDTHS[1:]]
    rows = []
    for model in dict.fromkeys(one.model for one in found):
        pairs = [(totals.get((model, core, bits)), totals.get((model, core, WIDTHS[0]))) for core, bits in narrow]
        rows.append([model, *(f"{less / all_:.3f}" if less and all_ else "" for less, all_ in pairs)])
    return markdown(["model", *(f"{core}, {labelled(bits)}" for core, bits in narrow)], rows)


def with_constant_channels(effort: str) -> str:
    """A model with and without the channels that no input changes."""
    name, weights, core = CONSTANT_CHANNELS
    header = ["", "channels", "layers with an odd number", "multiply-accumulates", *HEADER[3:5], *HEADER[6:8]]
    rows = []
    for label, left_out in (("all", DROPPING), ("without constant ones", "")):
        graph = compiled(name, weights, effort, left_out)
        found = on_core(name, weights, core, graph, "")
        channels = sum(one.weight.shape[0] for one in graph if isinstance(one, (Conv, Linear)))
        odd = sum(step.site.output.shape[-1] % 2 for step in found.program.steps)
        row = found.row()
        rows.append([label, f"{channels:,}", f"{odd}", f"{found.program.macs:,}", *row[3:5], *row[6:8]])
    return CONSTANT.format(model=name, core=core) + "\n" + markdown(header, rows)


def main() -> None:
    """Print all, or write it; a line to the error stream as each is measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=MODELS)
    parser.add_argument("--cores", nargs="+", default=CORES)
    parser.add_argument("--weights", nargs="+", default=WIDTHS)
    parser.add_argument("--effort", default="fast")
    parser.add_argument("--kernels", default="", help="kernels to take first, such as 'conv, depthwise, linear'")
    parser.add_argument("--profile", action="store_true", help="instructions by function of every run")
    parser.add_argument("--no-constant-channels", action="store_true", help="leave the run without them out")
    parser.add_argument("--write", type=Path)
    options = parser.parse_args()
    found, profiles = [], []
    for name in options.models:
        for weights in options.weights:
            for one in measure(name, weights, options.effort, options.cores, options.kernels):
                found.append(one)
                print(" | ".join(one.row()), file=sys.stderr, flush=True)
                known = (one.model, one.core, one.weights) in PROFILED
                if (known or options.profile) and one.outcome and one.outcome.counts:
                    title = f"{name}, weights: {labelled(weights)}, {one.core}"
                    table = profile(one.outcome.counts, 0.0 if options.profile else SHARE)
                    profiles.append(f"\n{title}\n\n{table}")
    parts = [INTRODUCTION.format(effort=options.effort), markdown(HEADER, [one.row() for one in found])]
    parts += [BELOW, ratios(found)]
    if profiles:
        parts += [WHERE.format(share=0.0 if options.profile else SHARE), *profiles]
    if not options.no_constant_channels:
        parts.append(with_constant_channels(options.effort))
    text = "\n".join(parts)
    publish(text, options.write)


if __name__ == "__main__":
    main()
