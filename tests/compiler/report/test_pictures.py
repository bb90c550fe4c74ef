"""Pictures of the report, held to the figures they are drawn from."""

import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitsmith.report import histogram, losses, memory, network
from bitsmith.report.layers import in_use, layers_of
from tests.compiler.report.conftest import Manifest

BLOCK = st.tuples(st.integers(0, 20), st.integers(1, 10), st.integers(0, 3), st.integers(0, 3))


@given(st.lists(BLOCK, max_size=8), st.integers(0, 3))
def test_bytes_in_use_are_counted_one_by_one(given: list[tuple[int, int, int, int]], step: int) -> None:
    blocks = [{"offset": offset, "bytes": size, "first": min(ends), "last": max(ends)} for offset, size, *ends in given]
    held = {
        byte for b in blocks if b["first"] <= step <= b["last"] for byte in range(b["offset"], b["offset"] + b["bytes"])
    }
    assert in_use(blocks, step) == len(held)


def test_rectangles_are_the_blocks_to_scale_and_the_peak_is_the_fullest_step(manifest: Manifest) -> None:
    given = manifest["memory"]
    drawn = memory.draw(given)
    assert drawn is not None
    height = drawn.bottom - drawn.top
    for block, one in zip(given["blocks"], drawn.rectangles, strict=True):
        assert one.height == pytest.approx(height * block["bytes"] / given["bytes"], abs=0.11)
        assert drawn.bottom - one.y - one.height == pytest.approx(height * block["offset"] / given["bytes"], abs=0.11)
        assert one.width == pytest.approx(drawn.step * (block["last"] - block["first"] + 1), abs=0.11)
        assert (one.colour == "scratch") == block["scratch"]
    used = [row.bytes for row in drawn.rows]
    assert drawn.peak == used.index(max(used))
    assert f"{max(used):,} bytes in use" in drawn.fullest


def test_the_picture_has_a_box_for_each_layer_and_a_line_for_each_value_read(manifest: Manifest) -> None:
    layers = layers_of(manifest)
    picture = network.draw(manifest, layers, set(range(len(layers))))
    assert [box.link for box in picture.boxes if box.link] == [f"layer-{index}" for index in range(len(layers))]
    reads = sum(len(set(layer.row["inputs"])) for layer in layers)
    assert len(picture.paths) == reads + len(manifest["outputs"])
    shares = [box.work for box in picture.boxes]
    assert sum(shares) == pytest.approx(1, abs=0.01)
    for layer, box in zip(layers, picture.boxes[1:], strict=False):
        bits = f"w{layer.weight_bits:g} a{layer.bits}" if layer.weight_bits else f"a{layer.bits}"
        assert box.left.endswith(bits)


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=64), st.sampled_from([0.25, 1.0, 4.0]))
def test_areas_rise_with_the_square_root_of_counts(counts: list[int], width: float) -> None:
    spread = {"first": -8.0, "width": width, "lowest": -8, "highest": 7, "levels": list(range(-8, 8)), "stored": []}
    plot = histogram.plot({**spread, "real": counts})
    heights = [histogram.BOTTOM - float(y) for y in re.findall(r"V([\d.]+)H", plot.real)]
    room = histogram.BOTTOM - histogram.TOP
    for count, height in zip(counts, heights, strict=True):
        assert height == pytest.approx(room * (count / max(1, *counts, 1)) ** 0.5, abs=0.06)
    edges = [float(x) for x in re.findall(r"H([\d.]+)", plot.real)]
    assert all(before < after for before, after in pairwise(edges))
    assert plot.grid.count("M") == plot.levels == 16


def test_what_lies_beyond_the_grid_is_told(manifest: Manifest) -> None:
    spread = {"first": 0.0, "width": 1.0, "lowest": 0, "highest": 1, "levels": [0, 1], "stored": []}
    assert histogram.plot({**spread, "real": [5, 4, 1]}).outside == pytest.approx(0.1)


def test_the_chart_of_losses_has_a_dot_for_each_layer_that_was_measured(manifest: Manifest) -> None:
    layers = layers_of(manifest)
    chart = losses.draw(manifest, layers)
    assert chart is not None
    alone = [layer.alone for layer in layers if layer.alone is not None]
    assert len(chart.dots) == len(alone)
    by_height = sorted(range(len(alone)), key=lambda index: -chart.dots[index].y)
    assert alone[by_height[0]] == min(alone)
    assert chart.label is not None
    assert chart.label.text == min(layers, key=lambda layer: layer.badness).name
    assert len(chart.line.split()) == sum(layer.so_far is not None for layer in layers)


def test_cycles_are_those_of_the_targets_table(manifest: Manifest) -> None:
    manifest["target"]["cycles"] = {"4x8": 1.5}
    for layer in layers_of(manifest):
        assert layer.cycles == (1.5 * layer.macs if layer.weight_bits == 4 else None)
