"""Each target takes what it starts from, and some mutations of it; `make fuzz` looks for more."""

import warnings
from random import Random

import pytest

from bitsmith.errors import BitsmithError, InternalError
from tests.fuzz.fuzz_target import TooSlow, attempt
from tests.fuzz.registry import TARGETS

MUTATIONS = {"compile": 4, "model": 20}
"""Of targets that take long; of others 50."""


@pytest.mark.parametrize("name", TARGETS)
def test_a_refusal_or_success_comes_out(name: str) -> None:
    target, random = TARGETS[name], Random(name)
    seeds = [given for index, given in enumerate(target.seeds()) if index < 8]
    for given in seeds:
        assert attempt(target, given) is None
    for _ in range(MUTATIONS.get(name, 50)):
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
