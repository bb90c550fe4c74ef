"""Solvers of the rounding problem against all integer vectors, and against what each promises."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitsmith.ir.formats import Format, IntegerType
from bitsmith.passes.rounding import SOLVERS, Solver
from bitsmith.passes.rounding.comq import comq
from bitsmith.passes.rounding.gptq import BLOCK, gptq
from bitsmith.passes.rounding.nearest import nearest
from bitsmith.passes.rounding.problem import Rounding

every_solver = pytest.mark.parametrize("solver", list(SOLVERS.values()), ids=list(SOLVERS))
seeds = st.integers(0, 2**32 - 1)


def random_problem(seed: int, rows: int = 5, k: int = 4, samples: int = 12, bits: int = 2) -> Rounding:
    """A problem with correlated inputs; singular where samples < k."""
    random = np.random.default_rng(seed)
    inputs = random.normal(size=(samples, k)) @ random.normal(size=(k, k))
    highest = 2 ** (bits - 1) - 1
    weight = random.normal(size=(rows, k))
    return Rounding(weight, inputs.T @ inputs / samples, np.abs(weight).max(axis=1) / highest, -highest, highest)


def optimum(problem: Rounding) -> np.ndarray:
    """The least loss of each row over all integer vectors."""
    rows, k = problem.weight.shape
    choices = itertools.product(range(problem.lowest, problem.highest + 1), repeat=k)
    return np.min([problem.loss(np.tile(choice, (rows, 1))) for choice in choices], axis=0)


def test_loss_is_the_mean_squared_error_of_the_outputs() -> None:
    inputs = np.array([[1.0, 2.0], [3.0, -1.0]])
    problem = Rounding(np.array([[0.6, 0.3]]), inputs.T @ inputs / 2, np.array([0.5]), -1, 1)
    # The error is (0.1, -0.2), so the outputs move by -0.3 and 0.5.
    np.testing.assert_allclose(problem.loss(np.array([[1, 1]])), [(0.09 + 0.25) / 2])


@every_solver
@given(seed=seeds, samples=st.sampled_from([2, 12]))
def test_no_solver_beats_all_integer_vectors_or_leaves_the_bounds(solver: Solver, seed: int, samples: int) -> None:
    problem = random_problem(seed, samples=samples)
    integers = solver(problem)
    assert integers.dtype == np.int64
    assert integers.shape == problem.weight.shape
    assert integers.min() >= problem.lowest
    assert integers.max() <= problem.highest
    assert (problem.loss(integers) >= optimum(problem) * (1 - 1e-9) - 1e-12).all()


@every_solver
@given(seed=seeds)
def test_a_diagonal_gram_matrix_is_solved_exactly(solver: Solver, seed: int) -> None:
    some = random_problem(seed)
    problem = Rounding(some.weight, np.diag(np.diag(some.gram)), some.scale, some.lowest, some.highest)
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
        moved[:, j] = np.clip(moved[:, j] + step, problem.lowest, problem.highest)
        assert (problem.loss(moved) >= loss - slack).all()


@every_solver
def test_inputs_that_are_always_zero_are_rounded_to_the_nearest(solver: Solver) -> None:
    some = random_problem(3, k=6, bits=4)
    gram = some.gram.copy()
    gram[[1, 4]] = gram[:, [1, 4]] = 0
    problem = Rounding(some.weight, gram, some.scale, some.lowest, some.highest)
    np.testing.assert_array_equal(solver(problem)[:, [1, 4]], nearest(problem)[:, [1, 4]])
    dead = Rounding(some.weight, np.zeros((6, 6)), some.scale, some.lowest, some.highest)
    np.testing.assert_array_equal(solver(dead), nearest(dead))


def test_nearest_rounds_as_a_format_does() -> None:
    scale = 0.25
    weight = np.array([[-1.0, -0.625, -0.375, -0.125, 0.0, 0.125, 0.375, 0.5, 1.0]])
    problem = Rounding(weight, np.eye(9), np.array([scale]), -7, 7)
    np.testing.assert_array_equal(nearest(problem), Format(IntegerType(4), (scale,)).quantize(weight))


@pytest.mark.parametrize("solver", [gptq, comq])
def test_learned_rounding_gains_where_inputs_are_correlated(solver: Solver) -> None:
    problem = random_problem(0, rows=16, k=40, samples=200, bits=4)
    assert problem.loss(solver(problem)).sum() < problem.loss(nearest(problem)).sum() / 2


def test_gptq_in_blocks_is_gptq_one_input_at_a_time() -> None:
    problem = random_problem(1, rows=8, k=2 * BLOCK + 5, samples=400, bits=4).damped(0.01)
    order = np.argsort(-np.diag(problem.gram), kind="stable")
    weight, gram = problem.weight[:, order], problem.gram[np.ix_(order, order)]
    for j in range(len(order)):
        # The optimal update of the inputs still free, solved anew at each step.
        rounded = problem.scale * problem.round(weight[:, j] / problem.scale)
        error = weight[:, j] - rounded
        weight[:, j] = rounded
        weight[:, j + 1 :] += np.outer(error, np.linalg.solve(gram[j + 1 :, j + 1 :], gram[j + 1 :, j]))
    expected = np.rint(weight / problem.scale[:, None])
    np.testing.assert_array_equal(gptq(problem)[:, order], expected)


def test_damping_adds_a_fraction_of_the_mean_diagonal() -> None:
    problem = Rounding(np.zeros((1, 2)), np.array([[1.0, 0.5], [0.5, 3.0]]), np.ones(1), -1, 1)
    np.testing.assert_allclose(problem.damped(0.1).gram, [[1.2, 0.5], [0.5, 3.2]])
