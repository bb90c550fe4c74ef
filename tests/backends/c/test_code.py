"""What code takes, foretold by a target's table, held to what its compiler makes of small models."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from bitsmith.backends.c import build
from bitsmith.backends.c.code import code, counted, names, parts
from bitsmith.backends.c.emit import sources
from bitsmith.backends.c.machines import prices
from bitsmith.backends.c.machines.build import compiled
from bitsmith.backends.c.machines.costs import convolution
from bitsmith.backends.c.machines.network import Network, Widths
from bitsmith.backends.c.machines.prices import Sized, fitted, sized
from bitsmith.backends.c.machines.samples import networks
from bitsmith.backends.c.wording import Wording
from bitsmith.ir.integer import IntegerGraph, Reshape
from bitsmith.ir.validate import validate
from bitsmith.legality import backend_of
from bitsmith.target import Target, installed_targets, load_target
from tests.backends.c.needs import machine_of

TARGETS = ["cortex-m0", "cortex-m3", "cortex-m4", "cortex-m7", "cortex-m55", "rv32imac", "rv32e"]


@cache
def keywords(weights: int | str) -> IntegerGraph:
    """A network that no table was fitted to: depthwise and pointwise convolutions, a pool and a Linear layer."""
    made = Network("keywords", Widths(weights, 8), (1, 20, 12))
    made.conv(32, (5, 3), stride=2, pad=1)
    for outputs in (32, 40):
        made.conv(made.shape()[0], 3, pad=1, groups=0)
        made.conv(outputs, 1)
    made.average()
    made.move(Reshape, shape=(40,))
    made.linear(10)
    return made.graph()


def of_all(target: Target, graph: IntegerGraph) -> int:
    assert not isinstance(target.code, int)
    return sum(part.bytes for part in code(build(graph, target), target.code))


@pytest.mark.parametrize("weights", [8, 2, "ternary"])
@pytest.mark.parametrize("name", TARGETS)
def test_no_less_is_foretold_than_the_compiler_makes_and_not_much_more(name: str, weights: int | str) -> None:
    target, _ = machine_of(name)
    program = build(keywords(weights), target)
    with tempfile.TemporaryDirectory() as folder:
        sizes, _ = compiled(target, sources(program), Path(folder))
    made = sizes.flash - program.flash
    assert made <= of_all(target, keywords(weights)) <= 1.3 * made


def test_every_target_of_c_with_a_toolchain_has_a_table_of_code() -> None:
    installed = installed_targets().targets.values()
    with_toolchain = [one for one in installed if one.backend == "c" and one.toolchain]
    assert sorted(one.name for one in with_toolchain) == sorted(TARGETS)
    assert all(not isinstance(one.code, int) and len(one.code) > 10 for one in with_toolchain)


@pytest.mark.parametrize("name", TARGETS)
def test_a_table_may_price_all_that_is_counted(name: str) -> None:
    """What a program really holds, helpers and assembly among it; every target's own table is tested with targets."""
    for graph in (keywords(8), keywords("ternary")):
        for _, counts in counted(build(graph, load_target(name))):
            assert set(counts) <= names()


def test_prices_are_those_of_parts_by_what_they_hold() -> None:
    target = load_target("cortex-m3")
    program = build(convolution(8, 8), target)
    whole = code(program, {"conv": 100.0, "model": 7.0, "nothing": 5.0})
    assert sorted(part.bytes for part in whole if part.bytes) == [7, 100]
    assert {part.operations for part in whole if part.bytes == 100} == {("conv",)}
    assert {part.operations for part in whole if part.bytes == 7} == {()}
    branches = sum(counts.get("branch", 0) for _, counts in counted(program))
    found = sum(part.bytes for part in code(program, {"branch": 1.0}))
    assert found == branches > 0


def test_functions_that_layers_share_are_there_once() -> None:
    made = Network("alike", Widths(8, 8), (16, 8, 8))
    for _ in range(4):
        made.conv(16, 3, pad=1)
    found = list(parts(build(made.graph(), load_target("cortex-m3"))))
    shared = [part for part in found if part.kind == "conv_pair"]
    # The fourth layer has one multiplier for all of its channels.
    assert [part.operations for part in shared] == [("step_0", "step_1", "step_2"), ("step_3",)]
    # Of one caller it is known what it tells.
    assert [part.known.get("outputs") for part in shared] == [None, 16]
    assert len([part for part in found if part.kind == "conv"]) == 4


