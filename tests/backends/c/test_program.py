"""Programs that are kept, since a compile asks for the same ones again and again."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bitsmith.backends.c import CBackend, program
from bitsmith.backends.c.program import KEPT, build
from bitsmith.target import load_target
from tests.backends.onnxruntime.graphs import conv


def test_a_program_is_planned_once_for_all_that_is_told_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    planned = []
    plan = program._built
    monkeypatch.setattr(program, "_built", lambda graph, target: planned.append(target) or plan(graph, target))
    graph, target, backend = conv((6, 5)), load_target("cortex-m4"), CBackend()
    for _ in range(2):
        footprint = backend.footprint(graph, target)
        assert backend.choices(graph, load_target("cortex-m4"))
        assert backend.memory(graph, target).bytes == footprint.ram
        build(graph, load_target("host"))
    assert [one.name for one in planned] == ["cortex-m4", "host"]


def test_another_graph_or_target_is_another_program_and_no_more_are_kept() -> None:
    graph, target = conv((6, 5)), load_target("cortex-m4")
    first = build(graph, target)
    assert build(graph, target) is first
    assert build(graph, replace(target, ram=1 << 20)).target.ram == 1 << 20
    assert build(replace(graph), target) is not first
    for ram in range(KEPT):
        build(graph, replace(target, ram=(1 << 20) + ram))
    assert build(graph, target) is not first
