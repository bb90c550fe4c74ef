"""From a program to the text of its files. Every line of C stands in templates/c; here they are filled in."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from bitsmith.backends.c.functions import Functions
from bitsmith.backends.c.kernels import Constant, Kernel
from bitsmith.backends.c.layout import Tensor
from bitsmith.backends.c.names import identifiers
from bitsmith.backends.c.program import Program
from bitsmith.backends.c.stage import Stage
from bitsmith.backends.c.text import called, label, placed, plain, render, tidy
from bitsmith.execution.batches import Batch

WIDTH = 118
PROJECT = ("model_quantize.h", "model_test.c", "model_vectors.h", "Makefile", "CMakeLists.txt")


def sources(program: Program) -> dict[str, str]:
    """The text of model.h, model.c and model_constants.h by name."""
    names = _names(program)
    context = _context(program)
    users: dict[str, list[Kernel]] = {}
    for step in program.steps:
        for helper in step.kernel.helpers:
            users.setdefault(helper, []).append(step.kernel)
    arrays = {
        name: _array(constant, name)
        for step in program.steps
        for constant in step.kernel.constants
        if (name := names[step.function, constant.name])
    }
    functions = Functions(names, {one.function for one in (*program.steps, *program.stages)})
    texts = [text for stage in program.stages for text in functions.of(stage)]
    in_turn = calls(program)
    fetched = program.fetched and program.fetched.name
    given = [name for tensor, _, name in parameters(program) if tensor.name != fetched]
    rendered = {
        "model.h": render("model.h.j2", context),
        "model_constants.h": render("model_constants.h.j2", {**context, "arrays": list(arrays.values())}),
        "model.c": render(
            "model.c.j2",
            {
                **context,
                "functions": [*functions.shared, *texts],
                "stages": [_stage(program, stage) for stage in program.stages],
                "uses_arena": any("at +" in call for call in in_turn),
                "unread": [name for name in given if not any(re.search(rf"\b{name}\b", call) for call in in_turn)],
                "helpers": [render(one, {**context, "users": kernels}) for one, kernels in users.items()],
                "macs": program.macs,
            },
        ),
    }
    return {name: tidy(text) for name, text in rendered.items()}


def project(program: Program, inputs: Batch, outputs: Batch) -> dict[str, str]:
    """The text of what goes along with the sources: helpers, the test with its golden vectors, and how to build both.

    inputs, outputs: the golden vectors: integers in, and what must come out, (samples, *shape).
    """
    arrays = []
    for tensor, _, name in parameters(program):
        values = inputs[tensor.name] if tensor.name in inputs else outputs[tensor.name]
        arrays.append(_array(Constant("", tensor.ctype, tensor.stored(values)), f"golden_{name}"))
    context = {**_context(program), "arrays": arrays, "samples": len(next(iter(inputs.values())))}
    return {name: tidy(render(f"{name}.j2", context)) for name in PROJECT}


def parameters(program: Program) -> list[tuple[Tensor, str, str]]:
    """Each input and output with its parameter's declaration and name."""
    graph = program.graph
    found = []
    for kind, values in (("in", graph.inputs), ("out", graph.outputs)):
        for position, name in enumerate(values):
            tensor = program.tensors[name]
            parameter = label(kind, values, position)
            const = "const " if kind == "in" else ""
            found.append((tensor, f"{const}{tensor.ctype} *{parameter}", parameter))
    return found


def calls(program: Program) -> list[str]:
    """The statement that runs each stage, in order."""
    return [_call(program, stage) for stage in program.stages]


def shared_names(program: Program) -> Mapping[str, str]:
    """The C names of functions that kernels share, by their text: see `Functions.names`."""
    functions = Functions(_names(program), {one.function for one in (*program.steps, *program.stages)})
    for stage in program.stages:
        functions.of(stage)
    return functions.names


