"""Every model brought to one opset, so that no later stage knows the history of an operator."""

from __future__ import annotations

from onnx import ModelProto, checker, defs, inliner, shape_inference, version_converter

from bitsmith.errors import ModelError, UnsupportedError
from bitsmith.importing.draft import STANDARD, Draft, all_nodes
from bitsmith.importing.screen import node_label

LEVEL = 23
"""The opset of every graph after import. ONNX Runtime 1.31 has kernels for all that is compiled here at it."""

_REFUSALS = (
    RuntimeError,
    ValueError,
    checker.ValidationError,
    version_converter.ConvertError,
    shape_inference.InferenceError,
)
"""What onnx's tools say no by."""


def inline_functions(draft: Draft) -> None:
    """Replace every call of a model-local function by its body."""
    if draft.model.functions:
        draft.absorb(inlined(draft.for_tools(), convert_version=True))


def inlined(model: ModelProto, convert_version: bool = False) -> ModelProto:
    """A model with every call of a model-local function replaced by its body. Raises UnsupportedError.

    convert_version: whether bodies of another opset than the model's are brought to it.
    """
    try:
        return inliner.inline_local_functions(model, convert_version=convert_version)
    except _REFUSALS as fault:
        raise UnsupportedError(
            f"its functions cannot be inlined ({_first_line(fault)})",
            where=model.graph.name,
            fix="Export it without functions of its own.",
        ) from None


def check(draft: Draft) -> None:
    """Hold the model to the ONNX standard. Raises ModelError with what the checker says."""
    model = draft.for_tools()
    # It asks for shapes that inference gives later on, or that --input-shape does.
    for value in [*model.graph.input, *model.graph.output]:
        if value.type.HasField("tensor_type"):
            value.type.tensor_type.shape.SetInParent()
    try:
        checker.check_model(model)
    except checker.ValidationError as fault:
        raise ModelError(
            f"the ONNX checker refuses it ({_first_line(fault)})",
            where=draft.graph.name,
            fix="Export the model again, with a current exporter.",
        ) from None


def upgrade(draft: Draft) -> None:
    """Bring the model to opset LEVEL, from below or from above."""
    if draft.opset >= LEVEL:
        _step_down(draft)
        return
    notes = {node.name: node for node in draft.graph.node}
    try:
        draft.absorb(version_converter.convert_version(draft.for_tools(), LEVEL))
    except _REFUSALS as fault:
        raise UnsupportedError(
            f"cannot be brought from opset {draft.opset} to {LEVEL} ({_first_line(fault)})",
            where=draft.graph.name,
            fix="Export it at opset 17 or later.",
        ) from None
    # The converter keeps names but forgets what was written on the nodes.
    for node in draft.graph.node:
        note = notes.get(node.name)
        if note is not None:
            node.doc_string = note.doc_string
            del node.metadata_props[:]
            node.metadata_props.extend(note.metadata_props)


def _step_down(draft: Draft) -> None:
    """Say LEVEL in place of a later opset. Up to 26, what changed of an op that LEVEL has is the types it takes.

    (And Attention, which is not compiled at any opset.) Raises UnsupportedError for an op that LEVEL lacks.
    """
    for node in all_nodes(draft.graph):
        if node.domain in STANDARD and not defs.has(node.op_type, max_inclusive_version=LEVEL):
            raise UnsupportedError(
                f"an op that opset {LEVEL} does not have", where=node_label(node), fix="Export it at an earlier opset."
            )
    for entry in draft.model.opset_import:
        if entry.domain in STANDARD:
            entry.version = LEVEL


def _first_line(fault: Exception) -> str:
    return next((line.strip() for line in str(fault).splitlines() if line.strip()), type(fault).__name__)
