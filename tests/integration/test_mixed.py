"""Mixed bits at the prompt: chosen for budgets, kept in the manifest, used again, and refused where they cannot be."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from bitsmith.allocation.budgets import CONSTANTS_ALONE
from bitsmith.importing.load import load_graph
from bitsmith.manager import Pipeline
from bitsmith.module import Module
from bitsmith.pipelines import NORMALISE
from tests.compiler.allocation.made_up import BOARD, sensitivity_of
from tests.integration.conftest import Run, Said


@pytest.fixture
def compile_digits(bitsmith: Run, digits: Path, tmp_path: Path) -> Run:
    """Compile the digits model with these options; --effort fast unless they say otherwise."""

    def run(*options: object, out: str = "out") -> Said:
        usual = ["--target", "onnxruntime", "--calibration", digits / "calibration.npz", "--no-explain"]
        effort = [] if "--effort" in options else ["--effort", "fast"]
        return bitsmith("compile", digits / "digits.onnx", *usual, "-o", tmp_path / out, *effort, *options)

    return run


MIXED = ("--weights", "mixed", "--activations", "mixed")


@pytest.fixture(scope="session")
def sensitivity(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What bits cost the digits model, made up: losses that fall fourfold a bit, the same for all."""
    graph = load_graph(digits / "digits.onnx")
    Pipeline.parse(NORMALISE).run(Module(graph, BOARD))
    path = tmp_path_factory.mktemp("sensitivity") / "sensitivity.json"
    path.write_text(json.dumps(sensitivity_of(graph).to_json()))
    return path


def manifest(tmp_path: Path, out: str = "out") -> dict[str, Any]:
    found: dict[str, Any] = json.loads((tmp_path / out / "manifest.json").read_text())
    return found


def test_mixed_bits_keep_to_budgets_and_the_manifest_says_how(compile_digits: Run, tmp_path: Path) -> None:
    said = compile_digits(*MIXED, "--budget", "flash=9KiB", "--budget", "ram=1KiB")
    assert said.code == 0, said.err
    found = manifest(tmp_path)
    assert found["budgets"] == {"flash": 9216, "ram": 1024}
    assert found["costs"]["flash"] <= 9216
    assert found["costs"]["ram"] <= 1024
    predicted = found["program"]["predicted"]
    assert {name: predicted[name] for name in found["costs"]} == pytest.approx(found["costs"], rel=1e-12)
    assert found["program"]["status"] == "optimal"
    assert found["program"]["gap"] < 1e-5
    stored = {layer["name"]: layer["weight_bits"] for layer in found["layers"] if layer["macs"]}
    assert sorted(stored.values()) == sorted(found["allocation"]["weights"].values())
    chosen = found["allocation"]["activations"]
    assert {name: found["values"][name]["format"]["bits"] for name in chosen} == chosen
    assert found["sensitivity"]["weights"].keys() == found["allocation"]["weights"].keys()
    assert f"flash: {found['costs']['flash']:,} bytes of 9,216 bytes, {CONSTANTS_ALONE}\n" in said.out
    page = (tmp_path / "out" / "report.html").read_text()
    assert CONSTANTS_ALONE in page
    assert page.count(f"{found['costs']['flash']:,} bytes") >= 2
    assert "Bits were chosen by an integer program that minimised the loss: optimal" in page
    assert "bits " in said.out


