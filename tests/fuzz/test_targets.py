"""Each target takes what it starts from, and some mutations of it; `make fuzz` looks for more."""

import itertools
import warnings
from pathlib import Path
from random import Random

import pytest

from bitsmith.errors import BitsmithError, InternalError
from tests.fuzz.fuzz_target import TooSlow, attempt
from tests.fuzz.registry import TARGETS

FOUND = Path(__file__).parent / "found"
"""Inputs that broke the promise once, by target; each has the name of its fault."""

MUTATIONS = {"compile": 2, "model": 10, "manifest": 10, "integer": 10, "vectors": 10}
"""Of targets that take long; of others 40. So many seeds are tried, too, at most."""


@pytest.mark.parametrize("name", TARGETS)
def test_a_refusal_or_success_comes_out(name: str) -> None:
    target, random = TARGETS[name], Random(name)
    count = MUTATIONS.get(name, 40)
    seeds = list(itertools.islice(target.seeds(), count))
    for given in seeds:
        assert attempt(target, given) is None
    for _ in range(count):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            finding = attempt(target, target.mutate(random.choice(seeds), random))
        assert finding is None, finding.told


@pytest.mark.parametrize("fault", [ValueError("x"), InternalError("x"), TooSlow(), SystemExit(1), BitsmithError("")])
def test_anything_else_is_a_finding(fault: BaseException) -> None:
    def run(given: bytes) -> None:
        raise fault

    target = type(TARGETS["model"])(list, run, lambda given, random: given)
    finding = attempt(target, b"")
    assert finding is not None
    assert type(fault).__name__ in finding.told


@pytest.mark.parametrize("path", sorted(FOUND.glob("*/*")), ids=lambda path: f"{path.parent.name}-{path.name}")
def test_what_was_found_before_is_refused(path: Path) -> None:
    finding = attempt(TARGETS[path.parent.name], path.read_bytes())
    assert finding is None, finding.told
