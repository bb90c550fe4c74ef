"""The handful of names, and what importing them costs."""

import subprocess
import sys

import pytest

import bitsmith

HEAVY = ("numpy", "onnx", "onnxruntime", "onnx_graphsurgeon", "scipy", "networkx", "jinja2")


def imported_by(code: str) -> set[str]:
    """Which of the heavy packages a program imports."""
    script = f"{code}\nimport sys\nprint(*[name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split())


def test_every_name_is_there() -> None:
    for name in bitsmith.__all__:
        assert getattr(bitsmith, name).__name__ == name
        assert name in dir(bitsmith)
    assert {"compile", "load", "Pass", "Pipeline", "Target", "evaluate", "verify"} <= set(bitsmith.__all__)
    assert bitsmith.__version__.count(".") == 2


def test_another_name_is_not() -> None:
    with pytest.raises(AttributeError, match="module 'bitsmith' has no attribute 'complie'"):
        bitsmith.complie  # noqa: B018


@pytest.mark.parametrize("code", ["import bitsmith", "import bitsmith.errors", "from bitsmith import BitsmithError"])
def test_importing_the_package_costs_nothing(code: str) -> None:
    assert imported_by(code) == set()


def test_the_command_line_starts_without_what_it_may_not_need() -> None:
    assert imported_by("from bitsmith.cli import main\ntry: main(['--version'])\nexcept SystemExit: pass") == set()


def test_defining_a_pass_needs_no_runtime() -> None:
    assert "onnxruntime" not in imported_by("from bitsmith import Changes, Module, Pass")


def test_a_compile_starts_without_scipy() -> None:
    assert "scipy" not in imported_by("import bitsmith.driver")


def test_names_stay_what_they_are_when_their_homes_are_imported() -> None:
    """A module called like a name of the package would take its place."""
    script = """
import bitsmith, bitsmith.driver, bitsmith.evaluation, bitsmith.verification
import bitsmith.cli.compile, bitsmith.cli.evaluate, bitsmith.cli.verify
assert all(callable(getattr(bitsmith, name)) for name in bitsmith.__all__)
"""
    subprocess.run([sys.executable, "-c", script], check=True)
