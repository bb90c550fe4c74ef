"""Per-channel affines `scale * x + shift`, where a graph has them, and how one merges with a linear op.

The algebra that fold-batch-norm, fold-affine and lower-affine share. All arithmetic is float64, rounded to
float32 once at the end.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bitsmith.ir.fusion import is_product
from bitsmith.ir.graph import Node, Value
from bitsmith.passes.canonicalize_gemm import canonicalize, is_canonical

Vector = npt.NDArray[np.float64]

LINEAR = ("Conv", "ConvTranspose", "Gemm", "MatMul")
ELEMENTWISE = ("Add", "Sub", "Mul", "Div")


@dataclass(frozen=True, eq=False)
class Affine:
    """`y = scale * x + shift`, both float64 of shape (channels,) along `axis`, or (1,) for all where axis is None."""

    value: Value
    scale: Vector
    shift: Vector
    axis: int | None

    def after(self, first: Affine) -> Affine:
        """This affine of the result of `first`, as one affine of what `first` reads; their axes must agree."""
        axis = self.axis if self.axis is not None else first.axis
        return Affine(first.value, self.scale * first.scale, self.scale * first.shift + self.shift, axis)

    def along(self, axis: int) -> Affine:
        """The same with its vectors spread over `axis` of its value."""
        channels = self.value.shape[axis]
        assert channels is not None
        return Affine(self.value, np.broadcast_to(self.scale, channels), np.broadcast_to(self.shift, channels), axis)

    def fits(self, axis: int) -> bool:
        """Whether it is one affine per index of `axis`."""
        return self.axis is None or self.axis == axis

    @property
    def shifts(self) -> bool:
        return bool(np.any(self.shift != 0))


def affine_of(node: Node) -> Affine | str:
    """The affine that a BatchNormalization, Add, Sub, Mul or Div by a constant is, or why it is none."""
    return _batch_norm(node) if node.op == "BatchNormalization" else _elementwise(node)


def _batch_norm(node: Node) -> Affine | str:
    value = node.operand(0)
    gamma, beta, mean, variance = (node.constant(index) for index in range(1, 5))
    if gamma is None or beta is None or mean is None or variance is None:
        return "its statistics are not constant"
    if node.attribute("training_mode", 0):
        return "it is in training mode"
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        scale = gamma.astype(np.float64) / np.sqrt(variance.astype(np.float64) + node.attribute("epsilon", 1e-5))
        shift = beta.astype(np.float64) - mean.astype(np.float64) * scale
    if not (np.isfinite(scale).all() and np.isfinite(shift).all()):
        return "its variance is not positive"
    return Affine(value, scale, shift, 1)


def _elementwise(node: Node) -> Affine | str:
    left, right = node.operand(0), node.operand(1)
    if (left.constant is None) == (right.constant is None):
        return "no operand is constant"
    value, array = (left, right.constant) if left.constant is None else (right, left.constant)
    assert array is not None
    if value.shape != node.output.shape:
        return f"its constant broadcasts {value.name} to another shape"
    axis = channel_axis(array.shape, value.rank)
    if axis == 0 or axis == -1:
        return f"its constant of shape {list(array.shape)} is neither scalar nor one number per channel"
    numbers = array.astype(np.float64).reshape(-1)
    one, zero = np.ones_like(numbers), np.zeros_like(numbers)
    if node.op == "Add":
        return Affine(value, one, numbers, axis)
    if node.op == "Mul":
        return Affine(value, numbers, zero, axis)
    if node.op == "Sub":
        return Affine(value, one, -numbers, axis) if left.constant is None else Affine(value, -one, numbers, axis)
    if left.constant is not None:
        return f"it divides by {value.name}"
    if np.any(numbers == 0):
        return "it divides by zero"
    return Affine(value, 1 / numbers, zero, axis)


def channel_axis(shape: tuple[int, ...], rank: int) -> int | None:
    """The axis of a rank-`rank` value that a constant of `shape` varies along; None if none, -1 if several."""
    if len(shape) > rank:
        return -1
    axes = [rank - len(shape) + position for position, size in enumerate(shape) if size != 1]
    if not axes:
        return None
    return axes[0] if len(axes) == 1 else -1


def channels_out(node: Node) -> int:
    """The axis of its output along which a linear op has channels."""
    return node.output.rank - 1 if node.op == "MatMul" else 1


def channels_in(node: Node) -> int:
    """The axis of its first input along which a linear op has channels."""
    return node.operand(0).rank - 1 if node.op == "MatMul" else 1


def fold_after(linear: Node, affine: Affine) -> str | None:
    """Fold an affine of the output of `linear` into it: W' = scale * W, b' = scale * b + shift, per output channel.

    Returns the reason if it cannot, and then nothing is changed.
    """
    axis = channels_out(linear)
    if not affine.fits(axis):
        return f"it acts along axis {affine.axis}, the channels of {linear.where} are axis {axis}"
    reason = _prepare(linear)
    if reason is not None:
        return reason
    affine = affine.along(axis)
    if linear.op == "MatMul" and affine.shifts:
        return f"{linear.where} has no bias"
    weight = linear.operand(1)
    assert weight.constant is not None
    scaled = _scale_outputs(linear, weight.constant.astype(np.float64), affine.scale)
    bias = linear.constant(2)
    shifted = None if bias is None else affine.scale * bias.astype(np.float64) + affine.shift
    return _store(linear, scaled, shifted)


def fold_before(affine: Affine, linear: Node) -> str | None:
    """Fold an affine of the input of `linear` into it: W' = W * scale, b' = b + W shift, per input channel.

    Padding supplies zeros that the affine never saw, so a shift is exact without padding only.
    Returns the reason if it cannot, and then nothing is changed.
    """
    axis = channels_in(linear)
    if linear.operand(0) == linear.input(1) or linear.constant(1) is None:
        return f"the weight of {linear.where} is not constant"
    if not affine.fits(axis):
        return f"it acts along axis {affine.axis}, the input channels of {linear.where} are axis {axis}"
    if affine.shifts and linear.op == "ConvTranspose":
        return f"{linear.where} sums fewer terms at its border"
    if affine.shifts and linear.op == "Conv" and _pads(linear):
        return f"{linear.where} pads with zeros, which a shift would have to move too"
    reason = _prepare(linear)
    if reason is not None:
        return reason
    if affine.shifts and linear.op == "MatMul":
        return f"{linear.where} has no bias"
    affine = affine.along(axis)
    weight = linear.operand(1)
    assert weight.constant is not None
    array = weight.constant.astype(np.float64)
    scaled, moved = _scale_inputs(linear, array, affine.scale), _scale_inputs(linear, array, affine.shift)
    bias = linear.constant(2)
    shifted = None
    if bias is not None:
        shifted = bias.astype(np.float64)
        if affine.shifts:
            shifted = shifted + moved.reshape(len(moved), -1).sum(axis=1)
    return _store(linear, scaled, shifted)


def _pads(conv: Node) -> bool:
    return any(conv.attribute("pads", ())) or conv.attribute("auto_pad", "NOTSET") not in ("NOTSET", "VALID")


def _prepare(linear: Node) -> str | None:
    reason = None if is_canonical(linear) else canonicalize(linear)
    return None if reason is None else f"{linear.where}: {reason}"


def _scale_outputs(linear: Node, weight: Vector, scale: Vector) -> Vector:
    if linear.op == "MatMul":
        return weight * scale
    if linear.op == "ConvTranspose":
        groups = linear.attribute("group", 1)
        inside = weight.reshape(groups, weight.shape[0] // groups, *weight.shape[1:])
        per_output = scale.reshape(groups, 1, -1, *[1] * (weight.ndim - 2))
        return (inside * per_output).reshape(weight.shape)
    return weight * scale.reshape(-1, *[1] * (weight.ndim - 1))


def _scale_inputs(linear: Node, weight: Vector, scale: Vector) -> Vector:
    if linear.op in ("MatMul", "ConvTranspose"):
        return weight * scale.reshape(-1, *[1] * (weight.ndim - 1))
    if linear.op == "Gemm":
        return weight * scale
    groups = linear.attribute("group", 1)
    inside = weight.reshape(groups, weight.shape[0] // groups, *weight.shape[1:])
    per_input = scale.reshape(groups, 1, -1, *[1] * (weight.ndim - 2))
    return (inside * per_input).reshape(weight.shape)


def _store(linear: Node, weight: Vector, bias: Vector | None) -> str | None:
    with np.errstate(over="ignore"):
        rounded = weight.astype(np.float32)
        vector = None if bias is None else bias.astype(np.float32)
    if not np.isfinite(rounded).all() or (vector is not None and not np.isfinite(vector).all()):
        return f"the weights of {linear.where} would not be finite in float32"
    linear.operand(1).constant = rounded
    if vector is not None:
        linear.operand(2).constant = vector
    return None


def bias_add(matmul: Node) -> Node | None:
    """The Add of a constant over the last axis that alone reads a MatMul of rank above 2: its bias."""
    if matmul.op != "MatMul" or is_product(matmul) or matmul.output.rank <= 2 or matmul.output.is_shared:
        return None
    consumers = matmul.output.consumers
    if len(consumers) != 1 or consumers[0].op != "Add":
        return None
    affine = affine_of(consumers[0])
    fits = isinstance(affine, Affine) and affine.fits(matmul.output.rank - 1)
    return consumers[0] if fits else None
