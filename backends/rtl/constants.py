"""Constants as da4ml should have written them: a step as coarse as the number allows.

da4ml looks for steps up to 2^31 only, in units that grow with every shift before. What it writes for a coarser constant
has the right value, but in Verilog and in its interpreter such a constant is not aligned with what it is chosen beside.
"""

from __future__ import annotations

from da4ml.types import CombLogic, Op, Pipeline, QInterval

INPUT, CONSTANT, MUX, LOOKUP = -1, 5, 6, 8
"""Opcodes that refer to more, or less, than operands."""


def aligned(stages: Pipeline) -> Pipeline:
    """The same stages, with every constant's own step, and inputs that say what the stage before gives."""
    made: list[CombLogic] = []
    for stage in stages.solutions:
        ops = [_aligned(op) for op in stage.ops]
        if made:
            before = made[-1]
            ops = [
                op._replace(qint=before.ops[before.out_idxs[op.id0]].qint) if op.opcode == INPUT else op for op in ops
            ]
        made.append(stage._replace(ops=ops))
    return Pipeline(tuple(made))


def _aligned(op: Op) -> Op:
    if op.opcode != CONSTANT or op.data == 0:
        return op
    zeros = (op.data & -op.data).bit_length() - 1
    interval = QInterval(op.qint.min, op.qint.max, op.qint.step * 2.0**zeros)
    return op._replace(data=op.data >> zeros, qint=interval)
