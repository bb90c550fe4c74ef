"""What this backend cannot be asked for, and how much of it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec

from bitsmith.backend import Refusal
from bitsmith.errors import TargetError
from bitsmith.ir.fusion import is_attention
from bitsmith.ir.graph import Graph, Node
from bitsmith.registry import suggest
from bitsmith.target import Target

INSTALL = "pip install 'bitsmith[rtl]'"


@dataclass(frozen=True)
class Options:
    """levels: adders, one after the other, between two registers. macs: the most multiply-accumulates of a sample."""

    levels: int = 5
    macs: int = 60_000

    @classmethod
    def of(cls, target: Target) -> Options:
        """What a target asks for; TargetError for what no option is."""
        found = {}
        for name, value in target.options.items():
            if name not in cls.__dataclass_fields__:
                raise TargetError(
                    "there is no such option",
                    where=f"target {target.name}, {name}",
                    fix=suggest(name, cls.__dataclass_fields__),
                )
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise TargetError(f"must be a positive integer, not {value!r}", where=f"target {target.name}, {name}")
            found[name] = value
        return cls(**found)


def refusals(graph: Graph, target: Target) -> list[Refusal]:
    """Why a graph cannot be unrolled: asked before any work is done."""
    found = [
        Refusal(node.where, "what attention computes has no form as a circuit here", "Use another target.")
        for node in graph.nodes()
        if is_attention(node)
    ]
    if not installed():
        found.append(Refusal(f"target {target.name}", "da4ml is not installed", f"Run: {INSTALL}."))
    try:
        limit = Options.of(target).macs
    except TargetError as fault:
        return [*found, Refusal(fault.where, fault.what, fault.fix)]
    work = {node: macs(node) for node in graph.nodes()}
    total = sum(work.values())
    if total > limit:
        largest = max(work, key=lambda node: work[node])
        found.append(
            Refusal(
                largest.where,
                f"{total:,} multiply-accumulates a sample, {work[largest]:,} of them here, are too many to be "
                f"unrolled into adders of their own: {limit:,} are the most",
                "Use a smaller model or input, or another target; options.macs of a target file is the limit.",
            )
        )
    return found


def installed() -> bool:
    """Whether da4ml is there to be imported."""
    return find_spec("da4ml") is not None


def require_installed() -> None:
    """Raise TargetError without da4ml."""
    if not installed():
        raise TargetError("da4ml is not installed", where="backend rtl", fix=f"Run: {INSTALL}")


def macs(node: Node) -> int:
    """Multiply-accumulates of a sample, or comparisons and additions where these are what a node does."""
    return WORK[node.op](node) if node.op in WORK else 0


def _weighted(node: Node) -> int:
    weight = node.constant(1)
    if weight is None:
        return 0
    if node.op == "Conv":
        return int(weight[0].size) * math.prod(node.output.sample_shape)
    rows = math.prod(node.output.sample_shape[:-1])
    return int(weight.size) * rows


def _elements(node: Node) -> int:
    return math.prod(node.operand(0).sample_shape)


def _windows(node: Node) -> int:
    return int(math.prod(node.attribute("kernel_shape", [1]))) * math.prod(node.output.sample_shape)


WORK: dict[str, Callable[[Node], int]] = {
    "Conv": _weighted,
    "Gemm": _weighted,
    "MatMul": _weighted,
    "MaxPool": _windows,
    "AveragePool": _windows,
    "GlobalAveragePool": _elements,
    "Add": _elements,
    "Sub": _elements,
    "Mul": _elements,
}
