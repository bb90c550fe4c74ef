"""How a candidate is compiled: a uniform one as anyone would who gives its width."""

from dataclasses import replace

import pytest

from bitsmith.ir.allocation import Allocation
from bitsmith.recipe import Recipe
from bitsmith.search.job import File, Job
from bitsmith.search.point import UNIFORM, Candidate
from bitsmith.target import Target

ALLOCATION = Allocation({"w": 1.6, "v": 1.6})
TARGET = Target("board", "none", weight_bits=(8, 4, 2), activation_bits=(8, 4), weight_formats=("int", "ternary"))
JOB = Job(File("m.onnx", b""), None, File("e.npz", b""), TARGET, Recipe(weights="mixed"), "top1")


def uniform(bits: float) -> Candidate:
    return Candidate(f"uniform-{bits}", UNIFORM, ALLOCATION, bits)


@pytest.mark.parametrize(("bits", "weights"), [(4, 4), (1.6, "ternary")])
def test_a_uniform_candidate_is_compiled_by_its_width(bits: float, weights: int | str) -> None:
    recipe = JOB.recipe_for(uniform(bits))
    assert (recipe.weights, recipe.allocation) == (weights, None)


def test_a_uniform_candidate_that_no_one_width_says_is_compiled_by_its_allocation() -> None:
    recipe = JOB.recipe_for(replace(uniform(4), bits=None))
    assert (recipe.weights, recipe.allocation) == (None, ALLOCATION)


def test_what_a_uniform_candidate_has_is_said() -> None:
    assert uniform(1.6).said == "1.6 bits everywhere"
    raised = Candidate("uniform-1.6", UNIFORM, Allocation({"w": 1.6, "v": 1.6}, {"a": 2, "x": 8, "b": 2}))
    assert raised.said == "uniform-1.6, weights of 1.6 bits, activations of 2 and 8 bits"


def test_where_not_all_that_is_mixed_may_have_that_width_the_allocation_says_which() -> None:
    both = replace(JOB, recipe=Recipe(weights="mixed", activations="mixed"))
    for bits in (1.6, 2):
        recipe = both.recipe_for(uniform(bits))
        assert (recipe.weights, recipe.activations, recipe.allocation) == (None, None, ALLOCATION)