def _context(program: Program) -> dict[str, Any]:
    graph = program.graph
    declared = parameters(program)
    offsets = {
        name: program.memory.offsets[home] for name, home in program.homes.items() if home in program.memory.offsets
    }
    return {
        "name": plain(graph.name),
        "target": program.target,
        "inputs": [program.tensors[name] for name in graph.inputs],
        "outputs": [program.tensors[name] for name in graph.outputs],
        "host": graph.host,
        "fetched": program.fetched,
        "memory": {
            "total": program.memory.total,
            "bound": program.memory.bound,
            "alignment": program.memory.alignment,
            "offsets": offsets,
        },
        "flash": program.flash,
        "parameters": ", ".join(declaration for _, declaration, _ in declared),
        "arguments": ", ".join(parameter for _, _, parameter in declared),
    }


def _names(program: Program) -> dict[tuple[str, str], str]:
    """The C name of every constant, by function and its name there; equal ones of one operation are one."""
    wanted, first = {}, dict[tuple[str, bytes], str]()
    for step in program.steps:
        for constant in step.kernel.constants:
            text = f"{step.function}_{constant.name}"
            wanted[step.function, constant.name] = first.setdefault((step.site.operation.name, constant.key), text)
    functions = [step.function for step in program.steps] + [stage.function for stage in program.stages]
    chosen = identifiers(dict.fromkeys(wanted.values()), functions)
    return {key: chosen[name] for key, name in wanted.items()}


def _stage(program: Program, stage: Stage) -> dict[str, Any]:
    """What is said and done about a stage where it is called."""
    result = _place(program, stage.output)
    home = program.homes[stage.output.name]
    return {
        "call": _call(program, stage),
        "macs": stage.macs,
        "flash": sum(program.constants[name] for name in {step.site.operation.name for step in stage.steps}),
        "written": _span(program, home, stage.output.bytes) if "at +" in result else "-",
        "scratch": _span(program, stage.scratch_name, stage.scratch) if stage.scratch else "-",
        "result": result,
        "function": stage.function,
        "traced": program.functions[stage.output.name],
        "bytes": stage.output.bytes,
    }


def _call(program: Program, stage: Stage) -> str:
    arguments = ["rows", "source"] if stage.fetched else []
    arguments += [_place(program, tensor) for tensor in stage.computed]
    arguments.append(_place(program, stage.output))
    if stage.scratch:
        arguments.append(placed("at", program.memory.offsets[stage.scratch_name], "int8_t"))
    return called(stage.function, arguments)


def _span(program: Program, buffer: str, size: int) -> str:
    """The bytes of the arena that a buffer lies in."""
    offset = program.memory.offsets[buffer]
    return f"{offset:,}..{offset + size - 1:,}"


def _place(program: Program, tensor: Tensor) -> str:
    """Where a value lies, as an argument: a parameter of the model's, or a place in the arena."""
    home = program.homes[tensor.name]
    for known, _, name in parameters(program):
        # An output that is a free reshape of what was made before is written where the caller wants it.
        if program.homes[known.name] == home:
            return name
    offset = program.memory.offsets[home]
    return placed("at", offset, tensor.ctype)


def _array(constant: Constant, name: str) -> dict[str, Any]:
    attributes = f" __attribute__((aligned({constant.alignment})))" if constant.alignment else ""
    return {
        "name": name,
        "ctype": constant.ctype,
        "size": constant.data.size,
        "comment": constant.comment,
        "attributes": attributes,
        "text": _numbers(constant.data),
    }


def _numbers(data: npt.NDArray[np.integer[Any]]) -> str:
    """Comma-separated numbers in lines that fill the width."""
    lines, line = [], ""
    for number in data.ravel().tolist():
        # The most negative int32 cannot be written as the negation of a positive one.
        text = "-2147483647 - 1" if number == -(1 << 31) else str(number)
        if len(line) + len(text) + 2 > WIDTH:
            lines.append(f"    {line}")
            line = ""
        line += f"{text}," if not line else f" {text},"
    return "\n".join([*lines, f"    {line}"])
