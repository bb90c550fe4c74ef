"""Solvers of the rounding problem against all integer vectors, and against what each promises."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitsmith.ir.formats import Format, IntegerType
from bitsmith.passes.rounding import SOLVERS, Solver, polished
from bitsmith.passes.rounding.adaround import adaround
from bitsmith.passes.rounding.comq import comq
from bitsmith.passes.rounding.gpfq import gpfq
from bitsmith.passes.rounding.gptq import BLOCK, gptq
from bitsmith.passes.rounding.levels import Interval, Levels, Listed, Multiples
from bitsmith.passes.rounding.nearest import nearest
from bitsmith.passes.rounding.problem import Rounding

LEVELS: list[Levels] = [
    Interval(np.array(-1.0), np.array(1.0)),
    Interval(np.array(-2.0), np.array(1.0)),
    Listed(np.array([-4.0, -1.0, 0.0, 2.0])),
    Multiples(np.tile([1.0, 1.0, 3.0], (2, 2, 1)), 1),
]

every_solver = pytest.mark.parametrize("solver", list(SOLVERS.values()), ids=list(SOLVERS))
seeds = st.integers(0, 2**32 - 1)


def symmetric(bits: int) -> Interval:
    highest = np.array(2.0 ** (bits - 1) - 1)
    return Interval(-highest, highest)


def random_problem(
    seed: int,
    rows: int = 5,
    k: int = 4,
    samples: int = 12,
    bits: int = 2,
    groups: int = 2,
    levels: Levels | None = None,
) -> Rounding:
    """A problem with correlated inputs; singular where samples < k."""
    random = np.random.default_rng(seed)
    inputs = random.normal(size=(groups, samples, k)) @ random.normal(size=(groups, k, k))
    weight = random.normal(size=(groups, rows, k))
    scale = np.abs(weight).max(axis=2) / (2 ** (bits - 1) - 1)
    return Rounding(weight, inputs.transpose(0, 2, 1) @ inputs / samples, scale, levels or symmetric(bits))


def allowed(problem: Rounding) -> list[np.ndarray]:
    """The integers that each input may be, if the same in all rows."""
    steps = np.arange(-40, 40.25, 0.25)[:, None, None, None] * np.ones(problem.weight.shape)
    found = np.stack([problem.levels.nearest(one) for one in steps])
    return [np.unique(found[..., j]) for j in range(found.shape[-1])]


def optimum(problem: Rounding) -> np.ndarray:
    """The least loss of each row over all integer vectors."""
    choices = itertools.product(*allowed(problem))
    return np.min([problem.loss(np.broadcast_to(choice, problem.weight.shape)) for choice in choices], axis=0)


def test_loss_is_the_mean_squared_error_of_the_outputs() -> None:
    inputs = np.array([[1.0, 2.0], [3.0, -1.0]])
    problem = Rounding(np.array([[[0.6, 0.3]]]), inputs.T[None] @ inputs / 2, np.array([[0.5]]), symmetric(2))
    # The error is (0.1, -0.2), so the outputs move by -0.3 and 0.5.
    np.testing.assert_allclose(problem.loss(np.array([[[1.0, 1.0]]])), [[(0.09 + 0.25) / 2]])


@every_solver
@settings(max_examples=30)
@given(seed=seeds, samples=st.sampled_from([2, 12]), levels=st.sampled_from(LEVELS))
def test_no_solver_beats_all_integer_vectors_or_leaves_them(
    solver: Solver, seed: int, samples: int, levels: Levels
) -> None:
    problem = random_problem(seed, rows=2, k=3, samples=samples, levels=levels)
    integers = solver(problem)
    assert integers.shape == problem.weight.shape
    for j, choices in enumerate(allowed(problem)):
        assert np.isin(integers[..., j], choices).all()
    assert (problem.loss(integers) >= optimum(problem) * (1 - 1e-9) - 1e-12).all()


@every_solver
@given(seed=seeds)
def test_a_diagonal_gram_matrix_is_solved_exactly(solver: Solver, seed: int) -> None:
    some = random_problem(seed)
    problem = replace(some, gram=some.gram * np.eye(4))
    np.testing.assert_allclose(problem.loss(solver(problem)), optimum(problem), rtol=1e-9)


@given(seed=seeds, bits=st.integers(2, 8), samples=st.sampled_from([3, 20]))
def test_no_change_of_one_integer_improves_on_comq(seed: int, bits: int, samples: int) -> None:
    problem = random_problem(seed, k=6, bits=bits, samples=samples)
    integers = comq(problem)
    loss = problem.loss(integers)
    slack = 1e-9 * (1 + loss)
    assert (loss <= problem.loss(nearest(problem)) + slack).all()
    for j, step in itertools.product(range(6), (-1, 1)):
        moved = integers.copy()
        moved[..., j] = problem.levels.nearest(moved[..., j] + step, j)
        assert (problem.loss(moved) >= loss - slack).all()


@every_solver
def test_inputs_that_are_always_zero_are_rounded_to_the_nearest(solver: Solver) -> None:
    some = random_problem(3, k=6, bits=4)
    gram = some.gram.copy()
    gram[:, [1, 4]] = gram[:, :, [1, 4]] = 0
    problem = replace(some, gram=gram)
    np.testing.assert_array_equal(solver(problem)[..., [1, 4]], nearest(problem)[..., [1, 4]])
    dead = replace(some, gram=np.zeros((2, 6, 6)))
    np.testing.assert_array_equal(solver(dead), nearest(dead))


def test_nearest_rounds_as_a_format_does() -> None:
    scale = 0.25
    weight = np.array([[-1.0, -0.625, -0.375, -0.125, 0.0, 0.125, 0.375, 0.5, 1.0]])
    problem = Rounding(weight[None], np.eye(9)[None], np.array([[scale]]), symmetric(4))
    np.testing.assert_array_equal(nearest(problem)[0], Format(IntegerType(4), (scale,)).quantize(weight))


@pytest.mark.parametrize("solver", [gptq, comq, gpfq, adaround])
def test_learned_rounding_gains_where_inputs_are_correlated(solver: Solver) -> None:
    problem = random_problem(0, rows=16, k=40, samples=200, bits=4)
    assert problem.loss(solver(problem)).sum() < 0.65 * problem.loss(nearest(problem)).sum()


def test_gptq_in_blocks_is_gptq_one_input_at_a_time() -> None:
    problem = random_problem(1, rows=8, k=2 * BLOCK + 5, samples=400, bits=4, groups=1).damped(0.01)
    order = np.argsort(-np.diag(problem.gram[0]), kind="stable")
    weight, gram, scale = problem.weight[0][:, order], problem.gram[0][np.ix_(order, order)], problem.scale[0]
    for j in range(len(order)):
        # The optimal update of the inputs still free, solved anew at each step.
        rounded = scale * np.clip(np.floor(weight[:, j] / scale + 0.5), -7, 7)
        error = weight[:, j] - rounded
        weight[:, j] = rounded
        weight[:, j + 1 :] += np.outer(error, np.linalg.solve(gram[j + 1 :, j + 1 :], gram[j + 1 :, j]))
    expected = np.rint(weight / scale[:, None])
    np.testing.assert_array_equal(gptq(problem)[0][:, order], expected)


@every_solver
def test_groups_are_solved_as_if_alone(solver: Solver) -> None:
    """With inputs in one order of size in both groups, so that all solvers visit them alike."""
    problem = random_problem(5, rows=3, k=7, samples=40, bits=4)
    powers = 4.0 ** -np.arange(7)
    problem = replace(problem, gram=problem.gram * powers[:, None] * powers)
    for group in (0, 1):
        alone = Rounding(*(one[[group]] for one in (problem.weight, problem.gram, problem.scale)), problem.levels)
        np.testing.assert_array_equal(solver(problem)[group], solver(alone)[0])


def test_polishing_is_never_worse_than_gptq() -> None:
    problem = random_problem(2, rows=16, k=30, samples=100, bits=3)
    assert (problem.loss(polished(problem)) <= problem.loss(gptq(problem)) + 1e-12).all()


def test_gpfq_is_its_definition_on_the_data() -> None:
    random = np.random.default_rng(7)
    inputs = random.normal(size=(50, 6)) @ random.normal(size=(6, 6))
    weight, scale = random.normal(size=(1, 4, 6)), np.full((1, 4), 0.3)
    problem = Rounding(weight, (inputs.T @ inputs / 50)[None], scale, symmetric(4))
    wrong, found = np.zeros((50, 4)), gpfq(problem)[0]
    for j in np.argsort(-np.diag(problem.gram[0]), kind="stable"):
        column = inputs[:, j]
        wanted = column @ (wrong + np.outer(column, weight[0, :, j])) / (column @ column)
        expected = np.clip(np.floor(wanted / 0.3 + 0.5), -7, 7)
        np.testing.assert_array_equal(found[:, j], expected)
        wrong += np.outer(column, weight[0, :, j] - 0.3 * expected)


def test_damping_adds_a_fraction_of_the_mean_diagonal() -> None:
    problem = Rounding(np.zeros((1, 1, 2)), np.array([[[1.0, 0.5], [0.5, 3.0]]]), np.ones((1, 1)), symmetric(2))
    np.testing.assert_allclose(problem.damped(0.1).gram, [[[1.2, 0.5], [0.5, 3.2]]])
