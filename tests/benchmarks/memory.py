"""What less RAM costs: arenas under budgets, with the bytes and the instructions that they take more.

usage: python -m tests.benchmarks.memory [--models NAME ...] [--write FILE.md]

Each model is compiled to an integer graph in 8 bits and written as C for a core, first without a budget, then with
ever smaller ones, until none is kept. Every program meets its golden vectors on the core under QEMU, where one
inference is counted. Beside the arena stands what patches would take that compute what they share again (Lin et al.
2021, MCUNetV2): for the layers that are made row by row, in the fewest square patches that need no more bytes.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

from bitsmith.backends.c import build, golden
from bitsmith.backends.c.kernels.conv import window_of
from bitsmith.backends.c.machines import machine_for, run_program
from bitsmith.backends.c.stage import Step
from bitsmith.backends.c.stream import Stream
from bitsmith.ir.integer import Conv, IntegerGraph
from bitsmith.target import load_target
from tests.benchmarks.common import markdown
from tests.benchmarks.mcu import compiled

CORES = {
    "resnet8_cifar10": "cortex-m4",
    "mobilenetv1_025_vww": "cortex-m4",
    "mobilenetv2s_cifar10": "cortex-m4",
    "autoencoder_ad_tfl": "rv32e",
}
"""The core that each model is measured on."""

SHARES = (1.0, 0.75, 0.6, 0.5, 0.4, 0.3)
"""Of the arena without a budget."""

ASKED = {"autoencoder_ad_tfl": 2100, "mobilenetv1_025_vww": 24 << 10}
"""Bytes that a model is to fit besides."""

HEADER = [
    "model",
    "core",
    "RAM budget",
    "arena",
    "no plan of these kernels below",
    "row by row",
    "bytes moved",
    "more multiply-accumulates",
    "in patches instead",
    "in patches of 2-bit values",
    "instructions",
]

INTRODUCTION = """# Less RAM

What `python -m tests.benchmarks.memory` measured: arenas (input, output and all scratch included) of 8-bit models under
`--budget ram=`, golden vectors met in every element on the core under QEMU, instructions of one inference there. GCC
12.2, -O2, `--effort fast`. Where an input is not in memory whole, it is asked for row by row. Rows that are still
needed are moved, and nothing is computed twice; in patches, what they share is computed again, by as much as stands
beside, for scratch that counts only values between layers (none of the kernels'), and with the input in memory whole.

QuantMCU (arXiv:2401.13714) gives patches bits of their own, fewer where few values lie far out. The column of 2-bit
values is the most that this could reach, with two bits for every value between the layers of every patch: the fewest
patches for which a quarter of the bytes is enough. Rows take no more bytes at all eight bits, compute nothing twice,
change no output, and need no input in memory: of mobilenetv1_025_vww that alone, {input:,} bytes, is more than the
least arena here, {least:,}. So no bits are chosen by patch.
"""

PATCHED = "mobilenetv1_025_vww"
BYTE, NARROW = 1.0, 0.25
"""Bytes of a value between layers."""


def rows(name: str, graph: IntegerGraph, core: str) -> Iterator[list[str]]:
    """A line for each budget, and one without."""
    target = load_target(core)
    whole = build(graph, target)
    machine = machine_for(target)
    assert machine is not None
    inputs = {key: values[-1:] for key, values in golden(graph).items()}
    seen: set[int] = set()
    first = 0
    limits = {round(whole.memory.total * share) for share in SHARES} | {ASKED.get(name, whole.memory.total)}
    for limit in sorted(limits, reverse=True):
        program = build(graph, replace(target, ram=limit))
        if program.memory.total > limit or program.memory.total in seen:
            continue
        seen.add(program.memory.total)
        outcome = run_program(machine, program, inputs, count=True)
        assert outcome.passed, outcome.meaning
        assert outcome.counts is not None
        first = first or outcome.counts.total
        streams = [stage for stage in program.stages if isinstance(stage, Stream)]
        yield [
            name,
            core,
            "none" if limit == whole.memory.total else f"{limit:,}",
            f"{program.memory.total:,}",
            f"{program.memory.bound:,}",
            ", ".join(f"{len(one.whole)} layers{' and the input' if one.fetched else ''}" for one in streams),
            f"{sum(one.moved + (one.fetched.bytes if one.fetched else 0) for one in streams):,}" if streams else "",
            f"{program.macs - whole.macs:,}",
            "; ".join(in_patches(one, BYTE) for one in streams),
            "; ".join(in_patches(one, NARROW) for one in streams),
            f"{outcome.counts.total:,} ({outcome.counts.total / first:.3f})",
        ]


def in_patches(one: Stream, width: float) -> str:
    """How many multiply-accumulates more the layers of a stream would take in patches of no more scratch.

    width: bytes of a value.
    """
    if not is_chain(one.whole):
        return "a residual block"
    for count in range(1, 17):
        values, macs = patched(one.whole, count)
        scratch = math.ceil(width * values)
        if scratch <= one.scratch:
            return f"{count}x{count}: {macs - one.macs:,} ({macs / one.macs - 1:+.0%}), {scratch:,} bytes"
    return "no patches are so small"


def is_chain(steps: Sequence[Step]) -> bool:
    """Whether each step is a convolution of what the one before makes."""
    pairs = pairwise(steps)
    return all(isinstance(step.site.operation, Conv) for step in steps) and all(
        [tensor.name for tensor in after.computed] == [before.output.name] for before, after in pairs
    )


def patched(steps: Sequence[Step], count: int) -> tuple[int, int]:
    """Values between the layers, and multiply-accumulates, in count x count patches of the last layer's image.

    Values are of what a layer reads and makes at once, as if no kernel needed any scratch.
    """
    scratch = macs = 0
    for y in range(count):
        for x in range(count):
            last = steps[-1].output.logical
            spans = [(i * size // count, (i + 1) * size // count) for i, size in zip((y, x), last[1:], strict=True)]
            made = 0
            for position, step in reversed([*enumerate(steps)]):
                operation = step.site.operation
                assert isinstance(operation, Conv)
                area = (spans[0][1] - spans[0][0]) * (spans[1][1] - spans[1][0])
                macs += step.macs * area // (step.output.elements // step.output.shape[-1])
                over = window_of(step.site, operation)
                spans = [
                    (
                        max(low * over.strides[axis] - over.pads[axis], 0),
                        min(
                            (high - 1) * over.strides[axis]
                            - over.pads[axis]
                            + (over.kernel[axis] - 1) * over.dilations[axis]
                            + 1,
                            over.size[axis],
                        ),
                    )
                    for axis, (low, high) in enumerate(spans)
                ]
                read = (spans[0][1] - spans[0][0]) * (spans[1][1] - spans[1][0]) * step.site.x.shape[-1]
                scratch = max(scratch, made + (read if position else 0))
                made = read
    return scratch, macs


def main() -> None:
    """Print the table, and write it where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=list(CORES), choices=CORES, metavar="NAME")
    parser.add_argument("--write", metavar="FILE.md")
    options = parser.parse_args()
    lines, text = [], ""
    for name in options.models:
        graph = compiled(name, "8", "fast")
        found = []
        for line in rows(name, graph, CORES[name]):
            print(" | ".join(line), flush=True)
            found.append(line)
        lines += found
        if name == PATCHED:
            size = sum(math.prod(graph.values[one].shape) for one in graph.inputs)
            text = INTRODUCTION.format(input=size, least=min(int(line[3].replace(",", "")) for line in found)) + "\n"
    if options.write:
        Path(options.write).write_text(text + markdown(HEADER, lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
