"""The arena of a program as a report shows it: what lies where, from which stage to which."""

from __future__ import annotations

from bitsmith.backend import Block, MemoryMap
from bitsmith.backends.c.arena import Arena
from bitsmith.backends.c.program import Program


def memory_map(program: Program) -> MemoryMap:
    """Every buffer of the arena, where the plan has put it."""
    steps = [tuple(dict.fromkeys(step.site.operation.name for step in stage.steps)) for stage in program.stages]
    scratch = {
        stage.scratch_name: " to ".join(dict.fromkeys((step[0], step[-1])))
        for stage, step in zip(program.stages, steps, strict=True)
    }
    return MemoryMap(
        program.memory.total,
        tuple(steps),
        tuple(
            Block(
                f"scratch of {scratch[one.name]}" if one.name in scratch else one.name,
                program.memory.offsets[one.name],
                one.bytes,
                one.first,
                # Outputs are needed after the last stage.
                min(one.last, len(steps) - 1),
                one.name in scratch,
            )
            for one in Arena(program.graph, program.tensors, program.homes).buffers(program.stages)
        ),
    )
