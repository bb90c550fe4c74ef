"""What is left of normalisation and scaling as a depthwise convolution, so that later stages know one form."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from bitsmith.ir.fusion import factor_of
from bitsmith.ir.graph import Graph, Node, Value
from bitsmith.manager import Changes, Pass
from bitsmith.module import Module
from bitsmith.passes.affine import ELEMENTWISE, Affine, affine_of, bias_add

_NO_CONSTANT = "no operand is constant"


@dataclass(frozen=True)
class LowerAffine(Pass):
    """Turn y = scale * x + shift per channel into a Conv of kernel 1 with one group a channel.

    A chain of affines becomes one: s2 * (s1 * x + t1) + t2 = (s2 * s1) * x + (s2 * t1 + t2). A value of rank 2 has
    no space to slide over: it becomes [N, C, 1] around the Conv.
    """

    name: ClassVar[str] = "lower-affine"

    def run(self, module: Module) -> Changes:
        changes = Changes()
        graph = module.graph
        while True:
            candidates = [node for node in graph.nodes("BatchNormalization", *ELEMENTWISE) if _is_last(node)]
            if not candidates:
                break
            for node in candidates:
                affine, chain = _chain(node)
                _lower(graph, node, affine)
                for link in chain:
                    graph.remove(link)
                    changes.change(link)
        for node in graph.nodes("BatchNormalization", *ELEMENTWISE):
            reason = _refusal(node)
            if reason is not None and reason != _NO_CONSTANT:
                changes.refuse(node, reason)
        return changes


def _refusal(node: Node) -> str | None:
    """Why a node is no per-channel affine to lower; None where it is one."""
    if node.op != "BatchNormalization" and node.constant(0) is None and node.constant(1) is None:
        return _NO_CONSTANT
    affine = affine_of(node)
    if isinstance(affine, str):
        return affine
    producer = affine.value.producer
    if producer is not None and bias_add(producer) == node:
        return f"it is the bias of {producer.where}"
    if producer is not None and factor_of(producer) == node:
        return f"it scales the product of {producer.where}"
    if not affine.fits(1):
        return f"it acts along axis {affine.axis}, and channels are axis 1"
    if affine.value.rank not in (2, 3, 4):
        return f"{affine.value.name} has rank {affine.value.rank}, not 2 to 4"
    return None


def _is_last(node: Node) -> bool:
    """Whether a node is an affine to lower, and the last of its chain."""
    if _refusal(node) is not None:
        return False
    made = node.output
    return made.is_shared or not made.consumers or _refusal_as_link(made.consumers[0]) is not None


def _refusal_as_link(node: Node) -> str | None:
    return "not an affine" if node.op not in ("BatchNormalization", *ELEMENTWISE) else _refusal(node)


def _chain(node: Node) -> tuple[Affine, list[Node]]:
    """The affine that a node and the affines right before it make up, and those nodes, last first."""
    affine = affine_of(node)
    assert isinstance(affine, Affine)
    chain = [node]
    while True:
        producer = affine.value.producer
        if producer is None or affine.value.is_shared or _refusal_as_link(producer) is not None:
            return affine, chain
        first = affine_of(producer)
        assert isinstance(first, Affine)
        affine = affine.after(first)
        chain.append(producer)


def _lower(graph: Graph, node: Node, affine: Affine) -> None:
    """Put a depthwise Conv beside `node` and let it take its output's place."""
    value, made = affine.value, node.output
    affine = affine.along(1)
    channels = affine.scale.size
    if value.rank == 2:
        value = _reshape(graph, value, node.name, (channels, 1))
    space = value.rank - 2
    weight = graph.add_constant(f"{node.name}.weight", affine.scale.astype(np.float32).reshape(-1, *[1] * (space + 1)))
    bias = graph.add_constant(f"{node.name}.bias", affine.shift.astype(np.float32))
    conv = graph.add_node(
        "Conv",
        [value, weight, bias],
        node.name,
        value.shape,
        kernel_shape=[1] * space,
        strides=[1] * space,
        dilations=[1] * space,
        pads=[0] * 2 * space,
        group=channels,
    )
    last = conv.output if made.rank > 2 else _reshape(graph, conv.output, node.name, (channels,))
    graph.replace(made, last)


def _reshape(graph: Graph, value: Value, hint: str, sample: tuple[int, ...]) -> Value:
    target = graph.add_constant(f"{hint}.shape", np.array([0, *sample], np.int64))
    return graph.add_node("Reshape", [value, target], f"{hint}.reshape", (None, *sample)).output
