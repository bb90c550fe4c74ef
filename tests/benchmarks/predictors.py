"""Which predictor of an allocation's loss ranks allocations as compiling and measuring them does.

usage: python -m tests.benchmarks.predictors [--models A,B] [--count 60] [--samples 1000] [--results FOLDER]
"""

from __future__ import annotations

import argparse
from pathlib import Path

from tests.benchmarks.allocations import Subject, measured

MODELS = ("dscnn_kws", "mobilenetv2s_cifar10", "resnet20_cifar10")


def main() -> None:
    """Measure what is not there yet."""
    given = _arguments()
    folder = Path(given.results)
    folder.mkdir(parents=True, exist_ok=True)
    subjects = {name: Subject(name, given.samples) for name in given.models.split(",")}
    for count in range(10, given.count + 10, 10):
        for name, subject in subjects.items():
            measured(subject, min(count, given.count), folder / f"{name}.json")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--count", type=int, default=60, help="allocations a model")
    parser.add_argument("--samples", type=int, default=1000, help="of the evaluation data, from the first")
    parser.add_argument("--results", default="build/predictors", help="folder of what was measured")
    return parser.parse_args()


if __name__ == "__main__":
    main()
