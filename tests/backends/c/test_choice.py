"""Which kernel is taken, and what a target can say about it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bitsmith.backends.c import CBackend, build
from bitsmith.backends.c.capabilities import refusals
from bitsmith.backends.c.kernels import FAMILIES
from bitsmith.errors import PipelineError, UnsupportedError
from bitsmith.importing.load import load_graph
from bitsmith.recipe import Recipe
from bitsmith.target import Target, load_target
from tests.backends.c.agreement import HOST, assert_equal
from tests.backends.onnxruntime.graphs import conv
from tests.sketch import Sketch

GRAPH = conv((5, 4), channels=8)
WITHOUT = replace(HOST, features=("no-multiply",))


def family(target: Target) -> str:
    (step,) = build(GRAPH, target).steps
    return step.kernel.family


def test_features_decide() -> None:
    assert family(HOST) == "conv"
    assert family(WITHOUT) == "tables"


@pytest.mark.parametrize("kernels", ["grouped conv", "conv=grouped conv", "grouped conv, linear"])
def test_a_target_can_ask_for_another(kernels: str) -> None:
    target = replace(HOST, options={"kernels": kernels})
    assert family(target) == "grouped conv"
    assert_equal(GRAPH, target=target)


def test_what_is_preferred_gives_way_where_it_cannot_serve() -> None:
    assert family(replace(HOST, options={"kernels": "depthwise"})) == "conv"


def test_what_is_demanded_and_cannot_serve_is_an_error() -> None:
    with pytest.raises(UnsupportedError, match="cannot serve: its outputs read several channels"):
        build(GRAPH, replace(HOST, options={"kernels": "conv=depthwise"}))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"features": ("neon",)}, "no kernel knows of the feature neon"),
        ({"options": {"kernel": "conv"}}, "the C backend has no option kernel"),
        ({"code": {"conv": 50.0, "brunch": 9.0}}, "no code is counted under the name brunch. Did you mean branch?"),
        ({"code": {"conv, by lenght": 1.0}}, "name conv, by lenght. Did you mean conv, by length?"),
        ({"options": {"kernels": "cony"}}, "there is no kernel cony. Did you mean conv?"),
    ],
)
def test_what_no_kernel_knows_is_refused(changes: dict[str, object], reason: str) -> None:
    (found,) = refusals(replace(HOST, **changes))  # type: ignore[arg-type]
    assert reason in str(found)


@pytest.mark.parametrize("name", ["host", "cortex-m0", "cortex-m4", "cortex-m55", "rv32imac", "rv32e"])
def test_our_own_targets_are_fine(name: str) -> None:
    assert refusals(load_target(name)) == []


def test_a_machine_without_a_compiler_is_told_before_any_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sketch = Sketch(x=("N", 4))
    graph = load_graph(sketch.model(sketch.add("Relu", "x")))
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    (found,) = CBackend().refusals(graph, HOST)
    assert found.reason.startswith("there is no C compiler on this machine")
    (tmp_path / "gcc").touch(0o755)
    assert CBackend().refusals(graph, HOST) == []


def test_families_have_names_of_their_own() -> None:
    names = [one.name for one in FAMILIES]
    assert len(set(names)) == len(names)


def test_an_operation_that_is_not_there_gets_no_kernel() -> None:
    with pytest.raises(UnsupportedError, match=r"no operation cony is there for the kernel conv.*Did you mean conv"):
        build(GRAPH, replace(HOST, options={"kernels": "cony=conv"}))


def test_what_was_taken_is_told_and_why() -> None:
    told = {one.where: (one.what, one.why) for one in CBackend().choices(GRAPH, HOST)}
    memory = build(GRAPH, HOST).memory
    assert told["the arena"] == (f"arena of {memory.total:,} bytes", "the least that there is")
    assert told["conv"][0].startswith("conv, 8-bit weights")
    assert told["conv"][1] == "not depthwise, for its outputs read several channels"
    asked = replace(HOST, options={"kernels": "conv=grouped conv"})
    assert ("grouped conv", "asked for") in [
        (one.what.split(",")[0], one.why.split(";")[0]) for one in CBackend().choices(GRAPH, asked)
    ]


def test_a_family_of_the_machine_that_cannot_serve_is_told() -> None:
    odd = conv((5, 4), out_channels=5, channels=8)
    told = {one.where: one.why for one in CBackend().choices(odd, load_target("cortex-m4"))}
    assert "not dsp conv, for " in told["conv"]


def test_less_memory_is_a_reason() -> None:
    whole = build(GRAPH, WITHOUT).memory.total
    told = CBackend().choices(GRAPH, replace(WITHOUT, ram=whole - 1))
    assert any("bytes of scratch, where tables would take" in one.why for one in told)


def test_a_recipe_names_kernels_and_memory() -> None:
    applied = Recipe(kernels=("conv=linear", "depthwise"), budgets={"ram": 4096.0}).applied(
        replace(HOST, options={"kernels": "grouped conv"})
    )
    assert applied.options == {"kernels": "grouped conv, conv=linear, depthwise"}
    assert applied.ram == 4096
    with pytest.raises(PipelineError, match="no kernels to choose from"):
        Recipe(kernels=("conv",)).applied(load_target("onnxruntime"))
