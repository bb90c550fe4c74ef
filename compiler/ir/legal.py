"""What may stand in a normalised float graph: one table, op -> what a node of it must be.

Later stages know these forms and no others. Whatever is not in the table is refused here, by name, with the
reason and what to do about it, before any calibration or quantization starts.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from bitsmith.ir.elementwise import FUNCTIONS
from bitsmith.ir.fusion import channel_caps, is_left_to_host, is_product
from bitsmith.ir.graph import Graph, Node, Value


class Problem(NamedTuple):
    """Why a node is illegal, and what its user can do."""

    reason: str
    fix: str


class Illegal(NamedTuple):
    """A node that later stages do not know."""

    node: Node
    reason: str
    fix: str


Rule = Callable[[Node], Problem | None]


def illegal_nodes(graph: Graph) -> list[Illegal]:
    """Every node of a normalised graph that is not of a legal form, in execution order."""
    found = []
    for node in graph.nodes():
        problem = _problem(node)
        if problem is not None:
            found.append(Illegal(node, *problem))
    return found


def _problem(node: Node) -> Problem | None:
    if node.domain not in ("", "ai.onnx") or node.op not in RULES:
        fix = HINTS.get(node.op, "Replace it by ops that can be, or leave it outside of the model.")
        return Problem("there is no integer form of this op", fix)
    if len(node.outputs) != 1:
        return Problem("its second output is used", "Only the first can be computed in integers.")
    if all(value is None or value.constant is not None for value in node.inputs):
        return Problem("all its operands are constant", "Run fold-constants.")
    # The rule goes before the other operands: that a weight is computed says more than that it has no batch.
    return _data_problem(node.output, *node.inputs[:1]) or RULES[node.op](node) or _data_problem(*node.inputs[1:])


def _data_problem(*values: Value | None) -> Problem | None:
    """What is wrong with computed values: they must be float32, with the batch first."""
    for value in values:
        if value is None or value.constant is not None:
            continue
        if value.dtype != np.float32:
            return Problem(
                f"{value.name} is {value.dtype}, not float32", "Compute indices and masks outside of the model."
            )
        if value.rank < 2 or value.shape[0] is not None:
            return Problem(
                f"the first dimension of {value.name} is not the batch",
                "Keep samples apart: the first dimension counts them throughout.",
            )
    return None


def _any(node: Node) -> None:
    return None


def _constant_rest(node: Node) -> Problem | None:
    """The first operand is data, the others are constants."""
    if node.operand(0).constant is not None:
        return Problem(f"{node.operand(0).name} is constant", "Run fold-constants.")
    for value in node.inputs[1:]:
        if value is not None and value.constant is None:
            return Problem(f"{value.name} is not constant", "Weights and parameters must be stored in the model.")
    return None


def _conv(node: Node) -> Problem | None:
    space = node.operand(0).rank - 2
    if space not in (1, 2):
        return Problem(f"a convolution over {space} dimensions", "Only 1-D and 2-D convolutions can be compiled.")
    return _constant_rest(node) or _spelled_out(node, "group", "dilations") or _bias(node)


def _bias(node: Node) -> Problem | None:
    bias = node.constant(2)
    if bias is None or bias.shape != (node.output.sample_shape[0 if node.op == "Conv" else -1],):
        return Problem("its bias is not one number per output channel", "Run canonicalize-gemm.")
    return None


def _spelled_out(node: Node, *more: str) -> Problem | None:
    missing = [name for name in ("kernel_shape", "strides", "pads", *more) if node.attribute(name) is None]
    if missing or node.attribute("auto_pad") is not None:
        return Problem(
            "its padding is not spelled out", "Give it as pads; explicit-padding does where auto_pad is clear."
        )
    if node.attribute("ceil_mode"):
        return Problem(
            "with ceil_mode its last window reaches a whole kernel past the edge",
            "Pad the input in the model, so that ceil_mode is not needed.",
        )
    return None


def _gemm(node: Node) -> Problem | None:
    problem = _constant_rest(node)
    if problem is None and node.attributes != {"transB": 1}:
        return Problem("it is not of the form x W^T + b", "Run canonicalize-gemm.")
    return problem or _bias(node)


def _matmul(node: Node) -> Problem | None:
    left, right = node.operand(0), node.operand(1)
    if is_product(node):
        return None
    if right.constant is None:
        return Problem(
            "its left operand is the constant one", "Only x @ W can be compiled with one W for all samples: transpose."
        )
    if right.constant.ndim != 2:
        return Problem(f"its weight has rank {right.constant.ndim}, not 2", "Use one matrix for all of the batch.")
    if left.rank == 2:
        return Problem("its input has rank 2", "Run canonicalize-gemm.")
    return None


def _clip(node: Node) -> Problem | None:
    bounds = [node.constant(index) for index in (1, 2)]
    if any(bound is None or bound.shape != () for bound in bounds):
        return _constant_rest(node) or Problem("its bounds are not two numbers", "Run recognize-activations.")
    return None


def _min(node: Node) -> Problem | None:
    if channel_caps(node) is not None:
        return None
    return Problem(
        "it does not bound its input by one number per channel",
        "Use Clip for one bound, or a constant of shape (1, channels, 1, ...) as its second operand.",
    )


def _prelu(node: Node) -> Problem | None:
    problem, slope = _constant_rest(node), node.constant(1)
    if problem is not None or slope is None or slope.size == 1:
        return problem
    rank = node.output.rank
    aligned = (1,) * (rank - slope.ndim) + slope.shape
    if aligned != (1, node.output.sample_shape[0], *[1] * (rank - 2)):
        return Problem(
            f"its slope of shape {list(slope.shape)} is neither one number nor one per channel",
            "Train it with one slope, or one per channel.",
        )
    return None


def _binary(node: Node) -> Problem | None:
    for value in node.inputs:
        if value is not None and value.constant is not None and value.constant.dtype != np.float32:
            return Problem(f"{value.name} is {value.constant.dtype}, not float32", "Store it in float32.")
    return None


def _concat(node: Node) -> Problem | None:
    if int(node.attribute("axis")) % node.output.rank == 0:
        return Problem("it joins along the batch", "Join along another axis.")
    return None


def _pool(node: Node) -> Problem | None:
    space = node.operand(0).rank - 2
    if space not in (1, 2):
        return Problem(f"a pool over {space} dimensions", "Only 1-D and 2-D pools can be compiled.")
    if node.op == "GlobalAveragePool":
        return None
    return _spelled_out(node)


def _reshape(node: Node) -> Problem | None:
    target = node.constant(1)
    if target is None or target.tolist() != [0, *node.output.sample_shape]:
        return Problem("its target is not the shape of one sample", "Run lower-reshapes.")
    return None


def _transpose(node: Node) -> Problem | None:
    if node.attribute("perm", [-1])[0] != 0:
        return Problem("it moves the batch", "The batch must stay the first dimension.")
    return None


def _pad(node: Node) -> Problem | None:
    if node.attribute("mode", "constant") != "constant":
        return Problem(f"it pads in mode {node.attribute('mode')}", "Only constant padding can be compiled.")
    pads = node.constant(1)
    if pads is None or node.constant(2) is None or node.input(3) is not None:
        return _constant_rest(node) or Problem("its pads are not spelled out", "Run canonicalize-pads.")
    rank = node.output.rank
    if pads[0] or pads[rank] or pads.min() < 0:
        return Problem("it pads the batch, or crops", "Pad other axes only; run canonicalize-pads for a crop.")
    return None


def _slice(node: Node) -> Problem | None:
    problem = _constant_rest(node)
    if problem is not None:
        return problem
    axes = node.constant(3)
    if axes is None or node.constant(4) is None or (axes.size and axes.min() < 1):
        return Problem("it slices the batch, or is not spelled out", "Slice other axes only; run canonicalize-slices.")
    return None


def _resize(node: Node) -> Problem | None:
    if node.attribute("mode", "nearest") != "nearest":
        return Problem(
            f"it interpolates in mode {node.attribute('mode')}", "Use nearest, or resize outside of the model."
        )
    scales, sizes = node.constant(2), node.constant(3)
    if node.attribute("coordinate_transformation_mode") == "tf_crop_and_resize":
        return Problem("it crops by a region of interest", "Use Slice and Resize.")
    full = scales is not None and scales.size == node.output.rank and scales[0] == 1
    spelled_out = all(node.attribute(name) for name in ("mode", "coordinate_transformation_mode", "nearest_mode"))
    if not spelled_out or (not full and (sizes is None or sizes.size != node.output.rank - 1)):
        return Problem("its scales or sizes are not spelled out", "Make them constant; run canonicalize-resizes.")
    return None


def _softmax(node: Node) -> Problem | None:
    axis = int(node.attribute("axis", -1)) % node.output.rank
    if axis == 0:
        return Problem("it normalises over the batch", "Normalise over another axis.")
    if axis != node.output.rank - 1 and not is_left_to_host(node):
        return Problem(
            f"a softmax inside the model over axis {axis} of {node.output.rank}", "Transpose, so that it is the last."
        )
    return None


def _layer_norm(node: Node) -> Problem | None:
    rank = node.output.rank
    axis = int(node.attribute("axis", -1)) % rank
    if axis != rank - 1:
        return Problem(
            f"a layer normalisation over axes {axis} to {rank - 1}", "Reshape, so that it is over the last alone."
        )
    width = node.output.sample_shape[-1:]
    for value in node.inputs[1:]:
        if value is not None and value.constant is not None and value.constant.size not in (1, *width):
            return Problem(f"{value.name} has shape {list(value.constant.shape)}", "Store one number per feature.")
    return _constant_rest(node)


RULES: dict[str, Rule] = {
    "Add": _binary,
    "AveragePool": _pool,
    "Clip": _clip,
    "Concat": _concat,
    "Conv": _conv,
    "Gemm": _gemm,
    "GlobalAveragePool": _pool,
    "LayerNormalization": _layer_norm,
    "MatMul": _matmul,
    "MaxPool": _pool,
    "Min": _min,
    "Mul": _binary,
    "PRelu": _prelu,
    "Pad": _pad,
    "Reshape": _reshape,
    "Resize": _resize,
    "Slice": _slice,
    "Softmax": _softmax,
    "Sub": _binary,
    "Transpose": _transpose,
    **dict.fromkeys(FUNCTIONS, _any),
}
"""The legal ops of the normalised stage."""

HINTS: dict[str, str] = {
    "ConvTranspose": "Use Resize nearest followed by Conv.",
    "Gather": "Use Slice, or Split.",
    "Dropout": "Export the model for inference: model.eval().",
    "Einsum": "Use MatMul by a stored matrix.",
    "ReduceMax": "Take the maximum over all spatial axes, or use MaxPool.",
    "Identity": "Take the output out of the model: it is another value under a second name.",
    "InstanceNormalization": "Use BatchNormalization, which folds away.",
    "ReduceMean": "Average over all spatial axes, or use AveragePool.",
    "Sum": "Use Add.",
}
"""What to do instead of some ops that have no integer form."""
