"""One-op float models with random shapes and attributes, for every op that bitsmith takes.

Weights lie on an 8-bit grid by construction (the largest of each channel is 127 steps), so that quantizing them
costs nothing and what is left of the error is the rounding of the output alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

Draw = Callable[[st.SearchStrategy[Any]], Any]
STEP = 2.0**-9
"""The weights' grid: a power of two, so that float32 holds every product of it exactly."""


@dataclass(frozen=True)
class Case:
    """A model and the per-sample shapes of its inputs, by name."""

    model: onnx.ModelProto
    inputs: dict[str, tuple[int, ...]]


def single(
    op: str,
    inputs: dict[str, tuple[int, ...]],
    constants: dict[str, np.ndarray[Any, Any]] | None = None,
    outputs: tuple[str, ...] = ("y",),
    opset: int = 17,
    operands: list[str] | None = None,
    **attributes: Any,
) -> Case:
    """A model of one node that reads the inputs, then the constants (or `operands` in that order)."""
    held = constants or {}
    node = helper.make_node(op, operands or [*inputs, *held], list(outputs), name=op.lower(), **attributes)
    graph = helper.make_graph(
        [node],
        op,
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["N", *shape]) for n, shape in inputs.items()],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in outputs],
        [numpy_helper.from_array(array, name) for name, array in held.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    return Case(onnx.shape_inference.infer_shapes(model), inputs)


def reference(case: Case, feeds: dict[str, np.ndarray[Any, Any]]) -> list[np.ndarray[Any, Any]]:
    """The outputs by ONNX's reference evaluator; by ONNX Runtime where the evaluator itself is wrong.

    onnx 1.22 evaluates auto_pad and ceil_mode wrongly: with auto_pad, grouped and strided convolutions and
    one-dimensional pools raise, and others come out in a shape that onnx's own shape inference contradicts; with
    ceil_mode, an average is taken over windows that start before the first element; with align_corners, the
    resized length in the formula is not the length of the resized tensor.
    """
    attributes = [attribute for node in case.model.graph.node for attribute in node.attribute]
    if any(a.name in ("auto_pad", "ceil_mode") or a.s == b"align_corners" for a in attributes):
        session = ort.InferenceSession(case.model.SerializeToString(), providers=["CPUExecutionProvider"])
        return list(session.run(None, feeds))
    return list(ReferenceEvaluator(case.model).run(None, feeds))


def grid_weights(draw: Draw, shape: tuple[int, ...], axis: int = 0) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Integers in [-127, 127] times STEP, with 127 in every channel."""
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    integers = np.moveaxis(generator.integers(-127, 128, shape), axis, 0).copy()
    integers.reshape(integers.shape[0], -1)[:, 0] = 127
    return (np.moveaxis(integers, 0, axis) * STEP).astype(np.float32)


def reals(draw: Draw, shape: tuple[int, ...]) -> np.ndarray[Any, np.dtype[np.float32]]:
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return generator.normal(size=shape).astype(np.float32)


def byte_grid(draw: Draw, shape: tuple[int, ...]) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Non-zero multiples of 2^-6 that an asymmetric 8-bit format holds exactly: both ends of it are among them."""
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    integers = np.asarray(generator.choice([-1, 1], size=shape) * generator.integers(16, 127, shape))
    if integers.size > 1:
        integers.ravel()[:2] = -128, 127
    return (integers * 2.0**-6).astype(np.float32)


def image(draw: Draw, channels: int | None = None, rank: int | None = None, least: int = 4) -> tuple[int, ...]:
    """(channels, *space) of one or two spatial axes."""
    axes = rank or draw(st.integers(1, 2))
    return (channels or draw(st.integers(1, 4)), *[draw(st.integers(least, 8)) for _ in range(axes)])


def anything(draw: Draw) -> tuple[int, ...]:
    """A sample of one to three axes."""
    return tuple(draw(st.lists(st.integers(1, 6), min_size=1, max_size=3)))


def window(draw: Draw, axes: int, dilated: bool = True) -> dict[str, Any]:
    """kernel_shape, strides, dilations, and pads or auto_pad, for an input of at least 4 along each axis."""
    kernel = [draw(st.integers(1, 3)) for _ in range(axes)]
    found: dict[str, Any] = {"kernel_shape": kernel, "strides": [draw(st.integers(1, 3)) for _ in range(axes)]}
    padding = draw(st.sampled_from(["none", "pads", "SAME_UPPER", "SAME_LOWER", "VALID"]))
    if dilated and padding in ("none", "pads"):
        found["dilations"] = [draw(st.integers(1, 2)) if k < 3 else 1 for k in kernel]
    if padding == "pads":
        found["pads"] = [draw(st.integers(0, k - 1)) for k in kernel + kernel]
    elif padding != "none":
        found["auto_pad"] = padding
        # A stride beyond the kernel would ask SAME for negative padding, which ONNX Runtime refuses.
        found["strides"] = [min(stride, k) for stride, k in zip(found["strides"], kernel, strict=True)]
    return found


@st.composite
def conv(draw: Draw) -> Case:
    groups, per_group, multiple = draw(st.integers(1, 3)), draw(st.integers(1, 3)), draw(st.integers(1, 3))
    shape = image(draw, groups * per_group)
    attributes = window(draw, len(shape) - 1)
    weight = grid_weights(draw, (groups * multiple, per_group, *attributes["kernel_shape"]))
    constants = {"w": weight} | ({"b": reals(draw, (groups * multiple,))} if draw(st.booleans()) else {})
    return single("Conv", {"x": shape}, constants, group=groups, **attributes)


@st.composite
def gemm(draw: Draw) -> Case:
    inputs, outputs, transposed = draw(st.integers(1, 9)), draw(st.integers(1, 9)), draw(st.integers(0, 1))
    shape = (outputs, inputs) if transposed else (inputs, outputs)
    constants = {"w": grid_weights(draw, shape, axis=0 if transposed else 1)}
    kind = draw(st.sampled_from(["none", "vector", "row", "scalar"]))
    if kind != "none":
        constants["b"] = reals(draw, {"vector": (outputs,), "row": (1, outputs), "scalar": ()}[kind])
    scales = {"alpha": draw(st.sampled_from([1.0, 0.5, -2.0])), "beta": draw(st.sampled_from([1.0, 0.25]))}
    return single("Gemm", {"x": (inputs,)}, constants, transB=transposed, **scales)


@st.composite
def matmul(draw: Draw) -> Case:
    inputs, outputs = draw(st.integers(1, 9)), draw(st.integers(1, 9))
    leading = tuple(draw(st.lists(st.integers(1, 4), max_size=2)))
    return single("MatMul", {"x": (*leading, inputs)}, {"w": grid_weights(draw, (inputs, outputs), axis=1)})


@st.composite
def product(draw: Draw) -> Case:
    """A MatMul of two activations, whose leading axes may broadcast; at times scaled by a number behind it."""
    rows, inner, columns = (draw(st.integers(1, 6)) for _ in range(3))
    leading = tuple(draw(st.lists(st.integers(1, 3), max_size=2)))
    other = tuple(1 if draw(st.booleans()) else size for size in leading)
    case = single("MatMul", {"a": (*leading, rows, inner), "b": (*other, inner, columns)})
    if draw(st.booleans()):
        factor = draw(st.sampled_from([0.125, 1 / 3, 2.0]))
        return followed(case, draw(st.sampled_from(["Mul", "Div"])), {"factor": np.array(factor, np.float32)})
    return case


@st.composite
def softmax(draw: Draw) -> Case:
    """A Softmax over the last axis, inside a model: something follows it that only moves elements."""
    shape = tuple(draw(st.lists(st.integers(2, 9), min_size=2, max_size=3)))
    case = single("Softmax", {"x": shape}, axis=draw(st.sampled_from([-1, len(shape)])))
    return followed(case, "Transpose", perm=[0, *range(len(shape), 0, -1)])


@st.composite
def layer_norm(draw: Draw) -> Case:
    """A LayerNormalization over the last axis, its offset there or not."""
    shape = tuple(draw(st.lists(st.integers(2, 9), min_size=1, max_size=3)))
    constants = {"gain": reals(draw, shape[-1:])}
    if draw(st.booleans()):
        constants["offset"] = reals(draw, shape[-1:])
    epsilon = draw(st.sampled_from([1e-5, 1e-3, 0.5]))
    return single(
        "LayerNormalization", {"x": shape}, constants, axis=draw(st.sampled_from([-1, len(shape)])), epsilon=epsilon
    )


def followed(case: Case, op: str, constants: dict[str, np.ndarray[Any, Any]] | None = None, **attributes: Any) -> Case:
    """The model with one more node behind its output."""
    model, held = onnx.ModelProto(), constants or {}
    model.CopyFrom(case.model)
    graph = model.graph
    graph.node[-1].output[0] = "inner"
    graph.node.append(helper.make_node(op, ["inner", *held], ["y"], name=op.lower(), **attributes))
    graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in held.items())
    del graph.output[:], graph.value_info[:]
    graph.output.append(helper.make_tensor_value_info("y", TensorProto.FLOAT, None))
    return Case(onnx.shape_inference.infer_shapes(model), case.inputs)


