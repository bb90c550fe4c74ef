"""Orders of steps, against all orders that there are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from hypothesis import HealthCheck, given, settings

from bitsmith.backends.c import build
from bitsmith.backends.c.arena import Arena
from bitsmith.backends.c.program import prepare
from bitsmith.backends.c.schedule import schedule
from bitsmith.backends.c.stage import Step
from bitsmith.ir.integer import Add, IntegerGraph, Operation, Value
from bitsmith.ir.validate import validate
from tests.backends.c.agreement import HOST, assert_equal
from tests.backends.onnxruntime.graphs import X, Y, add, conv
from tests.strategies import integer_graphs

SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large]
BRANCHING = ["Conv", "Add", "Mul", "Concat", "Table", "AveragePool"]


def orders(steps: tuple[Step, ...], arena: Arena, done: tuple[int, ...] = ()) -> Iterator[tuple[int, ...]]:
    """Every order that may be executed."""
    if len(done) == len(steps):
        yield done
    made = {*arena.graph.inputs, *arena.graph.constants, *(steps[index].output.name for index in done)}
    for index, step in enumerate(steps):
        if index not in done and all(arena.homes[one.name] in made for one in step.inputs):
            yield from orders(steps, arena, (*done, index))


def fullest(steps: tuple[Step, ...], arena: Arena, order: tuple[int, ...]) -> int:
    return max(arena.needs([steps[index] for index in order]).values())


@settings(max_examples=25, suppress_health_check=SLOW)
@given(graph=integer_graphs(BRANCHING, most=6))
def test_no_order_needs_less(graph: IntegerGraph) -> None:
    arena, steps, _ = prepare(graph, HOST)
    found = schedule(steps, arena)
    every = {order: fullest(steps, arena, order) for order in orders(steps, arena)}
    assert found.is_least
    assert every[found.order] == found.need == min(every.values())


@settings(max_examples=25, suppress_health_check=SLOW)
@given(graph=integer_graphs(BRANCHING, most=6))
def test_where_not_all_is_tried_the_bound_holds(graph: IntegerGraph) -> None:
    arena, steps, _ = prepare(graph, HOST)
    found = schedule(steps, arena, most=2)
    every = {order: fullest(steps, arena, order) for order in orders(steps, arena)}
    assert (
        found.bound
        <= min(every.values())
        <= every[found.order]
        == found.need
        <= fullest(steps, arena, tuple(range(len(steps))))
    )


def branches(count: int, size: int = 8, wide: int = 16) -> IntegerGraph:
    """Branches that grow wide and become narrow again, all begun before any is ended, and their sum."""
    operations: list[Operation] = []
    values = {"x": Value("x", (2, size, size), X)}

    def convolve(source: str, target: str, outputs: int) -> None:
        (one,) = conv((size, size), outputs, values[source].shape[0], x=X, y=X, seed=len(operations))
        operations.append(replace(one, name=f"make_{target}", inputs=(source,), output=target))
        values[target] = Value(target, (outputs, size, size), X)

    for index in range(count):
        convolve("x", f"wide{index}", wide)
    for index in range(count):
        convolve(f"wide{index}", f"narrow{index}", 1)
    total = "narrow0"
    (example,) = add((1, 1))
    assert isinstance(example, Add)
    for index in range(1, count):
        name = f"sum{index}"
        operations.append(replace(example, name=f"make_{name}", inputs=(total, f"narrow{index}"), output=name))
        values[name] = Value(name, (1, size, size), Y)
        total = name
    graph = IntegerGraph("branches", values, ("x",), (total,), tuple(operations))
    validate(graph)
    return graph


def test_branches_are_ended_one_after_another() -> None:
    graph = branches(4)
    arena, steps, _ = prepare(graph, HOST)
    found = schedule(steps, arena)
    wide = 16 * 8 * 8
    assert max(arena.needs(steps).values()) > 4 * wide
    assert found.is_least
    assert found.need < 2 * wide
    program = assert_equal(graph)
    assert program.memory.total < 2 * wide
    assert [stage.output.name for stage in program.stages] != [step.output.name for step in steps]


def test_many_branches_are_left_to_a_beam() -> None:
    arena, steps, _ = prepare(branches(9), HOST)
    found = schedule(steps, arena, most=20)
    assert not found.is_least
    assert found.bound < found.need < 2 * 16 * 8 * 8
    assert np.all(np.sort(found.order) == np.arange(len(steps)))


def test_an_order_that_cannot_be_bettered_stays() -> None:
    graph = branches(1)
    assert [step.site.operation for step in build(graph, HOST).steps] == list(graph)
