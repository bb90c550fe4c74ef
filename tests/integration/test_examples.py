"""What examples/ says, done as it says: firmware booted in QEMU, a page followed line by line."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest

from tests.backends.c.needs import machine_of
from tests.backends.rtl.needs import require_verilator
from tests.integration.pages import aside, follow

BOARDS = {"mps2-an386": "cortex-m4", "virt": "rv32imac"}


@pytest.mark.parametrize("board", BOARDS)
def test_keyword_spotting_boots_and_hears(
    board: str, repository: Path, model_file: Callable[[str], Path], tmp_path: Path
) -> None:
    machine_of(BOARDS[board])
    model = model_file("dscnn_kws_tfl.onnx")
    model_file("dscnn_kws_tfl.calib.npz")
    model_file("dscnn_kws_tfl.eval.npz")
    settings = [f"BOARD={board}", f"MODEL={model}", f"OUT={tmp_path}", f"PYTHON={sys.executable}"]

    def made(goal: str) -> subprocess.CompletedProcess[str]:
        command = ["make", goal, *settings]
        folder = repository / "examples" / "keyword_spotting"
        return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)

    done = made("run")
    assert done.returncode == 0, done.stderr
    assert "The golden vectors are met." in done.stdout
    heard = re.search(r"^(\d+) of 24 clips heard rightly; 24 as the integer graph hears them\.", done.stdout, re.M)
    assert heard is not None, done.stdout
    assert int(heard[1]) >= 18

    # What it is told to hear is compared: another expectation fails.
    header = tmp_path / "clips.h"
    text = header.read_text()
    header.write_text(re.sub(r"(expected\[CLIPS\] = \{)(\d+)", lambda found: f"{found[1]}{11 - int(found[2])}", text))
    wrong = made("run")
    assert wrong.returncode != 0
    assert "; 23 as the integer graph hears them." in wrong.stdout


@pytest.fixture
def clone(repository: Path, tmp_path: Path) -> Path:
    """A folder that looks like the root of a clone, for what is built in it."""
    for name in ("models", "examples"):
        (tmp_path / name).symlink_to(repository / name)
    return tmp_path


def test_a_keyword_model_in_32_kib_as_its_page_fits_it(clone: Path, model_file: Callable[[str], Path]) -> None:
    machine_of("cortex-m4")
    models = {model_file(f"dscnn_kws{kind}").parent for kind in (".onnx", ".calib.npz", ".eval.npz")}
    page = clone / "examples" / "keyword_spotting" / "README.md"
    refused, fitted, measured = follow(page, clone, {"MODELS": str(models.pop())})
    assert "over its budget" in refused
    score = re.search(r"^c +top1 (\S+)", fitted, re.MULTILINE)
    assert score is not None
    assert float(score[1]) > 0.89
    # What its compiler makes of it, not only what was foretold.
    sizes = re.search(r"^ +(\d+)\t +0\t +(\d+)\t.*model\.o$", measured, re.MULTILINE)
    assert sizes is not None
    assert int(sizes[1]) <= 32 * 1024
    assert int(sizes[2]) <= 12 * 1024


def test_quantizing_for_onnx_runtime_as_its_page_does(clone: Path) -> None:
    *_, verified, used = follow(clone / "examples" / "onnxruntime" / "README.md", clone)
    assert "integer.onnx: 0 of 6,000 outputs differ on 600 samples" in verified
    right = re.match(r"(\d+) of 600 right", used)
    assert right is not None
    assert int(right[1]) > 580


def test_a_jet_tagger_on_an_fpga_as_its_page_puts_it_there(clone: Path) -> None:
    require_verilator()
    _, compiled, checked, vitis = follow(clone / "examples" / "jet_tagger" / "README.md", clone)
    luts = re.search(r"luts: ([\d,]+) LUTs of 8,000 LUTs", compiled)
    assert luts is not None
    assert int(luts[1].replace(",", "")) <= 8000
    assert "rtl: 0 of 10,000 outputs differ on 2,000 samples" in checked
    score = re.search(r"^rtl +top1 (\S+)", checked, re.MULTILINE)
    assert score is not None
    assert float(score[1]) > 0.69
    assert "hls4ml: 0 of 240 outputs differ" in vitis
    assert (clone / "build" / "jets-vitis" / "hls4ml" / "build_prj.tcl").is_file()


def test_the_notebook_says_what_it_is_committed_with(clone: Path, repository: Path) -> None:
    """Numbers aside, and the most important ones held to what the text beside them says."""
    committed = nbformat.read(repository / "examples" / "notebook" / "quantize.ipynb", as_version=4)
    place = clone / "quantize.ipynb"
    nbformat.write(committed, place)
    script = repository / "examples" / "notebook" / "execute.py"
    done = subprocess.run([sys.executable, script, place], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    executed = nbformat.read(place, as_version=4)
    assert [shapes(cell) for cell in executed.cells] == [shapes(cell) for cell in committed.cells]
    said = "".join(output.get("text", "") for cell in executed.cells for output in cell.get("outputs", []))
    assert "verified on all of them: True" in said
    nearest, corrected, learned = (float(share) for share in re.findall(r"^2 bits, .*: +(\S+)$", said, re.MULTILINE))
    assert nearest < corrected < learned


def shapes(cell: nbformat.NotebookNode) -> list[str]:
    """The source of a cell and what it says, without numbers; of pictures, that there are some."""
    outputs = cell.get("outputs", [])
    return [cell.source, *(aside(output.get("text") or "".join(output.data)) for output in outputs)]


def test_a_pass_of_ones_own_as_its_page_makes_it(repository: Path, digits: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    environment = {
        "MODELS": str(digits),
        # Installed beside the environment that runs the tests, by what that has.
        "PIP_TARGET": str(site),
        "PIP_NO_BUILD_ISOLATION": "0",
        "PIP_NO_INDEX": "1",
        "PYTHONPATH": str(site),
    }
    listed, compiled, tested = follow(repository / "examples" / "your_own_pass" / "README.md", tmp_path, environment)
    assert "Set the smallest weights of every Conv and Gemm to zero" in listed
    manifest = json.loads((tmp_path / "pruned" / "manifest.json").read_text(encoding="utf-8"))
    (pruned,) = [one for one in manifest["passes"] if one["pass"] == "prune-weights{share=0.25}"]
    assert pruned["made"] > 1
    scores = [float(score) for score in re.findall(r"^integer.onnx +top1 (\S+)", compiled, re.MULTILINE)]
    assert len(scores) == 2
    assert min(scores) > 0.9
    assert "1 passed" in tested