@st.composite
def function(draw: Draw) -> Case:
    """An element-wise function of one value, over all of the reals."""
    op, names = draw(st.sampled_from(sorted(EVERYWHERE.items())))
    attributes: dict[str, Any] = {name: draw(st.sampled_from([0.05, 0.25, 0.5])) for name in names}
    if op == "Gelu":
        attributes["approximate"] = draw(st.sampled_from(["none", "tanh"]))
    return single(op, {"x": anything(draw)}, opset=20, **attributes)


EVERYWHERE: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("Abs", "Asinh", "Atan", "Ceil", "Cos", "Cosh", "Erf", "Exp", "Floor", "Gelu", "HardSwish"), ()),
    **dict.fromkeys(("Mish", "Relu", "Round", "Sigmoid", "Sign", "Sin", "Sinh", "Softplus", "Softsign", "Tanh"), ()),
    **dict.fromkeys(("Celu", "Elu", "LeakyRelu", "ThresholdedRelu"), ("alpha",)),
    "HardSigmoid": ("alpha", "beta"),
    "Selu": ("alpha", "gamma"),
    "Shrink": ("bias", "lambd"),
}
"""Functions that are defined everywhere, with their attributes."""


@st.composite
def clip(draw: Draw) -> Case:
    bounds = {
        "low": np.float32(draw(st.floats(-1, 0.5, width=16))),
        "high": np.float32(draw(st.floats(0.5, 3, width=16))),
    }
    return single("Clip", {"x": anything(draw)}, {name: np.asarray(bound) for name, bound in bounds.items()})


