"""What widths cost, by exact arithmetic over the float graph in normal form: the integer graph will have these figures.

- flash: what `figures` counts of an integer graph's constants, and the target's code. A layer has its weights, packed,
  the tables that its grid is looked up in, 4 bytes a bias, and 4 bytes a multiplier. Interpolated tables are estimated.
- ram: one row per step of the schedule (allocation/memory.py).
- bops: multiply-accumulates x weight bits x activation bits (Baskin et al. 2018, UNIQ, arXiv:1804.10969, section 4,
  without the bits of the sums).
- cycles: multiply-accumulates times what the target's table says of one.
- mean bits: of a weight, and of an element of an activation.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from bitsmith.allocation.budgets import BOPS, CODE, CYCLES, FLASH, MEAN_ACTIVATION_BITS, MEAN_WEIGHT_BITS, RAM
from bitsmith.allocation.memory import Access, activation_bytes, alive
from bitsmith.allocation.problem import Cost, Group, Row
from bitsmith.backend import code_bytes
from bitsmith.figures import grid_bytes
from bitsmith.ir.elementwise import TABULATED
from bitsmith.ir.formats import Plan, packed_bytes
from bitsmith.ir.fusion import before_host, caps_of, channel_caps, materialised
from bitsmith.ir.graph import Graph, Node
from bitsmith.ir.linear import linear_nodes, output_axis, weight_value
from bitsmith.ir.pooling import window_of
from bitsmith.ir.sharing import constant_operands
from bitsmith.ir.softmax import table_lengths
from bitsmith.ir.steps import Step, steps
from bitsmith.target import Target

INT32 = 4


@dataclass(frozen=True)
class Layout:
    """How weights that have no format yet will be stored.

    granularity: of scales, channel or tensor. group: how many inputs share a multiplier; 0 for none.
    """

    granularity: str = "channel"
    group: int = 0


def costs_of(graph: Graph, target: Target, groups: Sequence[Group], plan: Plan, layout: Layout) -> dict[str, Cost]:
    """Every cost that can be told, by name; cycles only where the target has a table of them."""
    told = _Costs(graph, target, groups, plan, layout)
    found = {
        FLASH: Cost((told.flash(),)),
        RAM: Cost(tuple(told.ram())),
        BOPS: Cost((told.work(bit_operations),)),
        MEAN_WEIGHT_BITS: Cost((told.mean_weight_bits(),)),
        MEAN_ACTIVATION_BITS: Cost((told.mean_activation_bits(),)),
    }
    code = code_bytes(None, target)
    if code is not None:
        found[CODE] = Cost((Row(code),))
    if target.cycles:
        # Pairs that the table lacks are vetoed; what they would cost is never asked.
        found[CYCLES] = Cost((told.work(lambda weight, activation: target.cycles.get(f"{weight}x{activation}", 0.0)),))
    return found


def vetoes_of(
    graph: Graph, target: Target, groups: Sequence[Group]
) -> dict[tuple[str, str], frozenset[tuple[float, float]]]:
    """The pairs of widths that the target's table of cycles does not have, for each layer's weight and input."""
    if not target.cycles:
        return {}
    of = group_by_value(groups)
    found = {}
    for node in linear_nodes(graph):
        weight, read = of[weight_value(node).name], of[node.operand(0).name]
        lacking = {(b, c) for b in weight.widths for c in read.widths if f"{b}x{c}" not in target.cycles}
        if lacking:
            found[weight.name, read.name] = frozenset(lacking)
    return found


def group_by_value(groups: Sequence[Group]) -> dict[str, Group]:
    """The group of each value, by the value's name."""
    return {name: group for group in groups for name in group.members}


