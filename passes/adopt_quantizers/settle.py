"""Quantizers between the ops of a float graph, dissolved into formats of its values."""

from __future__ import annotations

import numpy as np

from bitsmith.errors import UnsupportedError
from bitsmith.faults import Faults
from bitsmith.ir.formats import Format
from bitsmith.ir.fusion import CLAMPS, materialised
from bitsmith.ir.graph import Graph, Node, Value
from bitsmith.ir.quantizers import QUANTIZER, Quantizer
from bitsmith.ir.sharing import MOVES
from bitsmith.manager import Changes
from bitsmith.passes.adopt_quantizers.channels import share_scales

QUANTIZE_BOTH = "Quantize what each op reads and makes; Relu, Clip and bias may stay in float behind a Conv or Gemm."


class Settled:
    """Which grid each value is on. formats: of values. taps: where the file has the integers of a value.

    What cannot be settled is told to `faults`, and taken for something that can be, so that the rest is looked at.
    """

    def __init__(self, graph: Graph, quantizers: dict[str, Quantizer], changes: Changes, faults: Faults) -> None:
        self._graph = graph
        self._quantizers = quantizers
        self._changes = changes
        self._faults = faults
        self.formats: dict[Value, Format] = {}
        self.taps: dict[Value, Quantizer] = {}

    def settle(self) -> None:
        """Leave no Quantizer in the graph."""
        share_scales(self._graph, self._quantizers, self._faults)
        self._leave_softmax_in_float()
        self._join_nested()
        self._push_above_moves()
        self._join_nested()
        self._join_siblings()
        for node in self._graph.nodes():
            if node.op == QUANTIZER:
                self._dissolve(node)
            else:
                self._follow(node)
        self._keep_apart()

    def _of(self, node: Node) -> Quantizer:
        return self._quantizers[node.name]

    def _leave_softmax_in_float(self) -> None:
        for node in self._graph.nodes(QUANTIZER):
            maker = node.operand(0).producer
            if maker is not None and maker.op == "Softmax" and node.output.is_output and not node.output.consumers:
                self._changes.note(f"what {maker.where} makes is left in float, its quantizer taken off")
                self._graph.bypass(node)

    def _join_nested(self) -> None:
        """Q(Q(x)): one of them, where both round to the same steps and the second holds no more of them."""
        for node in self._graph.nodes(QUANTIZER):
            first = node.operand(0).producer
            if first is None or first.op != QUANTIZER:
                continue
            outer, inner = self._of(node).format, self._of(first).format
            if outer == inner and not (node.output.is_output and first.output.is_output):
                self._graph.bypass(node)
            elif _is_part(outer, inner) and not first.output.is_shared:
                node.set_input(0, first.operand(0))
                self._graph.remove(first)

    def _push_above_moves(self) -> None:
        """Q(move(x)) becomes move(Q(x)), unless x is on another grid already."""
        for move in reversed(self._graph.nodes(*MOVES)):
            readers = [node for node in move.output.consumers if node.op == QUANTIZER]
            formats = {self._of(node).format for node in readers}
            if len(formats) != 1 or len(readers) < len(move.output.consumers) or move.output.is_output:
                continue
            format = formats.pop()
            operands = [one for one in _data(move) if one.constant is None]
            grids = {self._grid(operand) for operand in operands}
            if move.op != "Concat" and grids != {None} and grids != {format}:
                continue
            self.taps[move.output] = self._of(readers[0])
            for operand in operands if grids != {format} else []:
                self._insert(move, operand, format)
            for reader in readers:
                if reader.output.is_output and len(readers) > 1:
                    continue
                self._graph.bypass(reader)

    def _grid(self, value: Value) -> Format | None:
        """The grid that a value is on by what makes it, through moves."""
        maker = value.producer
        if maker is None:
            return None
        if maker.op == QUANTIZER:
            return self._of(maker).format
        if maker.op in MOVES:
            grids = {self._grid(operand) for operand in _data(maker) if operand.constant is None}
            return grids.pop() if len(grids) == 1 else None
        return None

    def _insert(self, reader: Node, value: Value, format: Format) -> None:
        node = self._graph.add_node(QUANTIZER, [value], f"{value.name}.quantizer", value.shape)
        self._quantizers[node.name] = Quantizer(format, "", False)
        for index, operand in enumerate(reader.inputs):
            if operand == value:
                reader.set_input(index, node.output)

    def _join_siblings(self) -> None:
        """One Quantizer for all readers that ask for the same grid."""
        for value in self._graph.values():
            first: dict[Format, Node] = {}
            for node in sorted(value.consumers, key=lambda node: (not self._has_tap(node), node.name)):
                if node.op != QUANTIZER:
                    continue
                kept = first.setdefault(self._of(node).format, node)
                if kept != node and not node.output.is_output:
                    self._graph.replace(node.output, kept.output)
                    self._graph.remove(node)

    def _has_tap(self, node: Node) -> bool:
        return node.op == QUANTIZER and self._of(node).tensor != ""

    def _dissolve(self, node: Node) -> None:
        """A Quantizer becomes the format of what it reads; or a table, where that is on a grid already."""
        value, quantizer = node.operand(0), self._of(node)
        held, fault = self.formats.get(value), self._fault(node)
        if fault is not None:
            self._faults.add(fault)
        if fault is None and held is None:
            self._graph.replace(node.output, value)
            self._graph.remove(node)
        elif held == quantizer.format and not (node.output.is_output and value.is_output):
            self._graph.bypass(node)
        else:
            # With slope 1 it is the identity, from one grid to the other; nothing fuses it.
            node.op = "LeakyRelu"
            node.set_attributes(alpha=1.0)
            self.formats.setdefault(value, quantizer.format)
            value = node.output
        self.formats[value] = quantizer.format
        self.taps.setdefault(value, quantizer)
        self._changes.change(value.name)

    def _fault(self, node: Node) -> UnsupportedError | None:
        """Why a Quantizer can become neither the format of what it reads nor a table."""
        value = node.operand(0)
        if value.constant is not None:
            return UnsupportedError(
                f"it rounds {value.name}, which is the same for all data", where=node.where, fix="Fold it first."
            )
        if value in self.formats or not (value.is_shared or (value.is_input and node.output.is_output)):
            return None
        others = sorted(reader.where for reader in value.consumers if reader != node) or ["the caller"]
        return UnsupportedError(
            f"{value.name} is rounded for one reader, and not, or otherwise, for {others[0]}",
            where=value.producer.where if value.producer is not None else f"input {value.name}",
            fix="Quantize it once, for all that read it.",
        )

    def _follow(self, node: Node) -> None:
        """What moves, or clamps at 0, keeps to the grid of its operand."""
        is_rounded = any(reader.op == QUANTIZER for reader in node.output.consumers)
        if node.op not in MOVES and (node.op != "Relu" or is_rounded):
            return
        grids = {self.formats.get(operand) for operand in _data(node) if operand.constant is None}
        if node.op == "Concat" and len(grids) > 1:
            self._faults.add(
                UnsupportedError(
                    "its operands are on different grids, and its result is not quantized",
                    where=node.where,
                    fix="Quantize its result, or give its operands one scale and zero point.",
                )
            )
            grids = {next(grid for grid in grids if grid is not None)}
        if len(grids) == 1 and None not in grids:
            self.formats[node.output] = next(iter(grids))  # type: ignore[assignment]

    def _keep_apart(self) -> None:
        """Put a Reshape behind each value that is rounded in the file and would not be once fused."""
        while True:
            kept = set(materialised(self._graph))
            swallowed = [
                (value, reader)
                for value in self.formats
                if value not in kept and value.constant is None
                for reader in value.consumers
                if not (reader.op in CLAMPS and self.formats.get(reader.output) == self.formats[value])
            ]
            if not swallowed:
                break
            value, reader = swallowed[0]
            target = self._graph.add_constant(f"{value.name}.shape", np.array([0, *value.sample_shape], np.int64))
            apart = self._graph.add_node("Reshape", [value, target], f"{value.name}.apart", value.shape)
            for index, operand in enumerate(reader.inputs):
                if operand == value:
                    reader.set_input(index, apart.output)
            self.formats[apart.output] = self.formats[value]
        self.formats = {value: one for value, one in self.formats.items() if value in kept}


def _data(move: Node) -> list[Value]:
    """What a node moves elements of."""
    operands = move.inputs if move.op == "Concat" else move.inputs[:1]
    return [operand for operand in operands if operand is not None]


def _is_part(outer: Format, inner: Format) -> bool:
    """Whether the integers of `outer` are some of those of `inner`, standing for the same reals."""
    same = (outer.scale, outer.zero_point) == (inner.scale, inner.zero_point)
    return same and inner.type.lowest <= outer.type.lowest and outer.type.highest <= inner.type.highest
