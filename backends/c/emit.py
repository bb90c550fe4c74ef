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
from bitsmith.backends.c.names import identifiers
from bitsmith.backends.c.program import Program
from bitsmith.backends.c.stage import Stage, Step
from bitsmith.backends.c.stream import Stream
from bitsmith.backends.c.stream_text import statements
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
    functions = [text for stage in program.stages for text in _functions(stage, names)]
    rendered = {
        "model.h": render("model.h.j2", context),
        "model_constants.h": render("model_constants.h.j2", {**context, "arrays": list(arrays.values())}),
        "model.c": render(
            "model.c.j2",
            {
                **context,
                "functions": functions,
                "stages": [_stage(program, stage) for stage in program.stages],
                "uses_arena": any("at +" in _call(program, stage) for stage in program.stages),
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
        "fetched": program.fetched,
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
    """The C name of every constant, by function and its name there; equal ones of one operation are one."""
    wanted, first = {}, dict[tuple[str, bytes], str]()
    for step in program.steps:
        for constant in step.kernel.constants:
            text = f"{step.function}_{constant.name}"
            wanted[step.function, constant.name] = first.setdefault((step.site.operation.name, constant.key), text)
    functions = [step.function for step in program.steps] + [stage.function for stage in program.stages]
    chosen = identifiers(dict.fromkeys(wanted.values()), functions)
    return {key: chosen[name] for key, name in wanted.items()}


def _functions(stage: Stage, names: Mapping[tuple[str, str], str]) -> list[str]:
    """The text of every function of a stage, each behind its comment."""
    found = [_function(step, names) for step in stage.steps]
    if isinstance(stage, Stream):
        found.append(render("stream.c.j2", {"stream": stage, "rounds": statements(stage)}))
    return found


def _function(step: Step, names: Mapping[tuple[str, str], str]) -> str:
    site, kernel = step.site, step.kernel
    constants = {constant.name: names[site.function, constant.name] for constant in kernel.constants}
    text = render(kernel.template, {**kernel.context, "site": site, "kernel": kernel, "c": constants})
    return render("comment.c.j2", {"site": site, "kernel": kernel, "bits": _bits}) + "\n" + text


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
        arguments.append(f"at + {program.memory.offsets[stage.scratch_name]}")
    return f"{stage.function}({', '.join(arguments)});"


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
