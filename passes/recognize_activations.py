"""Activations by name, where an exporter wrote them out."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from bitsmith.ir.graph import Graph, Node, Value
from bitsmith.manager import Changes, Pass
from bitsmith.module import Module
from bitsmith.passes.affine import Affine, affine_of

_WIDEST = float(np.finfo(np.float32).max)
_CLOSE = 1e-6


@dataclass(frozen=True)
class RecognizeActivations(Pass):
    """Give what is an activation its name, so that it is one node.

    Max(x, 0), Clip(x, 0, inf), LeakyRelu with slope 0           Relu
    Max(x, low), Min(x, high), a Clip of a Clip or Relu          Clip, with both bounds
    c * Clip(k * x + a, 0, h) with c * h = 1                     HardSigmoid, alpha = c * k, beta = c * a
    x * HardSigmoid(x), alpha = 1/6, beta = 1/2                  HardSwish (Howard et al. 2019, section 5.2)
    c * x * Clip(x + 3, 0, 6) with c = 1/6, in any order         HardSwish
    c * x * (Erf(x / sqrt(2)) + 1) with c = 1/2, in any order    Gelu (Hendrycks and Gimpel 2016, arXiv:1606.08415)
    Neg(x)                                                       Mul by -1

    Numbers agree when they are within one part in a million, which is what float32 makes of 1/6.
    """

    name: ClassVar[str] = "recognize-activations"

    def run(self, module: Module) -> Changes:
        changes = Changes()
        graph = module.graph
        for recognize in (_clamp, _hard_sigmoid, _hard_swish, _gelu):
            for node in graph.nodes():
                if node.outputs and recognize(graph, node):
                    changes.change(node)
            graph.prune()
        return changes


def _clamp(graph: Graph, node: Node) -> bool:
    """Relu and Clip from whatever clamps, and Mul from Neg."""
    if node.op == "Neg":
        node.op = "Mul"
        node.set_input(1, graph.add_constant(f"{node.name}.minus_one", np.full((), -1, np.float32)))
        return True
    found = _bounds(node)
    if found is None:
        return False
    value, low, high = found
    inner = None if value.is_shared or value.producer is None else _bounds(value.producer)
    if inner is not None and inner[1] <= inner[2] and low <= high:
        value = inner[0]
        low, high = (min(max(bound, low), high) for bound in inner[1:])
    if low == 0 and high >= _WIDEST:
        return _become(node, "Relu", [value])
    bounds = [np.full((), bound, np.float32) for bound in (max(low, -_WIDEST), min(high, _WIDEST))]
    if node.op == "Clip" and value == node.input(0) and _has_bounds(node, bounds):
        return False
    roles = ("low", "high")
    constants = [graph.add_constant(f"{node.name}.{r}", b) for r, b in zip(roles, bounds, strict=True)]
    return _become(node, "Clip", [value, *constants])


def _has_bounds(node: Node, bounds: list[npt.NDArray[np.float32]]) -> bool:
    held = [node.constant(index) for index in (1, 2)]
    return all(a is not None and a.shape == () and a == b for a, b in zip(held, bounds, strict=True))


def _become(node: Node, op: str, operands: list[Value], **attributes: float) -> bool:
    if node.op == op and node.inputs == tuple(operands):
        return False
    node.op = op
    node.drop_attributes(*node.attributes)
    while node.inputs:
        node.drop_input()
    for index, operand in enumerate(operands):
        node.set_input(index, operand)
    node.set_attributes(**attributes)
    return True


def _bounds(node: Node) -> tuple[Value, float, float] | None:
    """What a node clamps, and the bounds, infinite where there is none; None if it does not clamp."""
    if node.op == "Relu" or (node.op == "LeakyRelu" and node.attribute("alpha", 0.01) == 0):
        return node.operand(0), 0.0, math.inf
    if node.op == "Clip":
        bounds = []
        for index, default in ((1, -math.inf), (2, math.inf)):
            operand = node.input(index)
            if operand is None:
                bounds.append(default)
            elif operand.constant is None or operand.constant.size != 1:
                return None
            else:
                bounds.append(float(operand.constant.item()))
        return node.operand(0), bounds[0], bounds[1]
    if node.op in ("Max", "Min") and len(node.inputs) == 2:
        constant = next((v for v in node.inputs if v is not None and v.constant is not None), None)
        value = next((v for v in node.inputs if v is not None and v.constant is None), None)
        if constant is None or value is None or constant.constant is None or constant.constant.size != 1:
            return None
        if value.shape != node.output.shape or value.dtype != np.float32:
            return None
        bound = float(constant.constant.item())
        return (value, bound, math.inf) if node.op == "Max" else (value, -math.inf, bound)
    return None


@dataclass(frozen=True)
class _Ramp:
    """`clip(alpha * x + beta, 0, top)` of the value x."""

    value: Value
    alpha: float
    beta: float
    top: float

    def times(self, factor: float) -> _Ramp:
        return _Ramp(self.value, factor * self.alpha, factor * self.beta, factor * self.top)

    @property
    def reaches_one(self) -> bool:
        return math.isclose(self.top, 1, rel_tol=_CLOSE)

    @property
    def is_hard_swish_gate(self) -> bool:
        return (
            self.reaches_one
            and math.isclose(self.alpha, 1 / 6, rel_tol=_CLOSE)
            and math.isclose(self.beta, 1 / 2, rel_tol=_CLOSE)
        )


def _ramps(value: Value) -> list[_Ramp]:
    """The ways to read a value as a ramp of something: of what the clamp reads, or of what made that."""
    node = value.producer
    if node is None:
        return []
    if node.op == "HardSigmoid":
        alpha, beta = (float(node.attribute(name, default)) for name, default in (("alpha", 0.2), ("beta", 0.5)))
        return [_Ramp(node.operand(0), alpha, beta, 1.0)]
    found = _bounds(node)
    if found is None or found[1] != 0 or not math.isfinite(found[2]) or found[2] >= _WIDEST or node.op == "Relu":
        return []
    clamped, _, top = found
    ramps = [_Ramp(clamped, 1.0, 0.0, top)]
    inner = None if clamped.is_shared or clamped.producer is None else _uniform(clamped.producer)
    if inner is not None:
        ramps.append(_Ramp(inner.value, float(inner.scale[0]), float(inner.shift[0]), top))
    return ramps


def _uniform(node: Node) -> Affine | None:
    """The affine that a node is, if it is one for all elements."""
    if node.op not in ("Add", "Sub", "Mul", "Div"):
        return None
    affine = affine_of(node)
    return affine if isinstance(affine, Affine) and affine.scale.size == 1 else None


def _scaling(node: Node) -> Affine | None:
    affine = _uniform(node)
    return affine if affine is not None and not affine.shifts and affine.scale[0] > 0 else None


def _hard_sigmoid(graph: Graph, node: Node) -> bool:
    outer = _scaling(node)
    if outer is None or outer.value.is_shared:
        return False
    for ramp in reversed(_ramps(outer.value)):
        scaled = ramp.times(float(outer.scale[0]))
        if scaled.reaches_one:
            return _become(node, "HardSigmoid", [ramp.value], alpha=scaled.alpha, beta=scaled.beta)
    return False


def _hard_swish(graph: Graph, node: Node) -> bool:
    for value, factor, gate in _gated(node):
        if any(ramp.value == value and ramp.times(factor).is_hard_swish_gate for ramp in _ramps(gate)):
            return _become(node, "HardSwish", [value])
    return False


def _gelu(graph: Graph, node: Node) -> bool:
    for value, factor, gate in _gated(node):
        outer = _chain(gate)
        erf = outer.value.producer
        if erf is None or erf.op != "Erf" or outer.value.is_shared:
            continue
        halves = factor * outer.scale[0], factor * outer.shift[0]
        inner = _chain(erf.operand(0))
        is_plain = inner.value == value and not inner.shifts
        if is_plain and _agree(*halves, 0.5) and _agree(float(inner.scale[0]), math.sqrt(0.5)):
            return _become(node, "Gelu", [value])
    return False


def _agree(*numbers: float) -> bool:
    return all(math.isclose(number, numbers[-1], rel_tol=_CLOSE) for number in numbers)


def _chain(value: Value) -> Affine:
    """A value as an affine, one for all elements, of what others see or what is none."""
    found = Affine(value, np.ones(1), np.zeros(1), None)
    while found.value.producer is not None and not found.value.is_shared:
        one = _uniform(found.value.producer)
        if one is None:
            break
        found = found.after(one)
    return found


def _gated(node: Node) -> Iterator[tuple[Value, float, Value]]:
    """The ways to read a node as a number times a value times another, which nothing else reads."""
    outer = _scaling(node)
    factor, product = 1.0, node
    if outer is not None:
        if outer.value.producer is None or outer.value.is_shared:
            return
        factor, product = float(outer.scale[0]), outer.value.producer
    if product.op != "Mul" or len(product.inputs) != 2:
        return
    for one, other in (product.inputs, product.inputs[::-1]):
        if one is None or other is None or one.constant is not None or other.is_shared:
            continue
        yield one, factor, other
        inner = None if one.is_shared or one.producer is None else _scaling(one.producer)
        if inner is not None:
            yield inner.value, factor * float(inner.scale[0]), other
