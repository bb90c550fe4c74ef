"""From a program to the text of its files. Every line of C stands in templates/c; here they are filled in."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
import numpy.typing as npt
from jinja2 import Environment, FunctionLoader, StrictUndefined

from bitsmith.backends.c.kernels import Constant, Kernel
from bitsmith.backends.c.layout import Tensor
from bitsmith.backends.c.program import Program, identifiers
from bitsmith.backends.c.stage import Step
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
    arrays = [
        _array(constant, names[step.site.function, constant.name])
        for step in program.steps
        for constant in step.kernel.constants
    ]
    steps = [_step(program, step, names) for step in program.steps]
    macs = sum(step.site.macs for step in program.steps)
    rendered = {
        "model.h": render("model.h.j2", context),
        "model_constants.h": render("model_constants.h.j2", {**context, "arrays": arrays}),
        "model.c": render(
            "model.c.j2",
            {
                **context,
                "steps": steps,
                "uses_arena": any("at +" in step["call"] for step in steps),
                "helpers": [render(one, {**context, "users": kernels}) for one, kernels in users.items()],
                "macs": macs,
            },
        ),
    }
    return {name: tidy(text) for name, text in rendered.items()}


def project(program: Program, inputs: Batch, outputs: Batch) -> dict[str, str]:
    """The text of what goes along with the sources: helpers, the test with its golden vectors, and how to build both.

    inputs, outputs: the golden vectors: integers in, and what must come out, (samples, *shape).
    """
    arrays = []
    for tensor, _, called in parameters(program):
        values = inputs[tensor.name] if tensor.name in inputs else outputs[tensor.name]
        arrays.append(_array(Constant("", tensor.ctype, tensor.stored(values)), f"golden_{called}"))
    context = {**_context(program), "arrays": arrays, "samples": len(next(iter(inputs.values())))}
    return {name: tidy(render(f"{name}.j2", context)) for name in PROJECT}


@cache
def environment() -> Environment:
    """Jinja over templates/c."""
    folder = files("bitsmith.templates") / "c"
    jinja = Environment(
        loader=FunctionLoader(lambda name: (folder / name).read_text(encoding="utf-8")),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=False,
    )
    jinja.globals.update(signed=signed, number=number, label=label)
    jinja.filters.update(plain=plain)
    return jinja


def render(template: str, context: Mapping[str, Any]) -> str:
    """A file of templates/c, filled in."""
    return environment().get_template(template).render(context)


def signed(number: int) -> str:
    """` + 3` or ` - 3`, empty for 0."""
    return f" + {number}" if number > 0 else f" - {-number}" if number < 0 else ""


def number(real: float) -> str:
    """A float32 as C writes it, less the f."""
    text = f"{real:.9g}"
    return text if "." in text or "e" in text else f"{text}.0"


def label(kind: str, values: Sequence[object], position: int) -> str:
    """What a parameter is called: `in` or `out`, or with a number where there are several."""
    return kind if len(values) == 1 else f"{kind}{position}"


def plain(text: str) -> str:
    """A name as a comment can hold it."""
    return re.sub(r"[^\w ./:;,()\[\]+-]", "_", text, flags=re.ASCII)


def tidy(text: str) -> str:
    """Without blanks at the end of lines, and with one empty line at most between two others."""
    text = re.sub(r"[ \t]+$", "", text, flags=re.MULTILINE)
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def parameters(program: Program) -> list[tuple[Tensor, str, str]]:
    """Each input and output with its parameter's declaration and name."""
    graph = program.graph
    found = []
    for kind, values in (("in", graph.inputs), ("out", graph.outputs)):
        for position, name in enumerate(values):
            tensor = program.tensors[name]
            called = label(kind, values, position)
            const = "const " if kind == "in" else ""
            found.append((tensor, f"{const}{tensor.ctype} *{called}", called))
    return found


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
        "memory": {
            "total": program.memory.total,
            "bound": program.memory.bound,
            "alignment": program.memory.alignment,
            "offsets": offsets,
        },
        "flash": program.flash,
        "parameters": ", ".join(declaration for _, declaration, _ in declared),
        "arguments": ", ".join(called for _, _, called in declared),
    }


def _names(program: Program) -> dict[tuple[str, str], str]:
    """The C name of every constant, by function and its name there."""
    functions = [step.site.function for step in program.steps]
    wanted = {
        (step.site.function, constant.name): f"{step.site.function}_{constant.name}"
        for step in program.steps
        for constant in step.kernel.constants
    }
    chosen = identifiers(wanted.values(), functions)
    return {key: chosen[name] for key, name in wanted.items()}


def _step(program: Program, step: Step, names: Mapping[tuple[str, str], str]) -> dict[str, Any]:
    site, kernel = step.site, step.kernel
    constants = {constant.name: names[site.function, constant.name] for constant in kernel.constants}
    text = render(kernel.template, {**kernel.context, "site": site, "kernel": kernel, "c": constants})
    arguments = [_place(program, site.inputs[position]) for position in site.parameters]
    arguments.append(_place(program, site.output))
    if kernel.scratch:
        arguments.append(f"at + {program.memory.offsets[step.scratch_name]}")
    return {
        "text": text,
        "comment": render("comment.c.j2", {"site": site, "kernel": kernel, "bits": _bits}),
        "call": f"{site.function}({', '.join(arguments)});",
        "macs": site.macs,
        "flash": kernel.flash,
        "written": _span(program, program.homes[site.output.name], site.output.bytes)
        if "at +" in _place(program, site.output)
        else "-",
        "scratch": _span(program, step.scratch_name, kernel.scratch) if kernel.scratch else "-",
        "result": _place(program, site.output),
        "function": site.function,
        "bytes": site.output.bytes,
    }


def _span(program: Program, buffer: str, size: int) -> str:
    """The bytes of the arena that a buffer lies in."""
    offset = program.memory.offsets[buffer]
    return f"{offset:,}..{offset + size - 1:,}"


def _bits(magnitude: int) -> int:
    """The least n with magnitude < 2^n."""
    return magnitude.bit_length()


def _place(program: Program, tensor: Tensor) -> str:
    """Where a value lies, as an argument: a parameter of the model's, or a place in the arena."""
    home = program.homes[tensor.name]
    for known, _, called in parameters(program):
        # An output that is a free reshape of what was made before is written where the caller wants it.
        if program.homes[known.name] == home:
            return called
    offset = program.memory.offsets[home]
    return f"at + {offset}" if tensor.ctype == "int8_t" else f"(void *)(at + {offset})"


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
