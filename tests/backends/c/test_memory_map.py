"""The map of the arena says what the plan says."""

from itertools import combinations
from pathlib import Path

import pytest

import bitsmith
from bitsmith.recipe import Recipe


@pytest.fixture(scope="module", params=[None, 2500])
def manifest(request: pytest.FixtureRequest, digits: Path, tmp_path_factory: pytest.TempPathFactory) -> dict:
    """Of digits in C: its layers one after another, or some of them row by row for less RAM."""
    out = tmp_path_factory.mktemp("map") / "out"
    recipe = Recipe(effort="fast", budgets={} if request.param is None else {"ram": request.param})
    files = (digits / "digits.onnx", "host", digits / "calibration.npz")
    return dict(bitsmith.compile(*files, out, recipe=recipe, explain=False).manifest)


def test_blocks_fill_the_arena_and_share_bytes_only_where_one_dies_as_the_other_is_made(manifest: dict) -> None:
    memory = manifest["memory"]
    blocks = memory["blocks"]
    assert memory["bytes"] == manifest["costs"]["ram"]
    assert max(one["offset"] + one["bytes"] for one in blocks) in range(memory["bytes"] - 3, memory["bytes"] + 1)
    for one, other in combinations(blocks, 2):
        together = range(max(one["first"], other["first"]), min(one["last"], other["last"]) + 1)
        apart = one["offset"] + one["bytes"] <= other["offset"] or other["offset"] + other["bytes"] <= one["offset"]
        handed_over = (
            len(together) == 1
            and {one["last"], other["last"]} >= set(together)
            and not (one["scratch"] or other["scratch"])
        )
        assert apart or not together or handed_over, (one, other)


def test_steps_are_the_operations_in_an_order_that_makes_values_before_they_are_read(manifest: dict) -> None:
    memory = manifest["memory"]
    layers = {layer["name"]: layer for layer in manifest["layers"]}
    names = [name for step in memory["steps"] for name in step]
    assert set(names) <= set(layers)
    made_at = {layers[name]["output"]: index for index, step in enumerate(memory["steps"]) for name in step}
    for block in memory["blocks"]:
        if not block["scratch"] and block["name"] in made_at:
            assert block["first"] == made_at[block["name"]]
    for index, step in enumerate(memory["steps"]):
        for name in step:
            assert all(made_at.get(read, -1) <= index for read in layers[name]["inputs"])