class _Costs:
    """The graph in figures."""

    def __init__(self, graph: Graph, target: Target, groups: Sequence[Group], plan: Plan, layout: Layout) -> None:
        self._target, self._plan, self._layout = target, plan, layout
        self._groups = groups
        self._of = group_by_value(groups)
        self._steps = steps(graph)
        self._inputs = graph.inputs
        self._outputs = graph.outputs
        self._constants = constant_operands(graph)
        self._activations = materialised(graph)

    def flash(self) -> Row:
        """Bytes of constants."""
        fixed, sums = code_bytes(None, self._target) or 0, _Sums()
        for step in self._steps:
            node = step.leader
            caps = caps_of(node)
            fixed += 0 if caps is None else caps.size
            if step.is_linear:
                weight = self._of[weight_value(node).name]
                sums.single(weight, partial(self._layer_bytes, node))
            elif node.op in ("Add", "Sub"):
                fixed += 2 * INT32
            elif node.op in ("Mul", "MatMul"):
                fixed += INT32
            elif node.op in ("AveragePool", "GlobalAveragePool"):
                fixed += INT32 * _multipliers(node)
            elif node.op == "Softmax":
                fixed += INT32
                sums.single(self._of[node.operand(0).name], _exponential_bytes)
            elif node.op == "LayerNormalization":
                fixed += 3 * INT32 * node.operand(0).sample_shape[-1]
            elif node.op in TABULATED:
                read, made = self._of[node.operand(0).name], self._of[step.output.name]
                sums.pair(read, made, partial(table_bytes, _table_rows(node)))
        for value in self._constants:
            array = value.constant
            size = 0 if array is None else array.size
            sums.single(self._of[value.name], partial(_held_bytes, size))
        return sums.row(fixed)

    def ram(self) -> Iterator[Row]:
        """Bytes of live activations, step by step."""
        schedule = [
            Access(step.leader.name, tuple(v.name for v in step.reads), step.output.name, step.leader.op == "Reshape")
            for step in self._steps
        ]
        elements = {value.name: math.prod(value.sample_shape) for value in self._activations}
        outputs = [before_host(value).name for value in self._outputs]
        for where, names in alive([value.name for value in self._inputs], schedule, outputs).items():
            sums = _Sums()
            for name in names:
                sums.single(self._of[name], partial(activation_bytes, elements[name], target=self._target))
            yield sums.row(0, where)

    def work(self, cost: Callable[[float, float], float]) -> Row:
        """Multiply-accumulates, each at what it costs for its bits of weight and of activation."""
        sums = _Sums()
        for step in self._steps:
            if step.is_linear:
                weight, read = self._of[weight_value(step.leader).name], self._of[step.leader.operand(0).name]
                sums.pair(weight, read, partial(_times, _macs(step), cost))
        return sums.row(0)

    def mean_weight_bits(self) -> Row:
        """Bits of all weights over how many they are."""
        counts = {weight_value(step.leader).name: _weights(step.leader) for step in self._steps if step.is_linear}
        return self._mean(counts)

    def mean_activation_bits(self) -> Row:
        """Bits of all elements of activations over how many they are."""
        return self._mean({value.name: math.prod(value.sample_shape) for value in self._activations})

    def _mean(self, counts: Mapping[str, float]) -> Row:
        total, sums = sum(counts.values()) or 1, _Sums()
        for name, count in counts.items():
            sums.single(self._of[name], partial(_part, count / total))
        return sums.row(0)

    def _layer_bytes(self, node: Node, bits: float) -> int:
        """Bytes of a linear op's constants with weights of this width: weights, grid, biases, multipliers."""
        weights = _weights(node)
        channels = _channels(node)
        name = weight_value(node).name
        if name in self._plan:
            settled = self._plan[name]
            grid, scales = grid_bytes(settled.grid), len(settled.scale)
        else:
            scales = 1 if self._layout.granularity == "tensor" else channels
            grid = self._grid_bytes(bits, scales, weights // channels)
        return packed_bytes(weights, bits) + grid + INT32 * (channels + scales)

    def _grid_bytes(self, bits: float, channels: int, inputs: int) -> int:
        """A byte per group's multiplier; a bit per channel that says where its 4 levels start; else nothing."""
        if self._layout.group:
            return channels * math.ceil(inputs / self._layout.group)
        return math.ceil(channels / 8) if bits == 2 else 0


class _Sums:
    """A row under construction; terms of the same groups add up."""

    def __init__(self) -> None:
        self._singles: dict[str, dict[float, float]] = {}
        self._pairs: dict[tuple[str, str], dict[tuple[float, float], float]] = {}

    def single(self, group: Group, cost: Callable[[float], float]) -> None:
        terms = self._singles.setdefault(group.name, dict.fromkeys(group.widths, 0))
        for bits in group.widths:
            terms[bits] += cost(bits)

    def pair(self, one: Group, other: Group, cost: Callable[[float, float], float]) -> None:
        both = [(bits, more) for bits in one.widths for more in other.widths]
        terms = self._pairs.setdefault((one.name, other.name), dict.fromkeys(both, 0))
        for bits, more in both:
            terms[bits, more] += cost(bits, more)

    def row(self, constant: float, where: str = "") -> Row:
        return Row(constant, self._singles, self._pairs, where)


def bit_operations(weight: float, activation: float) -> int:
    """Of one multiply-accumulate; a ternary weight is multiplied by as an integer of 2 bits."""
    return math.ceil(weight) * math.ceil(activation)


def _times(macs: int, cost: Callable[[float, float], float], weight: float, activation: float) -> float:
    return macs * cost(weight, activation)


def _part(part: float, bits: float) -> float:
    return part * bits


def table_bytes(rows: int, read: float, made: float) -> int:
    """An entry for each integer of the input's type; of more than 8 bits, that is the most that it can take.

    How many knots are kept there depends on the function and on scales that are not known yet: there are never more
    bytes of them than of entries, and a budget that is kept by this is kept.
    """
    return rows * _held_bytes(1 << int(read), made)


def _exponential_bytes(read: float) -> int:
    """Of the tables of a Softmax's exponentials."""
    return INT32 * sum(table_lengths(int(read)))


def _held_bytes(elements: int, bits: float) -> int:
    """Of integers that are not packed: entries of tables, constant operands."""
    return elements * (1 if bits <= 8 else 2)


def _weights(node: Node) -> int:
    array = weight_value(node).constant
    return 0 if array is None else array.size


def _channels(node: Node) -> int:
    array = weight_value(node).constant
    return 1 if array is None else int(array.shape[output_axis(node)])


def _macs(step: Step) -> int:
    """Of one sample: elements made times the weights that each one reads."""
    return math.prod(step.output.sample_shape) * (_weights(step.leader) // _channels(step.leader))


def _multipliers(node: Node) -> int:
    """One, unless windows at different positions average over different counts."""
    counts = window_of(node).counts(include_pad=bool(node.attribute("count_include_pad", 0)))
    return 1 if (counts == counts.flat[0]).all() else counts.size


def _table_rows(node: Node) -> int:
    if node.op == "PRelu":
        slope = node.constant(1)
        return 1 if slope is None else slope.size
    if node.op == "Min":
        caps = channel_caps(node)
        return 1 if caps is None else caps.size
    return 1
