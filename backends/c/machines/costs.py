"""What a multiply-accumulate costs on a target, by widths: its own kernels, run on its machine and counted."""

from __future__ import annotations

import math

import numpy as np

from bitsmith.backends.c.machines.machine import machine_for
from bitsmith.backends.c.machines.run import run_program
from bitsmith.backends.c.machines.tools import missing
from bitsmith.backends.c.program import build
from bitsmith.errors import VerificationError
from bitsmith.execution.batches import vectors
from bitsmith.ir.dyadic import dyadic
from bitsmith.ir.formats import Format, IntegerType
from bitsmith.ir.grids import TERNARY, TERNARY_BITS
from bitsmith.ir.integer import Conv, IntegerGraph, Requantize, Value
from bitsmith.progress import Progress
from bitsmith.target import Target

CHANNELS, SIDE, KERNEL = 16, 12, 3
WHOLE_BYTES = (8, 16)


def measure(target: Target, progress: Progress) -> dict[str, float] | None:
    """Cycles of a multiply-accumulate by "weight bits x activation bits", such as "4x8", over a whole convolution.

    The convolution is 3x3, of 16 channels to 16, on 12x12 pixels, with all that belongs to it: windows, borders,
    requantization. Cycles are those of cycles.py where it knows the core, and else a cycle an instruction.
    Activations below 8 bits are held in bytes, and those above in two, so they cost what the widest of them do.
    None for a target that has no machine here, or not the tools.
    """
    machine = machine_for(target)
    if machine is None or missing(machine, target):
        return None
    stored = {bits: next(whole for whole in WHOLE_BYTES if bits <= whole) for bits in target.activation_bits}
    pairs = [(weight, whole) for weight in target.weight_widths for whole in dict.fromkeys(stored.values())]
    costs: dict[tuple[float, int], float] = {}
    for done, (weight, whole) in enumerate(pairs):
        progress(f"measure {target.name}", done, len(pairs))
        program = build(convolution(weight, whole), target)
        outcome = run_program(machine, program, vectors(program.graph, 1, seed=0), count=True)
        if outcome.counts is None:
            raise VerificationError(outcome.meaning, where=f"{weight}x{whole} on {target.name}", fix="Report this.")
        spent = outcome.counts.total if outcome.counts.cycles is None else sum(outcome.counts.cycles.values())
        costs[weight, whole] = spent / program.macs
    progress(f"measure {target.name}", len(pairs), len(pairs))
    widths = target.weight_widths
    return {f"{weight}x{bits}": costs[weight, whole] for weight in widths for bits, whole in stored.items()}


def convolution(weight_bits: float, activation_bits: int) -> IntegerGraph:
    """One convolution of random weights that use all of their width; of 1.6 bits they are ternary."""
    grid = TERNARY if weight_bits == TERNARY_BITS else None
    narrow, wide = IntegerType(math.ceil(weight_bits)), IntegerType(activation_bits)
    random = np.random.default_rng(narrow.bits)
    shape = (CHANNELS, CHANNELS, KERNEL, KERNEL)
    scales = random.uniform(0.5, 2.0, CHANNELS) / (narrow.highest * (CHANNELS * KERNEL * KERNEL) ** 0.5)
    values = {
        name: Value(name, (CHANNELS, SIDE, SIDE), Format(wide, (0.05,), zero)) for name, zero in (("x", -7), ("y", 5))
    }
    multiplier, shift = dyadic(scales)
    operation = Conv(
        "conv",
        ("x",),
        "y",
        weight=random.integers(-narrow.highest, narrow.highest, shape, endpoint=True),
        bias=random.integers(-1000, 1000, CHANNELS).astype(np.int32),
        weight_format=Format(narrow, tuple(scales), axis=0, grid=grid),
        strides=(1, 1),
        pads=(1, 1, 1, 1),
        dilations=(1, 1),
        groups=1,
        requantize=Requantize(multiplier.reshape(-1, 1, 1), shift, 5, wide.lowest, wide.highest),
    )
    return IntegerGraph("cost", values, ("x",), ("y",), (operation,))
