"""Generated C held to the integer graph: run on batches of integers, all of it or operation by operation."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from bitsmith.backend import Arrays
from bitsmith.backends.c import host
from bitsmith.backends.c.program import Program
from bitsmith.backends.c.text import plain, render

Results = dict[str, npt.NDArray[np.generic]]


def run_sources(program: Program, texts: Mapping[str, str], inputs: Arrays) -> Results:
    """What the given sources make of the graph's integer inputs, (samples, *shape)."""
    outputs = [program.tensors[name] for name in program.graph.outputs]
    rows = np.frombuffer(_told(program, texts, inputs), np.uint8).reshape(_samples(program, inputs), -1)
    results: Results = {}
    start = 0
    for tensor in outputs:
        part = np.ascontiguousarray(rows[:, start : start + tensor.bytes]).view(tensor.format.type.storage)
        results[tensor.name] = tensor.restored(part)
        start += tensor.bytes
    return results


def trace(program: Program, texts: Mapping[str, str], inputs: Arrays) -> Results:
    """What every operation makes in the given sources; operations that were left out or fused show nothing."""
    told = io.BytesIO(_told(program, texts, inputs, "MODEL_TRACE"))
    shown: dict[str, list[bytes]] = {}
    while label := told.readline():
        size = int(told.readline())
        shown.setdefault(label.decode().rstrip("\n"), []).append(told.read(size))
    results: Results = {}
    for operation in program.graph:
        tensor, home = program.tensors[operation.output], program.homes[operation.output]
        home = program.functions.get(home, home)
        if home in shown:
            # A free reshape lies where the value that it is made of does.
            stored = np.frombuffer(b"".join(shown[home]), tensor.format.type.storage)
            results[tensor.name] = tensor.restored(stored.reshape(-1, tensor.elements))
        elif home in inputs:
            samples = program.tensors[home].stored(inputs[home])
            results[tensor.name] = tensor.restored(samples)
    return results


def _told(program: Program, texts: Mapping[str, str], inputs: Arrays, *defines: str) -> bytes:
    graph = program.graph
    context: dict[str, Any] = {
        "name": plain(graph.name),
        "inputs": [program.tensors[name] for name in graph.inputs],
        "outputs": [program.tensors[name] for name in graph.outputs],
    }
    samples = [program.tensors[name].stored(inputs[name]) for name in graph.inputs]
    given = b"".join(part[index].tobytes() for index in range(len(samples[0])) for part in samples)
    return host.run({**texts, "harness.c": render("harness.c.j2", context) + "\n"}, given, defines)


def _samples(program: Program, inputs: Arrays) -> int:
    return len(inputs[program.graph.inputs[0]])
