"""Weights as learned rounding leaves them, at all widths at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from bitsmith.errors import InternalError
from bitsmith.execution.gram import StreamingGram
from bitsmith.execution.network import array_of
from bitsmith.execution.threads import one_blas_thread
from bitsmith.ir.formats import Format
from bitsmith.ir.statistics import Gram
from bitsmith.passes.rounding.comq import descend
from bitsmith.passes.rounding.gptq import gptq
from bitsmith.passes.rounding.layer import rows_of, weight_of
from bitsmith.passes.rounding.levels import Interval, levels_of
from bitsmith.passes.rounding.problem import Reals, Rounding
from bitsmith.passes.sensitivity.direct import Rounded
from bitsmith.passes.sensitivity.study import FloatArray, Study, WeightPart

DAMPING = 0.01
REFITS, SWEEPS = 3, 4

AT_ONCE = 1 << 19
"""Weights rounded together, copies for several widths among them: rounding has a dozen arrays of that size."""


@dataclass(frozen=True, eq=False)
class Learned:
    """What `learned` found.

    constants: by weight and bits, the weight as it is rounded, and the bias that takes the mean of its error out.
    errors:    by weight and bits, the squared error of the layer's sums with both: over channels, in the mean over
               positions and samples.
    """

    constants: Rounded
    errors: Mapping[str, Mapping[float, float]]


def learned(study: Study, free: bool) -> Learned:
    """Round each weight so that its layer errs least on float inputs, as `reconstruct` does layer by layer.

    GPTQ, then descent and the least-squares scale in turn; the widths are rows of one problem, whose H is factored
    once for all. It is what `reconstruct` does but for its search among scales, and its making up for what came before.

    free: whether scales may be any; they stay as the formats have them where not, or where channels share one.
    """
    grams = {part.name: StreamingGram(part.layer.nodes[0]) for part in study.weights}
    with one_blas_thread():
        for network in study.networks():
            for part in study.weights:
                grams[part.name].add(network.activations[part.layer.nodes[0].operand(0).name])
            del network
        constants: dict[str, dict[float, dict[str, FloatArray]]] = {}
        errors: dict[str, dict[float, float]] = {}
        for index, part in enumerate(study.weights):
            study.progress("learn rounding", index, len(study.weights))
            constants[part.name], errors[part.name] = _rounded(part, grams.pop(part.name).result(), free)
    return Learned(constants, errors)


def _rounded(part: WeightPart, gram: Gram, free: bool) -> tuple[dict[float, dict[str, FloatArray]], dict[float, float]]:
    """The constants and the error at each width of one weight."""
    node = part.layer.nodes[0]
    rows = rows_of(node)
    matrix = gram.matrix
    if part.layer.bias is None and node.op == "MatMul":
        # Nothing takes the mean of the error out.
        matrix = matrix + gram.mean[:, :, None] * gram.mean[:, None, :]
    problem = _side_by_side(rows, matrix, list(part.formats.values()))
    refit = free and all(chosen.is_per_channel for chosen in part.formats.values())
    at_once = max(1, AT_ONCE // (rows.shape[0] * rows.shape[2]))
    error, squares = np.empty(problem.weight.shape), np.empty(problem.scale.shape)
    for start in range(0, problem.weight.shape[1], at_once):
        part_of_rows = slice(start, start + at_once)
        error[:, part_of_rows] = found = _error(problem.rows(part_of_rows), refit)
        squares[:, part_of_rows] = np.einsum("grk,grk->gr", found @ matrix, found)
    constants: dict[float, dict[str, FloatArray]] = {}
    errors: dict[float, float] = {}
    for index, bits in enumerate(part.formats):
        here = slice(index * rows.shape[1], (index + 1) * rows.shape[1])
        errors[bits] = float(squares[:, here].sum())
        constants[bits] = {part.name: weight_of(node, rows - error[:, here])}
        if part.layer.bias is not None:
            bias = array_of(part.layer.bias)
            lost = np.einsum("grk,gk->gr", error[:, here], gram.mean)
            constants[bits][part.layer.bias.name] = (bias + lost.reshape(bias.shape)).astype(np.float32)
    return constants, errors


def _error(problem: Rounding, refit: bool) -> Reals:
    """What learned rounding leaves of each weight: (groups, rows, k)."""
    integers = gptq(problem)
    if refit:
        for _ in range(REFITS):
            problem = problem.scaled(_best_scales(problem, integers))
            integers = descend(problem, integers, SWEEPS)
    return problem.error(integers)


def _side_by_side(rows: Reals, matrix: Reals, formats: list[Format]) -> Rounding:
    """One problem with a copy of all rows for each format."""
    groups, count, _ = rows.shape
    scales, lowest, highest = [], [], []
    for chosen in formats:
        levels = levels_of(chosen, rows.shape)
        if not isinstance(levels, Interval):
            raise InternalError(f"sensitivity to a format of some integers only, {chosen}")
        scale = np.array(chosen.scale)
        each = scale.reshape(groups, count) if chosen.is_per_channel else np.full((groups, count), scale[0])
        scales.append(each)
        lowest.append(np.broadcast_to(levels.lowest, (groups, count)))
        highest.append(np.broadcast_to(levels.highest, (groups, count)))
    allowed = Interval(np.concatenate(lowest, axis=1), np.concatenate(highest, axis=1))
    many = np.tile(rows, (1, len(formats), 1))
    return Rounding(many, matrix, np.concatenate(scales, axis=1), allowed).damped(DAMPING)


def _best_scales(problem: Rounding, integers: Reals) -> Reals:
    """(w H v) / (v H v), the least-squares scale for the integers."""
    wanted, size = problem.products(integers, problem.weight), problem.products(integers, integers)
    return np.asarray(np.where((wanted > 0) & (size > 0), wanted / np.where(size > 0, size, 1.0), problem.scale))