def test_a_footprint_has_code_where_the_target_has_prices() -> None:
    target = load_target("cortex-m4")
    graph = convolution(8, 8)
    footprint = backend_of(target).footprint(graph, target)
    assert footprint is not None
    assert footprint.code is not None
    assert sum(one.bytes for one in footprint.code) == of_all(target, graph)
    flat = backend_of(target).footprint(graph, replace(target, code=500))
    assert flat is not None
    assert flat.code is None


def test_what_is_counted() -> None:
    text = """
/* Not this: [0] */
static inline int32_t twice(int32_t a)
{
    return a << 1;
}
#if FAST
static void own(const int8_t *x, int8_t *y)
{
    for (int i = 0; i < 4; i++) {
        y[i] = x[i + 1] > 300 ? twice(x[i]) : helper(x, 3);
    }
    memcpy(y, x, 5);
}
#else
static void own(const int8_t *x, int8_t *y)
{
    other(x[0], y[1]);
}
#endif
"""
    wording = Wording.of(text)
    assert list(wording.merged) == ["twice"]
    counts = wording.counts({"helper": "UNROLLED for"}, {})
    assert counts == {
        "loop": 1,
        "branch": 1,
        "sum": 1,
        "shift": 1,
        "element": 3,
        "assignment": 2,
        "large number": 1,
        "helper()": 1,
        "helper() rounds": 3,
        "memcpy()": 1,
        "memcpy() bytes": 5,
    }


def test_instructions_of_assembly_are_counted_as_often_as_they_are_repeated() -> None:
    text = """
static void own(void)
{
    __asm__ volatile(
        "push {r4, lr}\\n\\t"
        "1:\\n\\t"
        ".rept 3\\n\\t"
        "smlad r8, r4, r3, r8\\n\\t"
        ".endr\\n\\t"
        "bne 1b\\n");
}
"""
    assert Wording.of(text).counts({}, {}) == {"instruction": 3, "narrow instruction": 2}


def test_what_a_known_number_rules_out_is_not_counted() -> None:
    text = """
void shared(const struct shape *shape)
{
    const int32_t outputs = shape->outputs;
    const int32_t rest = shape->rest;
    int o = 0;
    for (; o < outputs - 1; o += 2) {
        y[o] = 1;
        if (rest) {
            y[0] = x[0];
        }
    }
    for (; o < outputs; o++) {
        y[o] = 2;
    }
}
"""
    wording = Wording.of(text)
    assert wording.counts({}, {})["element"] == 4
    assert wording.counts({}, {"outputs": 3, "rest": 0})["element"] == 2
    assert wording.counts({}, {"outputs": 4, "rest": 0})["element"] == 1
    assert "told" not in wording.counts({}, {"outputs": 4, "rest": 0})


def test_prices_explain_sizes_that_are_sums() -> None:
    random = np.random.default_rng(0)
    exact = {"branch": 12.0, "element": 4.0, "conv": 40.0}
    found = []
    for _ in range(40):
        counts = {"branch": int(random.integers(9)), "element": int(random.integers(30)), "conv": 1}
        found.append(Sized("conv", counts, round(sum(exact[name] * count for name, count in counts.items()))))
    told = fitted(found)
    assert told == {name: pytest.approx(price * (1 + prices.MARGIN), rel=0.01) for name, price in exact.items()}


@pytest.mark.parametrize("name", ["cortex-m4", "rv32e"])
def test_samples_are_graphs_of_every_width(name: str) -> None:
    names = set()
    for graph in networks(load_target(name)):
        validate(graph)
        names.add(graph.name)
    assert {"residual 8x8", "residual 2x16", "attention ternaryx8", "moves 8x16"} <= names


def test_every_byte_of_code_is_of_some_part() -> None:
    target, _ = machine_of("cortex-m3")
    program = build(keywords(8), target)
    found = sized(program)
    with tempfile.TemporaryDirectory() as folder:
        sizes, _ = compiled(target, sources(program), Path(folder))
    assert sum(one.bytes for one in found) == sizes.flash - program.flash
    assert all(one.bytes > 0 for one in found if one.kind in ("conv", "conv_pair", "depthwise", "linear", "model"))


def test_a_host_has_no_prices() -> None:
    assert prices.measure(load_target("host"), lambda *told: None) is None
