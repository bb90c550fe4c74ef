"""Digits compiled once for C with 4-bit weights, and manifests of more layers made of its own."""

import json
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

import bitsmith
from bitsmith.recipe import Recipe

Manifest = dict[str, Any]


@pytest.fixture(scope="session")
def compiled(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder; tests only read it."""
    out = tmp_path_factory.mktemp("report") / "out"
    files = (digits / "digits.onnx", "host", digits / "calibration.npz")
    bitsmith.compile(*files, out, recipe=Recipe(weights=4, effort="fast"))
    return out


@pytest.fixture
def manifest(compiled: Path) -> Manifest:
    """Its manifest, to be changed."""
    found: Manifest = json.loads((compiled / "manifest.json").read_text())
    return found


@pytest.fixture
def grown(manifest: Manifest) -> Callable[[int], Manifest]:
    """A function that repeats the layers of digits until there are so many, each repeat fed by the one before."""

    def grow(count: int) -> Manifest:
        # The last two layers have another shape, and are left out.
        base = manifest["layers"][:-2]
        names, made = {layer["name"] for layer in base}, {layer["output"] for layer in base}
        found = deepcopy(manifest)
        found["layers"], steps, blocks = [], [], []
        explain, spreads = found["explain"], found["spreads"]
        source = "x"
        for index in range(count):
            repeat, layer = divmod(index, len(base))
            row = deepcopy(base[layer])
            for old, figures in manifest["explain"]["accumulated_db"].items():
                explain["accumulated_db"][f"{repeat}/{old}"] = figures
            for look, known in zip(explain["passes"], manifest["explain"]["passes"], strict=True):
                look["layers"].update({f"{repeat}/{old}": known["layers"][old] for old in names & set(known["layers"])})
            for table, keys in (("weights", names), ("activations", made)):
                known = manifest["spreads"][table]
                spreads[table].update({f"{repeat}/{old}": known[old] for old in keys & set(known)})
            found["values"][f"{repeat}/{row['output']}"] = found["values"][row["output"]]
            row["inputs"] = [source if name == "x" else f"{repeat}/{name}" for name in row["inputs"]]
            row |= {"name": f"{repeat}/{row['name']}", "output": f"{repeat}/{row['output']}"}
            found["layers"].append(row)
            steps.append([row["name"]])
            blocks.append(
                {
                    "name": row["output"],
                    "offset": 1024 * (index % 2),
                    "bytes": 1024,
                    "first": index,
                    "last": min(index + 1, count - 1),
                    "scratch": False,
                }
            )
            if layer == len(base) - 1:
                source = row["output"]
        found["outputs"] = [found["layers"][-1]["output"]]
        found["memory"] = {"bytes": 2048, "steps": steps, "blocks": blocks}
        return found

    return grow
