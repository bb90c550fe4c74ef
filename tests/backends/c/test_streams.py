"""Layers made row by row: what lies where, that nothing is made twice, and that the C computes what it should."""

from __future__ import annotations

import subprocess
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bitsmith.backends.c import CBackend, build, golden
from bitsmith.backends.c.host import STRICT, require_compiler
from bitsmith.backends.c.machines import run_program
from bitsmith.backends.c.rolling import Call, Layer, roll
from bitsmith.backends.c.rows import Reach
from bitsmith.backends.c.stream import Stream
from bitsmith.ir.integer import IntegerGraph, Operation, Value
from bitsmith.ir.validate import validate
from bitsmith.target import load_target
from tests.backends.c.agreement import HOST, assert_equal
from tests.backends.c.needs import command, machine_of
from tests.backends.onnxruntime.graphs import X, conv
from tests.strategies import integer_graphs

SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large]
STREAMED = ["Conv", "Conv", "MaxPool", "AveragePool", "Add", "Table", "Concat"]


@st.composite
def layered(draw: st.DrawFn) -> tuple[list[Layer], dict[str, int]]:
    """Layers, some with two operands, each of which reads one that was made before; and the rows of every value."""
    heights = {"v0": draw(st.integers(1, 12))}
    layers: list[Layer] = []
    for index in range(draw(st.integers(1, 5))):
        source = f"v{index}"
        taps = draw(st.integers(1, min(3, heights[source])))
        reach = Reach(taps, draw(st.integers(1, 3)), draw(st.integers(0, taps - 1)))
        rows = (heights[source] + 2 * reach.pad - taps) // reach.stride + 1
        operands = [(source, reach)]
        alike = [name for name, height in heights.items() if height == rows]
        if alike and draw(st.booleans()):
            operands.append((draw(st.sampled_from(alike)), Reach()))
        heights[f"v{index + 1}"] = rows
        layers.append(Layer(f"v{index + 1}", tuple(operands)))
    if draw(st.booleans()):
        layers.insert(0, Layer("v0", ()))
    return layers, heights


@given(problem=layered(), at_once=st.integers(1, 4))
def test_every_row_is_made_once_and_is_there_when_it_is_read(
    problem: tuple[list[Layer], dict[str, int]], at_once: int
) -> None:
    """The events are played on buffers that hold the numbers of rows, of which each call must find the right ones."""
    layers, heights = problem
    rolling = roll(layers, heights, at_once)
    buffers = {name: [-1] * rows for name, rows in rolling.capacity.items()}
    whole = {layers[-1].output: [-1] * heights[layers[-1].output]}
    if "v0" not in buffers:
        whole["v0"] = list(range(heights["v0"]))
    made: Counter[tuple[str, int]] = Counter()
    for event in (event for events in rolling.rounds for event in events):
        if not isinstance(event, Call):
            buffer = buffers[event.value]
            buffer[: event.count] = buffer[event.start : event.start + event.count]
            continue
        layer = layers[event.layer]
        for (name, reach), span, place in zip(layer.operands, event.reads, event.places, strict=True):
            wanted = {
                row
                for made_row in range(event.first, event.end)
                for row in range(made_row * reach.stride - reach.pad, made_row * reach.stride - reach.pad + reach.taps)
            }
            inside = sorted(row for row in wanted if 0 <= row < heights[name])
            assert set(inside) <= set(range(span.first, span.end))
            assert (span.before, span.after) == (-min(*wanted, 0), max(*wanted, heights[name] - 1) - heights[name] + 1)
            held = {**whole, **buffers}[name]
            assert held[place : place + span.count] == list(range(span.first, span.end))
        target = whole[layer.output] if layer.output in whole else buffers[layer.output]
        rows, size = list(range(event.first, event.end)), len(target)
        target[event.target : event.target + len(rows)] = rows
        assert len(target) == size
        made.update((layer.output, row) for row in rows)
    assert whole[layers[-1].output] == list(range(heights[layers[-1].output]))
    assert set(made.values()) == {1}


@settings(max_examples=10, suppress_health_check=SLOW)
@given(graph=integer_graphs(STREAMED, most=6))
def test_the_least_memory_computes_the_same(graph: IntegerGraph) -> None:
    least = assert_equal(graph, target=replace(HOST, ram=1))
    assert least.memory.total <= build(graph, HOST).memory.total


@settings(max_examples=4, suppress_health_check=SLOW)
@given(graph=integer_graphs(STREAMED, most=4), name=st.sampled_from(["cortex-m4", "cortex-m55", "rv32e"]))
def test_so_do_kernels_of_other_machines(graph: IntegerGraph, name: str) -> None:
    assert_equal(graph, target=replace(load_target(name), ram=1))


