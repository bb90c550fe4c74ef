"""A stranger's package with a pass, a backend and a target of its own, used from the command line."""

import json
import os
import subprocess
import sys
from pathlib import Path

import onnx
import pytest

from tests.integration.conftest import Run, Said

SOURCES = {
    "pyproject.toml": """
        [build-system]
        requires = ["setuptools"]
        build-backend = "setuptools.build_meta"

        [project]
        name = "acme-bitsmith"
        version = "1.0"

        [project.entry-points."bitsmith.passes"]
        acme-clip-weights = "acme.passes:ClipWeights"

        [project.entry-points."bitsmith.backends"]
        acme = "acme.backend:AcmeBackend"

        [tool.setuptools]
        packages = ["acme"]
        package-data = { acme = ["targets/*.toml"] }
    """,
    "acme/__init__.py": "",
    "acme/passes.py": '''
        from dataclasses import dataclass

        import numpy as np
        from bitsmith import Changes, Module, Pass


        @dataclass(frozen=True)
        class ClipWeights(Pass):
            """Clip the weights of every Conv to [-limit, limit]."""

            name = "acme-clip-weights"
            preserves = False
            limit: float = 1.0

            def run(self, module: Module) -> Changes:
                changes = Changes()
                for conv in module.graph.nodes("Conv"):
                    weight = conv.operand(1)
                    if np.abs(weight.constant).max() <= self.limit:
                        changes.refuse(conv, "its weights are small enough")
                    else:
                        weight.constant = np.clip(weight.constant, -self.limit, self.limit)
                        changes.change(conv)
                return changes
    ''',
    "acme/backend.py": '''
        import os
        from pathlib import Path

        from bitsmith.backend import Backend, Refusal
        from bitsmith.execution.interpreter import run


        class AcmeBackend(Backend):
            """Writes a list of operations; the interpreter plays the machine."""

            name = "acme"

            def refusals(self, graph, target):
                return [Refusal(node.where, "Acme has no maximum", "Use a mean.") for node in graph.nodes("MaxPool")]

            def emit(self, graph, target, folder):
                (folder / "listing.txt").write_text("".join(f"{step.kind} {step.name}\\n" for step in graph))
                return [Path("listing.txt")]

            def run(self, graph, folder, inputs):
                lines = (folder / "listing.txt").read_text().splitlines()
                outputs = run(graph, inputs)
                broken = len(lines) != len(graph.operations) or "ACME_BROKEN" in os.environ
                return {name: array + 1 for name, array in outputs.items()} if broken else outputs
    ''',
    "acme/targets/acme-board.toml": """
        backend = "acme"
        description = "the one and only Acme board"
        granularities = ["tensor"]
        flash = "64KiB"
    """,
}


