"""From a design to its files: da4ml's Verilog and VHDL of the stages, and around them what templates/rtl holds."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from da4ml.codegen import rtl
from da4ml.codegen.rtl.verilog import pipeline_logic_gen as verilog
from da4ml.codegen.rtl.verilog.comb import table_mem_gen
from da4ml.codegen.rtl.vhdl import pipeline_logic_gen as vhdl
from jinja2 import Environment

from bitsmith.backends.rtl.design import Design
from bitsmith.backends.rtl.layout import to_words
from bitsmith.execution.batches import Batch
from bitsmith.jinja import environment as jinja_over

CIRCUIT = "circuit"
"""The name of da4ml's module; ours around it is called `model`."""


def sources(design: Design) -> dict[str, str]:
    """Verilog by file name: the model, its stages, what they are made of, and the contents of tables."""
    stages = verilog(design.pipeline, CIRCUIT)
    texts = {f"{name}.v": _stripped(text) for name, text in stages.items()}
    texts |= _parts(texts, "verilog/source", ".v")
    memories = tables(design)
    if memories:
        # da4ml's own reads a file that is not there, and has an attribute that neither Icarus nor yosys takes.
        texts |= {**memories, "lookup_table.v": render("lookup_table.v.j2", {})}
    texts["model.v"] = render("model.v.j2", context(design))
    return texts


def vhdl_sources(design: Design) -> dict[str, str]:
    """As `sources`, in VHDL-2008."""
    stages = vhdl(design.pipeline, CIRCUIT)
    texts = {f"{name}.vhd": _stripped(text) for name, text in stages.items()}
    texts |= _parts(texts, "vhdl/source", ".vhd")
    texts["model.vhd"] = render("model.vhd.j2", context(design))
    return texts


def project(design: Design, inputs: Batch, outputs: Batch) -> dict[str, str]:
    """A testbench, its golden vectors, and how to run it.

    inputs, outputs: integers in, and what must come out, (samples, *shape).
    """
    given = to_words(design.inputs, [inputs[port.value.name] for port in design.inputs])
    made = to_words(design.outputs, [outputs[port.value.name] for port in design.outputs])
    values = {**context(design), "samples": len(given)}
    return {
        "model_test.v": render("model_test.v.j2", values),
        "golden_inputs.hex": "\n".join(given) + "\n",
        "golden_outputs.hex": "\n".join(made) + "\n",
        "Makefile": render("Makefile.j2", values),
        "README.md": render("README.md.j2", values),
    }


def tables(design: Design) -> dict[str, str]:
    """The memory files of look-up tables."""
    found: dict[str, str] = {}
    for stage in design.pipeline.solutions:
        found |= {name: text.rstrip("\n") + "\n" for name, text in table_mem_gen(stage).items()}
    return found


def context(design: Design) -> dict[str, Any]:
    """What the templates read."""
    fields = iter(design.fields())
    placed = [(port, [(index, next(fields)) for index in range(port.elements)]) for port in design.outputs]
    return {
        "circuit": CIRCUIT,
        "design": design,
        "inputs": design.inputs,
        "outputs": placed,
        "given_bits": sum(port.bits for port in design.inputs),
        "made_bits": sum(port.bits for port in design.outputs),
        "circuit_bits": max(sum(field.width for _, fields in placed for _, field in fields), 1),
    }


def _parts(texts: Mapping[str, str], folder: str, suffix: str) -> dict[str, str]:
    """The modules of da4ml's that the texts have instances of."""
    everything = "\n".join(texts.values())
    return {
        one.name: one.read_text(encoding="utf-8")
        for one in sorted(files(rtl).joinpath(*folder.split("/")).iterdir(), key=lambda one: one.name)
        if one.name.endswith(suffix) and re.search(rf"\b{one.name.removesuffix(suffix)}\b", everything)
    }


def _stripped(text: str) -> str:
    return "\n".join(line.rstrip() for line in text.strip().splitlines()) + "\n"


def render(template: str, values: Mapping[str, Any]) -> str:
    """A template of templates/rtl, filled in."""
    return environment().get_template(template).render(values).rstrip() + "\n"


@cache
def environment() -> Environment:
    """Jinja over templates/rtl."""
    return jinja_over("rtl")
