"""Fuzz every target in turn, for so many minutes in all, and print what came of it.

usage: python -m tests.fuzz MINUTES FOLDER [TARGET ...]

FOLDER holds the corpus of each target, its findings, what libFuzzer said, and the figures of all runs so far; a later
run goes on from there. Exit code 1 where anything is among the findings.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.fuzz.registry import TARGETS

SHARES = {"model": 4, "compile": 4, "integer": 2}
"""Of the time: more for what has more code behind it."""

OPTIONS = ("-max_len=200000", "-timeout=120", "-rss_limit_mb=4096", "-print_final_stats=1", "-use_value_profile=0")


@dataclass
class Told:
    """What came of one target."""

    executions: int = 0
    features: int = 0
    minutes: float = 0.0
    crashes: int = 0


def fuzz(name: str, seconds: float, folder: Path) -> Told:
    """Run a target until its time is over, again after each input that ended its process."""
    corpus, findings, log = folder / name / "corpus", folder / name / "findings", folder / name / "log.txt"
    findings.mkdir(parents=True, exist_ok=True)
    told, start = Told(), time.monotonic()
    while (left := seconds - (time.monotonic() - start)) > 1:
        command = [sys.executable, "-m", "tests.fuzz.one", name, str(corpus), str(findings), *OPTIONS]
        command += [f"-max_total_time={int(left)}", f"-artifact_prefix={findings}/process-"]
        with log.open("ab") as output:
            position = output.tell()
            code = subprocess.run(command, stdout=output, stderr=output, check=False).returncode
        said = log.read_bytes()[position:].decode("utf-8", errors="replace")
        executions = re.findall(r"^#(\d+)\s", said, re.MULTILINE)
        told.executions += int(executions[-1]) if executions else 0
        told.features = max([told.features, *map(int, re.findall(r" ft: (\d+)", said))])
        if code != 0:
            told.crashes += 1
            if not executions:
                break  # It did not get as far as its first input.
            _forget_crashing(corpus, findings)
    told.minutes = (time.monotonic() - start) / 60
    return told


def _forget_crashing(corpus: Path, findings: Path) -> None:
    """Take out of a corpus what ends the process, which would end the next as well."""
    for path in findings.glob("process-*-*"):
        (corpus / path.name.rpartition("-")[2]).unlink(missing_ok=True)


def main(minutes: float, folder: Path, names: list[str]) -> int:
    shares = {name: SHARES.get(name, 1) for name in names}
    for name, share in shares.items():
        told = fuzz(name, 60 * minutes * share / sum(shares.values()), folder)
        with (folder / name / "runs.jsonl").open("a") as runs:
            runs.write(json.dumps(asdict(told)) + "\n")
        print(f"{name}: {told.executions:,} executions", file=sys.stderr, flush=True)
    return 1 if table(folder) else 0


def table(folder: Path) -> int:
    """Print the sum of all runs; returns how many findings there are."""
    print("| target | executions | minutes | features | findings |\n| --- | --- | --- | --- | --- |")
    found = 0
    for name in (name for name in TARGETS if (folder / name / "runs.jsonl").exists()):
        runs = [Told(**json.loads(line)) for line in (folder / name / "runs.jsonl").read_text().splitlines()]
        executions, minutes = sum(run.executions for run in runs), sum(run.minutes for run in runs)
        count = len([path for path in (folder / name / "findings").iterdir() if path.suffix != ".txt"])
        found += count
        features = max(run.features for run in runs)
        print(f"| {name} | {executions:,} | {minutes:.1f} | {features:,} | {count} |")
    return found


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:] or list(TARGETS)))
