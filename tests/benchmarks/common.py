"""What the benchmarks share: the models, fresh processes that are measured, and Markdown tables."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
MODELS = Path(os.environ.get("BITSMITH_MODELS", REPOSITORY.parent / "shared" / "models"))


@dataclass(frozen=True)
class Run:
    """One finished process: seconds of wall time and of the processor, and the most memory it held, in MiB."""

    seconds: float
    processor: float
    peak: float


def measured(command: Sequence[str]) -> Run:
    """Run a command to its end in a fresh process; its output is shown only if it fails."""
    clock = os.times()
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, cwd=REPOSITORY)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            output.seek(0)
            sys.exit(f"{' '.join(command)} failed:\n{output.read().decode()}")
    return Run(os.times().elapsed - clock.elapsed, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


@contextmanager
def working_folder() -> Iterator[Path]:
    """A folder that is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="bitsmith-benchmark-") as name:
        yield Path(name)


def compile_command(model: Path, calibration: Path, out: Path, *options: str, target: str = "onnxruntime") -> list[str]:
    """`bitsmith compile` as a user would type it."""
    command = [sys.executable, "-m", "bitsmith", "compile", str(model), "--target", target]
    return [*command, "--calibration", str(calibration), "-o", str(out), "--quiet", *options]


def model_files(name: str) -> tuple[Path, Path, Path]:
    """The model, its calibration and its evaluation data; the two autoencoders share their data."""
    data = "autoencoder_ad" if name.startswith("autoencoder_ad") else name
    files = (MODELS / f"{name}.onnx", MODELS / f"{data}.calib.npz", MODELS / f"{data}.eval.npz")
    missing = [str(file) for file in files if not file.exists()]
    if missing:
        sys.exit(f"{missing[0]} is not there. Point BITSMITH_MODELS at the folder of shared models.")
    return files


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def publish(text: str, page: Path | None) -> None:
    """Print a page of results, and write it where there is a place for it."""
    print(text)
    if page:
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text(text + "\n", encoding="utf-8")
