"""From an ONNX model, as exporters leave it, to the float graph that passes work on."""

from __future__ import annotations

import os
from collections.abc import Mapping

from onnx import ModelProto

from bitsmith.importing.batch import resolve_shapes
from bitsmith.importing.draft import Draft
from bitsmith.importing.groups import require_groups
from bitsmith.importing.onnx_file import read_model
from bitsmith.importing.opset import check, inline_functions, upgrade
from bitsmith.importing.screen import screen_constants, screen_inputs, screen_model
from bitsmith.importing.tidy import tidy
from bitsmith.ir.graph import Graph


def load_graph(
    source: str | os.PathLike[str] | ModelProto, input_shapes: Mapping[str, tuple[int, ...]] | None = None
) -> Graph:
    """The float32 model at `source`, opset 7 to 26, as a Graph at one opset.

    Afterwards every name is unique, every constant has one reader, model-local functions are inlined, and every
    value has a shape of numbers but for a first dimension that is the batch: a batch that the file fixes is made
    dynamic. Ops are left as they are; which of them can be compiled is the matter of ir/legal.py.

    input_shapes: input name -> shape, batch first, for inputs whose dimensions the file leaves open.
    Raises ModelError and UnsupportedError, which say what, where, and what to do.
    """
    model = read_model(source)
    screen_model(model)
    draft = Draft(model)
    screen_inputs(draft.graph.input)
    tidy(draft)
    check(draft)
    inline_functions(draft)
    tidy(draft)
    screen_constants(draft)
    upgrade(draft)
    tidy(draft)
    resolve_shapes(draft, input_shapes or {})
    require_groups(draft)
    return Graph.from_onnx(draft.model, draft.constants)