def unindented(text: str) -> str:
    lines = text.strip("\n").splitlines()
    margin = len(lines[0]) - len(lines[0].lstrip()) if lines else 0
    return "\n".join(line[margin:] for line in lines) + "\n"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the package installed, as pip installs one."""
    source, site = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("site")
    for name, text in SOURCES.items():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text(unindented(text))
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    done = subprocess.run([*pip, "--target", str(site), str(source)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return site


@pytest.fixture
def with_acme(bitsmith_process: Run, site: Path) -> Run:
    """A function that runs a command where the package is installed."""

    def run(*arguments: object, **variables: str) -> Said:
        return bitsmith_process(*arguments, env={**os.environ, "PYTHONPATH": str(site), **variables})

    return run


def test_they_are_listed(with_acme: Run) -> None:
    passes, targets = with_acme("passes").out, with_acme("targets").out
    assert "acme-clip-weights" in passes
    assert "{limit=1.0}" in passes
    assert "Clip the weights of every Conv to [-limit, limit]." in passes
    assert "the one and only Acme board" in targets


def test_they_compile_verify_and_evaluate_a_model(with_acme: Run, digits: Path, compiled: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    pipeline = json.loads((compiled / "manifest.json").read_text())["pipeline"]
    pipeline = pipeline.replace("quantize-weights", "quantize-weights{granularity=tensor}")
    pipeline = pipeline.replace("calibrate,", "acme-clip-weights{limit=0.5},calibrate,")
    # The board cannot do the model's MaxPool, so the one without it is compiled.
    model = without_max_pool(digits / "digits.onnx", tmp_path / "mean.onnx")
    command = ["compile", model, "--target", "acme-board", "--calibration", digits / "calibration.npz", "-o", out]
    said = with_acme(*command, "--pipeline", pipeline, "--verify-each", "--dump-dir", tmp_path / "dump")
    assert said.code == 0, said.err
    manifest = json.loads((out / "manifest.json").read_text())
    (clipped,) = [one for one in manifest["passes"] if one["pass"] == "acme-clip-weights{limit=0.5}"]
    assert clipped["made"] > 0
    assert manifest["backend_files"] == ["listing.txt"]
    assert {len(one["scale"]) for one in manifest["weights"].values()} == {1}
    assert any(path.name.endswith("acme-clip-weights.onnx") for path in (tmp_path / "dump").iterdir())

    verified = with_acme("verify", out)
    assert verified.code == 0, verified.err
    assert "listing.txt: 0 of" in verified.out
    scores = json.loads(with_acme("evaluate", out, "--data", digits / "evaluation.npz", "--json", "--quiet").out)
    assert scores["scores"][0]["value"] == scores["scores"][1]["value"]


def test_an_exact_backend_that_differs_is_caught(with_acme: Run, digits: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    model = without_max_pool(digits / "digits.onnx", tmp_path / "mean.onnx")
    command = ["compile", model, "--target", "acme-board", "--calibration", digits / "calibration.npz", "-o", out]
    assert with_acme(*command).code == 0
    (out / "listing.txt").write_text("cut\n")
    said = with_acme("verify", out)
    assert said.code == 1
    assert "altered: listing.txt" in said.out
    assert "by at most 1 step; first in y, and none may" in said.out


def test_an_exact_backend_that_differs_is_not_handed_out(with_acme: Run, digits: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    model = without_max_pool(digits / "digits.onnx", tmp_path / "mean.onnx")
    command = ["compile", model, "--target", "acme-board", "--calibration", digits / "calibration.npz", "-o", out]
    said = with_acme(*command, ACME_BROKEN="1")
    assert said.code == 1
    assert "bitsmith: listing.txt: 480 of 480 outputs differ" in said.err
    assert "none may, so nothing is written. Report this model." in said.err
    assert os.listdir(tmp_path) == ["mean.onnx"]


def test_its_refusals_come_before_any_work(with_acme: Run, digits: Path, tmp_path: Path) -> None:
    command = ["--target", "acme-board"]
    checked = with_acme("check", digits / "digits.onnx", *command)
    assert checked.code == 1
    assert "Acme has no maximum.\n    Use a mean." in checked.out
    data = digits / "calibration.npz"
    said = with_acme("compile", digits / "digits.onnx", *command, "--calibration", data, "-o", tmp_path / "out")
    assert said.code == 2
    assert "MaxPool" in said.err
    assert "calibrate" not in said.err
    assert os.listdir(tmp_path) == []


def test_without_the_package_its_target_is_unknown(bitsmith: Run, digits: Path) -> None:
    said = bitsmith("check", digits / "digits.onnx", "--target", "acme-board")
    assert said.code == 2
    assert "there is no target called acme-board" in said.err


def test_a_broken_package_is_named_and_leaves_the_others_alone(
    bitsmith_process: Run, digits: Path, tmp_path: Path
) -> None:
    info = tmp_path / "broken-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
    points = "[bitsmith.passes]\nbroken-pass = broken:Pass\n[bitsmith.backends]\nbroken-backend = broken:Backend\n"
    (info / "entry_points.txt").write_text(points)
    (tmp_path / "broken.py").write_text("raise RuntimeError('I am broken')\n")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}

    listed = bitsmith_process("targets", env=environment)
    assert listed.code == 1
    assert "onnxruntime" in listed.out
    assert (
        "entry point broken-backend of broken: broken:Backend cannot be imported (RuntimeError: I am broken)"
        in listed.out
    )
    assert "entry point broken-pass of broken" in bitsmith_process("passes", env=environment).out
    assert bitsmith_process("check", digits / "digits.onnx", "--target", "onnxruntime", env=environment).code == 0
    unknown = bitsmith_process("check", digits / "digits.onnx", "--target", "board", env=environment)
    assert unknown.code == 2
    assert "Not asked, for it is broken: entry point broken-backend" in unknown.err


def without_max_pool(source: Path, target: Path) -> Path:
    """The model with a mean in place of every maximum."""
    model = onnx.load(source)
    for node in model.graph.node:
        if node.op_type == "MaxPool":
            node.op_type = "AveragePool"
            kept = [one for one in node.attribute if one.name in ("kernel_shape", "strides", "pads")]
            del node.attribute[:]
            node.attribute.extend(kept)
    onnx.save(model, target)
    return target
