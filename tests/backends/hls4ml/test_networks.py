"""Every form that hls4ml computes exactly, together in small networks, on corners, saturation and noise."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest

from bitsmith.backends.hls4ml import FOLDER, Hls4mlBackend
from bitsmith.backends.hls4ml.capabilities import refusals
from bitsmith.target import load_target
from tests.backends.hls4ml.agreement import assert_equal
from tests.backends.hls4ml.networks import flattened, images, signals
from tests.backends.qonnx.lowered import integers, normalised

SHAPES = {images: (3, 6, 6), signals: (3, 12), flattened: (2, 4, 4)}


@pytest.mark.parametrize(
    ("network", "target", "weights", "activations"),
    [
        (images, "hls4ml-vitis", 6, 6),
        (signals, "hls4ml-vitis", 4, 8),
        (images, "hls4ml-quartus", 5, 7),
        (flattened, "hls4ml-vitis-stream", 8, 4),
        (flattened, "hls4ml-catapult", 3, 9),
    ],
)
def test_simulation_is_exact(
    network: Callable[[], onnx.ModelProto], target: str, weights: int, activations: int, tmp_path: Path
) -> None:
    model, chosen = network(), load_target(target)
    assert not refusals(normalised(model), chosen)
    assert_equal(integers(model, {"x": SHAPES[network]}, weights, activations), chosen, tmp_path)


def test_the_same_graph_gives_the_same_files_without_paths_or_dates(tmp_path: Path) -> None:
    graph, chosen = integers(flattened(), {"x": (2, 4, 4)}), load_target("hls4ml-vitis")
    written = []
    for name in ("one", "two"):
        folder = tmp_path / name
        folder.mkdir()
        written.append({path: (folder / path).read_bytes() for path in Hls4mlBackend().emit(graph, chosen, folder)})
        assert {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()} == set(written[-1])
    assert written[0] == written[1]
    assert not [path for path, content in written[0].items() if str(tmp_path).encode() in content]


def test_the_interface_says_what_the_top_function_takes(tmp_path: Path) -> None:
    graph = integers(images(), {"x": (3, 6, 6)}, activations=7)
    Hls4mlBackend().emit(graph, load_target("hls4ml-vitis"), tmp_path)
    described = json.loads((tmp_path / FOLDER / "interface.json").read_text())
    (given,) = described["inputs"]
    assert given["shape"] == [6, 6, 3]
    assert f"typedef ap_{given['type']} input_t;" in (tmp_path / FOLDER / "firmware" / "defines.h").read_text()
    assert sorted(one["name"] for one in described["outputs"]) == ["y", "z"]
    lines = (tmp_path / FOLDER / "tb_data" / "tb_input_features.dat").read_text().splitlines()
    assert {len(line.split()) for line in lines} == {6 * 6 * 3}


@pytest.mark.parametrize(
    ("target", "command"),
    [
        ("hls4ml-vitis", "vitis-run --mode hls --tcl build_prj.tcl"),
        ("hls4ml-vitis-stream", "vitis-run --mode hls --tcl build_prj.tcl"),
        ("hls4ml-vivado", "vivado_hls -f build_prj.tcl"),
        ("hls4ml-quartus", "make bitsmith_model-fpga && ./bitsmith_model-fpga"),
        ("hls4ml-catapult", "catapult -product ultra -shell -f build_prj.tcl"),
    ],
)
def test_the_readme_says_how_to_go_on(target: str, command: str, tmp_path: Path) -> None:
    graph, backend, chosen = integers(flattened(), {"x": (2, 4, 4)}), Hls4mlBackend(), load_target(target)
    backend.emit(graph, chosen, tmp_path)
    text = (tmp_path / FOLDER / "README.md").read_text()
    assert f"    {command}\n" in text
    assert (tmp_path / FOLDER / ("Makefile" if command.startswith("make") else "build_prj.tcl")).is_file()
    assert "| `x`, in | 4 x 4 x 2 | `fixed<6," in text
    assert ("pixel at a time" in text) == target.endswith("stream")
    luts, figures = backend.luts(graph, chosen), backend.figures(graph, tmp_path)
    assert figures == ({} if luts is None else {"LUTs, estimated without multipliers": round(sum(luts.values()))})
    assert all(f"{count:,} look-up tables" in text for count in figures.values())