def test_what_was_predicted_is_what_the_generated_c_takes(
    compile_digits: Run, tmp_path: Path, sensitivity: Path
) -> None:
    budgets = ("--budget", "flash=9KiB", "--budget", "ram=4KiB")
    said = compile_digits(*MIXED, *budgets, "--sensitivity", sensitivity, "--effort", "default", "--target", "host")
    assert said.code == 0, said.err
    found = manifest(tmp_path)
    sizes = [
        {name: costs[name] for name in ("flash", "ram")} for costs in (found["program"]["predicted"], found["costs"])
    ]
    assert sizes[0] == sizes[1]
    # Declarations such as `static const uint8_t stem_weight[104]`, and the arena.
    header = (tmp_path / "out" / "c" / "model_constants.h").read_text()
    arrays = re.findall(r"static const u?int(\d+)_t \w+\[(\d+)\]", header)
    assert sum(int(bits) // 8 * int(count) for bits, count in arrays) == sizes[1]["flash"]
    assert f"MODEL_ARENA_BYTES {sizes[1]['ram']}" in (tmp_path / "out" / "c" / "model.h").read_text()


def test_flash_counts_code_where_the_target_tells_of_it(compile_digits: Run, tmp_path: Path, sensitivity: Path) -> None:
    known = (*MIXED, "--sensitivity", sensitivity, "--target", "cortex-m4")
    said = compile_digits(*known, "--budget", "flash=14KiB")
    assert said.code == 0, said.err
    costs = manifest(tmp_path)["costs"]
    constants = costs["flash"] - costs["code"]
    assert costs["code"] > 1000
    assert costs["flash"] <= 14 * 1024
    header = (tmp_path / "out" / "c" / "model_constants.h").read_text()
    arrays = re.findall(r"static const u?int(\d+)_t \w+\[(\d+)\]", header)
    assert sum(int(bits) // 8 * int(count) for bits, count in arrays) == constants
    told = f"{constants:,} bytes of constants and {costs['code']:,} bytes of code"
    assert f"flash: {costs['flash']:,} bytes of 14,336 bytes, {told}\n" in said.out
    page = (tmp_path / "out" / "report.html").read_text()
    assert told in page
    assert CONSTANTS_ALONE not in page
    refused = compile_digits(*known, "--budget", "flash=3KiB", out="none")
    assert refused.code == 1
    assert re.search(r"The least that would do: flash [\d,]+ bytes, of which code takes [\d,]+ bytes\.", refused.err)
    refused = compile_digits("--weights", "8", "--target", "cortex-m4", "--budget", "flash=3KiB", out="none")
    assert refused.code == 1
    parts = r"flash is [\d,]+ bytes of 3,072 bytes, [\d,]+ bytes of constants and [\d,]+ bytes of code\."
    assert re.search(parts, refused.err)


@pytest.mark.parametrize(
    ("target", "name", "options"),
    [
        ("cortex-m4", "flash", ("--weights", "mixed")),
        ("onnxruntime", "flash", MIXED),
        ("cortex-m4", "ram", MIXED),
        ("cortex-m4", "flash", ("--weights", "mixed", "--max-loss", "90")),
    ],
)
def test_the_least_that_is_told_to_do_does(
    compile_digits: Run, tmp_path: Path, sensitivity: Path, target: str, name: str, options: tuple[str, ...]
) -> None:
    known = ("--target", target, "--sensitivity", sensitivity, *options)
    refused = compile_digits(*known, "--budget", f"{name}=1KiB")
    assert refused.code == 1
    told = re.search(rf"The least that would do: {name} ([\d,]+) bytes", refused.err)
    assert told is not None
    least = int(told[1].replace(",", ""))
    said = compile_digits(*known, "--budget", f"{name}={least}")
    assert said.code == 0, said.err
    assert manifest(tmp_path)["costs"][name] <= least
    again = compile_digits(*known, "--budget", f"{name}={least - 1}", out="none")
    assert (again.code, told[0] in again.err) == (1, True)


def test_an_allocation_and_a_sensitivity_are_used_again(compile_digits: Run, tmp_path: Path, sensitivity: Path) -> None:
    assert compile_digits(*MIXED, "--sensitivity", sensitivity, "--budget", "flash=9KiB", out="first").code == 0
    first = tmp_path / "first" / "manifest.json"
    assert compile_digits("--allocation", first, out="again").code == 0
    assert manifest(tmp_path, "again")["allocation"] == manifest(tmp_path, "first")["allocation"]
    assert manifest(tmp_path, "again")["program"] is None
    same = ("integer.onnx", "model.qdq.onnx")
    assert [(tmp_path / "again" / name).read_bytes() for name in same] == [
        (tmp_path / "first" / name).read_bytes() for name in same
    ]
    said = compile_digits(*MIXED, "--sensitivity", first, "--budget", "flash=9KiB", out="reused")
    assert said.code == 0
    assert "measure-sensitivity" not in manifest(tmp_path, "reused")["pipeline"]
    assert manifest(tmp_path, "reused")["allocation"] == manifest(tmp_path, "first")["allocation"]


def test_either_may_be_mixed_alone(compile_digits: Run, tmp_path: Path, sensitivity: Path) -> None:
    known = ("--sensitivity", sensitivity)
    assert compile_digits("--weights", "mixed", "--budget", "mean-weight-bits=4", *known, out="weights").code == 0
    found = manifest(tmp_path, "weights")
    assert found["costs"]["mean-weight-bits"] <= 4
    assert found["costs"]["mean-activation-bits"] == 8
    assert not found["allocation"]["activations"]
    options = ("--activations", "mixed", "--weights", 4, "--budget", "ram=1KiB", *known)
    assert compile_digits(*options, out="activations").code == 0
    found = manifest(tmp_path, "activations")
    assert found["costs"]["mean-weight-bits"] == 4
    assert found["costs"]["ram"] <= 1024
    assert not found["allocation"]["weights"]


def test_the_cheapest_within_a_loss(compile_digits: Run, tmp_path: Path, sensitivity: Path) -> None:
    said = compile_digits(*MIXED, "--max-loss", 2, "--sensitivity", sensitivity)
    assert said.code == 0, said.err
    assert "of 2 points are expected to be lost when rounded to nearest" in said.out
    assert manifest(tmp_path)["program"]["minimised"] == "flash"


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (
            (*MIXED, "--budget", "flash=4KiB"),
            "the budget flash of 4,096 bytes cannot be kept by any bits. The least that would do: flash ",
        ),
        (
            ("--budget", "flash=4KiB", "--budget", "ram=64KiB"),
            "the compiled model is over its budget: flash is 20,668 bytes of 4,096 bytes. Give fewer bits",
        ),
    ],
)
def test_what_does_not_fit_exits_with_1_and_writes_nothing(
    compile_digits: Run, tmp_path: Path, sensitivity: Path, options: tuple[str, ...], complaint: str
) -> None:
    said = compile_digits(*options, *(["--sensitivity", sensitivity] if "mixed" in options else []))
    assert said.code == 1
    assert complaint in said.err
    assert said.err.count("\n") == 1 or "changed" in said.err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (None, "bits.json: cannot be read: No such file or directory"),
        ("{", "bits.json: is no JSON"),
        ('{"weights": {"absent": 4}}', "allocation, weights: there is no weight absent"),
        ('{"weights": {"stem.weight": 9}}', "9-bit weights"),
        ('{"format": "bitsmith artifact 1"}', "bits.json: is the manifest of a compile without allocation"),
    ],
)
def test_an_allocation_that_does_not_fit_is_told(
    compile_digits: Run, tmp_path: Path, text: str | None, complaint: str
) -> None:
    path = tmp_path / "bits.json"
    if text is not None:
        path.write_text(text)
    said = compile_digits("--allocation", path)
    assert said.code == 2
    assert complaint in said.err