@st.composite
def channel_caps(draw: Draw) -> Case:
    """A Min with one number per channel, by itself."""
    shape = image(draw)
    caps = np.abs(reals(draw, (1, shape[0], *[1] * (len(shape) - 1)))).astype(np.float32)
    return single("Min", {"x": shape}, {"caps": caps})


@st.composite
def capped_sum(draw: Draw) -> Case:
    """A Min with one number per channel, behind a Relu, in the requantize step of an Add."""
    shape = image(draw)
    caps = np.abs(reals(draw, (1, shape[0], *[1] * (len(shape) - 1)))).astype(np.float32)
    plain = single("Add", {"a": shape, "b": shape}, {"caps": caps}, operands=["a", "b"], outputs=("sum",))
    graph = plain.model.graph
    graph.node.append(helper.make_node("Relu", ["sum"], ["above"], name="relu"))
    graph.node.append(helper.make_node("Min", ["above", "caps"], ["y"], name="min"))
    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", *shape]))
    return Case(onnx.shape_inference.infer_shapes(plain.model), plain.inputs)


@st.composite
def prelu(draw: Draw) -> Case:
    shape = image(draw)
    slope = draw(st.sampled_from([(), (1,), (shape[0], *[1] * (len(shape) - 1))]))
    return single("PRelu", {"x": shape}, {"slope": np.asarray(reals(draw, slope), dtype=np.float32)})


