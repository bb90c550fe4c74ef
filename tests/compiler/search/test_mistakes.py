"""What a user of `bitsmith search` can get wrong, and the line that says so."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from bitsmith.cli import main

Say = Callable[..., tuple[int, str]]


@pytest.fixture
def say(digits: Path, tmp_path: Path, command: list[str], capsys: pytest.CaptureFixture[str]) -> Say:
    """A function that runs the search with some options changed; its exit code, and what it complained of."""

    def run(*options: object, out: Path | None = None) -> tuple[int, str]:
        given = [*command[3:], "-o", str(out or tmp_path / "out"), "--workers", "1", "--points", "1"]
        code = main([*given, *map(str, options), "--quiet"])
        return code, capsys.readouterr().err

    return run


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--cost", "flsh"], "--cost: there is no cost flsh. Did you mean flash?"),
        (["--cost", "cycles"], "--cost: target onnxruntime does not say how many cycles"),
        (["--cost", "flash", "--weights", "4"], "nothing that flash depends on may vary. Leave --weights out"),
        (["--cost", "ram", "--weights", "mixed"], "--cost: ram is the same for all bits that may be chosen."),
        (["--metric", "mse"], "--metric: mse is better where it is lower. Search by sqnr"),
        (["--metric", "top2"], "--metric: there is no metric top2. Did you mean top1?"),
        (["--metric", "auc"], "but there are 2 classes"),
        (["--data", "missing.npz"], "missing.npz: cannot be read"),
        (["--calibration", "missing.npz"], "missing.npz: cannot be read"),
        (["--choose-on", "missing.npz"], "missing.npz: cannot be read"),
        (["--points", "0"], "'0' is not a positive integer"),
        (["--target", "nowhere"], "there is no target called nowhere"),
    ],
)
def test_a_mistake_is_told_in_one_line_before_any_work(
    say: Say, tmp_path: Path, options: list[str], complaint: str
) -> None:
    code, told = say(*options)
    assert code == 2
    assert complaint in told
    assert len(told.splitlines()) == 1
    assert not list(tmp_path.glob("out/points/*"))


def test_a_folder_of_something_else_is_left_alone(say: Say, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("all of it")
    code, told = say()
    assert code == 2
    assert "out: holds what no search wrote. Name another folder" in told
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["thesis.tex"]


def test_a_folder_of_another_search_is_left_alone(say: Say, undisturbed: Path, digits: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(undisturbed, out)
    points = (out / "points.jsonl").read_bytes()
    with np.load(digits / "evaluation.npz") as data:
        np.savez(tmp_path / "other.npz", x=data["x"][:100], y=data["y"][:100])
    for options, other in (
        (["--data", tmp_path / "other.npz"], "data"),
        (["--effort", "default"], "recipe"),
        (["--choose-on", digits / "calibration.npz"], "data to choose on"),
    ):
        code, told = say(*options)
        assert code == 2
        assert f"out: holds a search with another {other}. Name another folder with -o" in told
    assert (out / "points.jsonl").read_bytes() == points