def chain(depth: int, size: int = 16, channels: int = 8) -> IntegerGraph:
    """3x3 convolutions one after another, all of one shape but the last, which makes one channel."""
    operations: list[Operation] = []
    values = {"v0": Value("v0", (2, size, size), X)}
    for index in range(depth):
        outputs = 1 if index == depth - 1 else channels
        (one,) = conv((size, size), outputs, values[f"v{index}"].shape[0], x=X, y=X, seed=index)
        operations.append(replace(one, name=f"conv_{index}", inputs=(f"v{index}",), output=f"v{index + 1}"))
        values[f"v{index + 1}"] = Value(f"v{index + 1}", (outputs, size, size), X)
    graph = IntegerGraph("chain", values, ("v0",), (f"v{depth}",), tuple(operations))
    validate(graph)
    return graph


@pytest.mark.parametrize("name", ["host", "cortex-m4"])
def test_a_deep_and_wide_image_is_never_there_whole(name: str) -> None:
    graph = chain(3)
    target = load_target(name)
    whole = build(graph, target)
    # Two values of 16 x 16 x 8 bytes, one a little over the other.
    assert 2048 < whole.memory.total < 6000
    less = assert_equal(graph, target=replace(target, ram=whole.memory.total * 3 // 4))
    assert less.memory.total <= whole.memory.total * 3 // 4
    assert any(isinstance(stage, Stream) for stage in less.stages)
    # Functions for the first, for inner and for the last rows of a layer, which share its constants.
    assert less.flash == whole.flash
    assert less.macs == whole.macs


def test_a_budget_that_only_slower_kernels_keep_row_by_row_is_kept() -> None:
    """What is least with the fastest kernels, and with the leanest, is told by targets that leave no other choice."""
    graph, target = chain(4), load_target("cortex-m4")
    fastest = {"conv_0": "conv", "conv_1": "dsp conv", "conv_2": "conv", "conv_3": "conv"}
    assert [step.kernel.family for step in build(graph, target).steps] == [*fastest.values()]

    def least(families: dict[str, str]) -> int:
        kernels = ", ".join(f"{name}={family}" for name, family in families.items())
        return build(graph, replace(target, ram=1, options={"kernels": kernels})).memory.total

    fast, lean = least(fastest), least(dict.fromkeys(fastest, "grouped conv"))
    assert lean < fast
    for ram in (lean, fast - 1):
        program = assert_equal(graph, target=replace(target, ram=ram))
        assert program.memory.total <= ram
    # A layer is done by one family, and those whose scratch was not too much keep theirs.
    families = {(step.site.operation.name, step.kernel.family) for step in program.steps}
    assert families == {*(fastest | {"conv_1": "conv"}).items()}
    assert program.flash == build(graph, target).flash


COUNTED = """
#include "model.h"
#include "model_vectors.h"
#include <string.h>

static int32_t next, wrong;
static int64_t arena[(MODEL_ARENA_BYTES + 7) / 8];

static void given(void *source, int32_t first, int32_t count, int8_t *to)
{
    wrong += first != next || source != &next;
    next += count;
    memcpy(to, golden_in + first * ROW, (size_t)count * ROW);
}

int main(void)
{
    int8_t made[MODEL_OUT_BYTES];

    model_run_rows(arena, given, &next, made);
    return wrong || next != ROWS || memcmp(made, golden_out, sizeof made) != 0;
}
"""


def test_an_input_that_does_not_fit_is_asked_for_row_by_row(tmp_path: Path) -> None:
    """The arena is smaller than the input, of which every row is asked for once, in order."""
    graph = chain(4, size=40, channels=3)
    target = replace(HOST, ram=3100)
    program = assert_equal(graph, target=target)
    assert program.memory.total <= 3100 < program.tensors["v0"].bytes
    assert program.fetched is program.tensors["v0"]
    CBackend().emit(graph, target, tmp_path)
    folder = tmp_path / "c"
    (folder / "counted.c").write_text(COUNTED)
    compiler = [require_compiler(), *STRICT, "-O1"]
    for unit, defines in (("counted.c", ["-DROWS=40", "-DROW=80"]), ("model_test.c", [])):
        built = [*compiler, *defines, unit, "model.c", "-o", "try"]
        subprocess.run(built, cwd=folder, check=True)
        subprocess.run(["./try"], cwd=folder, check=True)
    subprocess.run([*compiler, "-c", "model.c"], cwd=folder, check=True)
    size = [command("size", "binutils"), "-A", "model.o"]
    told = subprocess.run(size, cwd=folder, check=True, capture_output=True, text=True).stdout
    assert int(told.split(".bss")[1].split()[0]) == -(-program.memory.total // 4) * 4


def test_a_core_runs_it_too() -> None:
    target, machine = machine_of("cortex-m4")
    program = build(chain(3, size=12), replace(target, ram=1))
    assert any(isinstance(stage, Stream) for stage in program.stages)
    inputs = {name: values[-1:] for name, values in golden(program.graph).items()}
    outcome = run_program(machine, program, inputs)
    assert outcome.passed, outcome.meaning