@st.composite
def arithmetic(draw: Draw) -> Case:
    """Add, Sub or Mul of two activations, one of which may broadcast."""
    shape = anything(draw)
    other = tuple(1 if draw(st.booleans()) else size for size in shape)
    pair = {"a": shape, "b": other} if draw(st.booleans()) else {"a": other, "b": shape}
    return single(draw(st.sampled_from(["Add", "Sub", "Mul"])), pair)


@st.composite
def arithmetic_constant(draw: Draw) -> Case:
    """Add, Sub, Mul or Div of an activation and a constant: scalar, per channel or general."""
    shape = image(draw)
    kind = draw(st.sampled_from([(), (1,), (shape[0], *[1] * (len(shape) - 1)), shape, (1, *shape)]))
    op = draw(st.sampled_from(["Add", "Sub", "Mul", "Div"]))
    if op == "Div":
        kind = kind if kind != shape and kind != (1, *shape) else ()
    constant = byte_grid(draw, kind)
    first = op in ("Add", "Mul", "Sub") and draw(st.booleans())
    return single(op, {"x": shape}, {"c": constant}, operands=["c", "x"] if first else ["x", "c"])


@st.composite
def concat(draw: Draw) -> Case:
    shape = list(anything(draw))
    axis = draw(st.integers(0, len(shape) - 1))
    inputs = {}
    for name in ("a", "b", "c")[: draw(st.integers(1, 3))]:
        shape[axis] = draw(st.integers(1, 4))
        inputs[name] = tuple(shape)
    return single("Concat", inputs, axis=axis + 1 if draw(st.booleans()) else axis - len(shape))


@st.composite
def max_pool(draw: Draw) -> Case:
    shape = image(draw)
    attributes = window(draw, len(shape) - 1)
    return single("MaxPool", {"x": shape}, ceil_mode=_ceil(draw, attributes), **attributes)


@st.composite
def average_pool(draw: Draw) -> Case:
    shape = image(draw)
    attributes = window(draw, len(shape) - 1, dilated=False)
    include = draw(st.integers(0, 1))
    return single(
        "AveragePool", {"x": shape}, ceil_mode=_ceil(draw, attributes), count_include_pad=include, **attributes
    )


def _ceil(draw: Draw, attributes: dict[str, Any]) -> int:
    dilated = any(dilation > 1 for dilation in attributes.get("dilations", []))
    return draw(st.integers(0, 1)) if "auto_pad" not in attributes and not dilated else 0


@st.composite
def space_mean(draw: Draw) -> Case:
    """GlobalAveragePool, or ReduceMean over all spatial axes."""
    shape = image(draw)
    if draw(st.booleans()):
        return single("GlobalAveragePool", {"x": shape})
    axes = list(range(2, len(shape) + 1))
    axes = [axis - len(shape) - 1 for axis in axes] if draw(st.booleans()) else axes
    return single("ReduceMean", {"x": shape}, axes=axes, keepdims=draw(st.integers(0, 1)))


@st.composite
def reshaping(draw: Draw) -> Case:
    """Flatten, Reshape, Squeeze or Unsqueeze."""
    op = draw(st.sampled_from(["Flatten", "Reshape", "Squeeze", "Unsqueeze"]))
    shape = anything(draw)
    if op == "Flatten":
        return single(op, {"x": shape}, axis=1)
    if op == "Reshape":
        target = draw(st.sampled_from([[0, -1], [-1, int(np.prod(shape))], [0, *reversed(shape)], [-1, 1, *shape]]))
        return single(op, {"x": shape}, {"shape": np.array(target, np.int64)})
    if op == "Squeeze":
        return single(
            op, {"x": (*shape, 1)}, {"axes": np.array([draw(st.sampled_from([-1, len(shape) + 1]))], np.int64)}
        )
    return single(op, {"x": shape}, {"axes": np.array([draw(st.integers(1, len(shape) + 1))], np.int64)})


@st.composite
def transpose(draw: Draw) -> Case:
    shape = anything(draw)
    return single("Transpose", {"x": shape}, perm=[0, *draw(st.permutations(range(1, len(shape) + 1)))])


@st.composite
def pad(draw: Draw) -> Case:
    shape = anything(draw)
    amounts = [draw(st.integers(0, 2)) for _ in range(2 * len(shape))]
    pads = [0, *amounts[: len(shape)], 0, *amounts[len(shape) :]]
    constants: dict[str, Any] = {"pads": np.array(pads, np.int64)}
    if draw(st.booleans()):
        constants["fill"] = np.asarray(draw(st.sampled_from([0.0, 1.0])), dtype=np.float32)
    return single("Pad", {"x": shape}, constants)


@st.composite
def slicing(draw: Draw) -> Case:
    """Slice along some axes, forwards or backwards."""
    shape = tuple(draw(st.lists(st.integers(2, 6), min_size=1, max_size=3)))
    axes = sorted(draw(st.sets(st.integers(1, len(shape)), min_size=1)))
    starts, ends, steps = [], [], []
    for axis in axes:
        size = shape[axis - 1]
        low = draw(st.integers(0, size - 1))
        high = draw(st.integers(low + 1, size))
        if draw(st.booleans()):
            starts, ends, steps = (
                [*starts, low],
                [*ends, draw(st.sampled_from([high, high - size - 0 or 2**31]))],
                [*steps, draw(st.integers(1, 3))],
            )
        else:
            starts, ends, steps = [*starts, high - 1], [*ends, low - 1 - size], [*steps, -draw(st.integers(1, 2))]
    named = {"starts": starts, "ends": ends, "axes": axes, "steps": steps}
    return single("Slice", {"x": shape}, {name: np.array(numbers, np.int64) for name, numbers in named.items()})


@st.composite
def split(draw: Draw) -> Case:
    shape = list(anything(draw))
    axis = draw(st.integers(0, len(shape) - 1))
    sizes = draw(st.lists(st.integers(1, 3), min_size=1, max_size=3))
    shape[axis] = sum(sizes)
    outputs = tuple(f"y{index}" for index in range(len(sizes)))
    return single("Split", {"x": tuple(shape)}, {"split": np.array(sizes, np.int64)}, outputs, axis=axis + 1)


@st.composite
def resize(draw: Draw) -> Case:
    shape = image(draw, rank=2, least=2)
    factors = [draw(st.sampled_from([1.0, 2.0, 3.0, 1.5, 0.5])) for _ in shape[1:]]
    modes = {
        "coordinate_transformation_mode": draw(
            st.sampled_from(["half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel"])
        ),
        "nearest_mode": draw(st.sampled_from(["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"])),
    }
    scales = np.array([1.0, 1.0, *factors], np.float32)
    return single("Resize", {"x": shape}, {"scales": scales}, operands=["x", "", "scales"], mode="nearest", **modes)


@st.composite
def batch_norm(draw: Draw) -> Case:
    """A BatchNormalization with nothing to fold into: a per-channel affine."""
    shape = image(draw)
    channels = (shape[0],)
    constants = {
        "gamma": reals(draw, channels) + np.float32(0.1),
        "beta": reals(draw, channels),
        "mean": reals(draw, channels),
        "variance": np.abs(reals(draw, channels)) + np.float32(0.5),
    }
    return single("BatchNormalization", {"x": shape}, constants)


CASES: dict[str, st.SearchStrategy[Case]] = {
    "arithmetic": arithmetic(),
    "arithmetic with a constant": arithmetic_constant(),
    "average pool": average_pool(),
    "batch norm": batch_norm(),
    "capped sum": capped_sum(),
    "channel caps": channel_caps(),
    "clip": clip(),
    "concat": concat(),
    "conv": conv(),
    "function": function(),
    "gemm": gemm(),
    "layer normalisation": layer_norm(),
    "matmul": matmul(),
    "max pool": max_pool(),
    "mean over space": space_mean(),
    "pad": pad(),
    "prelu": prelu(),
    "product": product(),
    "reshaping": reshaping(),
    "resize": resize(),
    "slice": slicing(),
    "softmax": softmax(),
    "split": split(),
    "transpose": transpose(),
}
